"""The Model: what it says of a network, and its laws: nothing of the user's changes, and threads do not meet."""

from __future__ import annotations

import copy
import threading

import nets
import numpy as np
import pytest
import torch
from torch import nn

from xaiwidgets.core.cards import cards
from xaiwidgets.engine.run import drive
from xaiwidgets.errors import InvalidKnob, InvalidLayer, InvalidModel, InvalidTarget
from xaiwidgets.model.meter import CURRENT, Meter
from xaiwidgets.model.model import Model
from xaiwidgets.model.targets import Target
from xaiwidgets.surgery.recipes import GUIDED


def bits(tensor):
    return None if tensor is None else tensor.detach().contiguous().numpy().tobytes()


def fingerprint(net):
    """Return everything about a user's module that could be changed, and the global random state."""
    hooks = [name for name in vars(net) if name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called"))]
    assert len(hooks) >= 6
    parts = {
        name: (
            id(m),
            type(m),
            m.training,
            tuple(vars(m)),
            getattr(m, "inplace", None),
            tuple((hook, id(vars(m)[hook]), tuple(vars(m)[hook].items())) for hook in hooks if hook in vars(m)),
            tuple((child, id(part)) for child, part in m.named_children()),
        )
        for name, m in net.named_modules()
    }
    tensors = {
        name: (id(t), t.data_ptr(), t.stride(), t._version, t.requires_grad, bits(t), bits(t.grad), t._backward_hooks)
        for name, t in (*net.named_parameters(), *net.named_buffers())
    }
    return parts, tensors, bits(torch.get_rng_state())


def used(net):
    """Return the module as a user may have left it: in train mode in part, with gradients and with frozen weights."""
    net.train()
    first = next(iter(net.children()))
    first.eval()
    torch.manual_seed(11)
    with torch.random.fork_rng(devices=[]):
        net(nets.images(4)).sum().backward()
    next(net.parameters()).requires_grad_(False)
    return net


CALLS = {
    "build": lambda m, x: Model(m.module, size=nets.SIZE),
    "logits": lambda m, x: m.logits(x),
    "probabilities": lambda m, x: m.probabilities(x),
    "scores": lambda m, x: m.scores(x, m.target(1)),
    "top-1": lambda m, x: m.target(None, x),
    "activations": lambda m, x: m.activations(x, [layer.name for layer in m.layers]),
    "gradient": lambda m, x: m.gradient(x, m.target(1), layers=[s.name for s in m.stages]),
    "unit": lambda m, x: m.gradient(x, m.unit(m.stages[0].name, 0)),
    "ruled": lambda m, x: m.gradient(x, m.target(1), recipe=GUIDED),
    "weights": lambda m, x: m.with_weights(lambda _name, value: value.mul_(0)).logits(x),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("make", [nets.f3, nets.f4, nets.f5, nets.hooked], ids=lambda f: f.__name__)
def test_no_call_changes_the_users_module(make, call):
    net = used(make())
    model = Model(net, size=nets.SIZE)
    before = fingerprint(net)
    x = nets.images(2)
    CALLS[call](model, x)
    assert fingerprint(net) == before
    assert torch.equal(x, nets.images(2))


def test_no_exception_changes_the_users_module():
    net = used(nets.raises_on_demand())
    before = fingerprint(net)
    model = Model(net, size=nets.SIZE)
    bright = nets.images(2) + 100
    good = model.logits(nets.images(2))
    for name in ("logits", "scores", "activations", "gradient", "unit", "ruled"):
        with pytest.raises(RuntimeError, match="too bright"):
            CALLS[name](model, bright)
        assert fingerprint(net) == before
        assert torch.equal(model.logits(nets.images(2)), good), "the model works on after an exception"
    assert model.activations(nets.images(), ["bn"])["bn"].shape == (1, 6, 16, 16)


#: Those that go through a network trained for them are closed half way in the laws of synthesis, which train one.
UNTRAINED = [made for made in cards() if ".learned." not in made.cls.__module__]


@pytest.mark.parametrize("made", UNTRAINED, ids=lambda c: c.id)
def test_a_generator_closed_half_way_changes_nothing(made):
    net = used(nets.f3())
    model = Model(net, size=nets.SIZE)
    before = fingerprint(net)
    small = {"samples": 40, "window_height": 4, "window_width": 4, "stride_height": 2, "stride_width": 2, "points": 40}
    method = made.make(**{k.name: small[k.name] for k in made.knobs if k.name in small})
    image = nets.images()
    steps = drive(method, model, image, model.target(1))
    next(steps)
    assert CURRENT.get() is None
    assert torch.is_grad_enabled()
    steps.close()
    assert fingerprint(net) == before
    assert torch.equal(image, nets.images())


def test_state_between_calls_stays_private():
    net = nets.stateful()
    net(nets.images())
    model = Model(net, size=nets.SIZE)
    for _ in range(3):
        model.logits(nets.images())
        model.gradient(nets.images(), model.target(0), layers=["net.0"])
        model.activations(nets.images(), ["net.0"])
    assert (float(net.count), net.calls) == (1.0, 1)
    assert net.kept["maps"][0].requires_grad
    assert any("other scores each time" in note for note in model.notes)


# -- following the user's weights -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [nets.f3, nets.f5, nets.old_weight_norm, nets.new_weight_norm], ids=lambda f: f.__name__
)
def test_training_in_place_is_followed(make):
    net, x = make(), nets.images(2)
    model = Model(net, size=nets.SIZE)
    old = model.logits(x)
    model.activations(x, [model.stages[0].name])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    net.train()(nets.images(4)).square().sum().backward()
    optimizer.step()
    net.eval()
    assert not torch.allclose(model.logits(x), old)
    with torch.no_grad():
        torch.testing.assert_close(model.logits(x), net(x), rtol=1e-5, atol=1e-6)
        name = model.stages[-1].name
        hooked = model.activations(x, [name])[name]
        fresh = Model(net, size=nets.SIZE).activations(x, [name])[name]
    torch.testing.assert_close(hooked, fresh)


def test_a_replaced_part_is_followed():
    net, x = nets.f2(), nets.images(2)
    model = Model(net, size=nets.SIZE)
    model.logits(x)
    net[1] = nn.Sequential(nn.ReLU(), nn.Conv2d(6, 6, 1))
    torch.testing.assert_close(model.logits(x), net(x).detach())
    assert model.layer("1.1").kind == "Conv2d"


def test_weights_that_went_bad_are_reported_each_time():
    net, x = nets.f2(), nets.images()
    model = Model(net, size=nets.SIZE)
    model.logits(x)
    with torch.no_grad():
        net[0].weight.fill_(float("nan"))
    for _ in range(2):
        with pytest.raises(InvalidModel, match="must return finite scores"):
            model.logits(x)
    net.load_state_dict(nets.f2().state_dict())
    assert torch.equal(model.logits(x), Model(nets.f2(), size=nets.SIZE).logits(x))


def test_other_weights_leave_both_models_as_they_were():
    net, x = nets.f3(), nets.images(2)
    model = Model(net, size=nets.SIZE, labels=list("abcde"))
    before, logits = fingerprint(net), model.logits(x)
    other = model.with_weights(lambda name, value: value * 2 if name == "head.weight" else value)
    assert torch.equal(model.logits(x), logits)
    assert fingerprint(net) == before
    expected = copy.deepcopy(net)
    with torch.no_grad():
        expected.head.weight.mul_(2)
        torch.testing.assert_close(other.logits(x), expected(x), rtol=1e-5, atol=1e-6)
    assert other.labels is model.labels
    third = other.with_weights({"head.bias": torch.zeros(5)})
    with torch.no_grad():
        expected.head.bias.zero_()
        torch.testing.assert_close(third.logits(x), expected(x), rtol=1e-5, atol=1e-6)
    assert other.module.head.bias.any()


def test_other_weights_are_named_as_in_the_module():
    model = Model(nets.f3(), size=nets.SIZE)
    with pytest.raises(InvalidModel, match=r"named as in the module; got 'head.wait'. Did you mean head.weight"):
        model.with_weights({"head.wait": torch.zeros(5)})
    with pytest.raises(InvalidModel, match=r"weights for 'head.bias' must be a tensor of shape \(5,\); got \(4,\)"):
        model.with_weights({"head.bias": torch.zeros(4)})


# -- numbers --------------------------------------------------------------------------------------------------------


def original(net, x, index, names):
    """Return activations and gradients at named calls of the user's own module, without any of our code."""
    net = copy.deepcopy(net).requires_grad_(False)
    calls, kept = {}, {}

    def note(name):
        def hook(_module, _inputs, output):
            calls[name] = calls.get(name, 0) + 1
            call = name if calls[name] == 1 else f"{name}#{calls[name]}"
            if call in names:
                kept[call] = output
                return output.clone()
            return None

        return hook

    for name in {n.partition("#")[0] for n in names}:
        net.get_submodule(name).register_forward_hook(note(name))
    scores = net(x.clone().requires_grad_() * 1)[:, index]
    gradients = torch.autograd.grad(scores.sum(), list(kept.values()))
    return {n: (a.detach(), g) for (n, a), g in zip(kept.items(), gradients, strict=True)}


@pytest.mark.parametrize(
    "make", [f for f in nets.GOOD if f is not nets.old_weight_norm] + [nets.in_place_input], ids=lambda f: f.__name__
)
def test_layers_and_their_gradients_are_those_of_the_module(make):
    net, x = make(), nets.images(2)
    model = Model(net, size=nets.SIZE)
    names = [layer.name for layer in model.layers]
    expected = original(net, x, 1, names)
    assert expected.keys() == set(names)
    for wanted in (names, *([name] for name in names)):
        found = model.gradient(x, model.target(1), layers=wanted)
        plain = model.activations(x, wanted)
        for name in wanted:
            for got, wish in ((found.layers[name][0], expected[name][0]), (plain[name], expected[name][0])):
                torch.testing.assert_close(got, wish, rtol=1e-4, atol=1e-6, msg=name)
            torch.testing.assert_close(found.layers[name][1], expected[name][1], rtol=1e-4, atol=1e-6, msg=name)


def test_a_folded_convolution_gives_its_own_output():
    net, x = nets.wrapped(), nets.images()
    model = Model(net, size=nets.SIZE)
    assert model.prepared.folded
    for name in ("inner", "inner.0", "inner.1"):
        torch.testing.assert_close(model.activations(x, [name])[name], net.inner(x).detach())
    torch.testing.assert_close(model.activations(x, ["bn"])["bn"], net.bn(net.inner(x)).detach())


def test_later_calls_of_a_module_have_names_of_their_own():
    net, x = nets.f3(), nets.images()
    model = Model(net, size=nets.SIZE)
    first, second = model.activations(x, ["relu", "relu#2"]).values()
    relu = net.bn1(net.conv1(x)).relu()
    torch.testing.assert_close(first, relu.detach())
    torch.testing.assert_close(second, (net.bn2(net.conv2(relu)) + relu).relu().detach())


def test_a_softmax_head_is_explained_by_its_log_probabilities():
    net, x = nets.softmax_head(), nets.images(2)
    model = Model(net, size=nets.SIZE)
    with torch.no_grad():
        shares = net(x)
    torch.testing.assert_close(model.logits(x), shares.log())
    torch.testing.assert_close(model.probabilities(x), shares)
    assert "log probabilities are explained" in model.notes[0]
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net(leaf)[:, 3].log().sum(), leaf)
    torch.testing.assert_close(model.gradient(x, model.target(3)).input, expected)
    torch.testing.assert_close(model.gradient(x, model.target(3), recipe=GUIDED).score, shares[:, 3].log())
    assert [s.name for s in model.stages] == ["0.1", "0.2", "0.4"]


def test_first_use_in_inference_mode_does_no_harm():
    net, x = nets.f3(), nets.images()
    expected = Model(net, size=nets.SIZE).gradient(x, Target(classes=(1,)), layers=["bn1"])
    with torch.inference_mode():
        model = Model(net, size=nets.SIZE)
        model.logits(x)
        model.activations(x, ["bn1"])
    found = model.gradient(x, model.target(1), layers=["bn1"])
    assert torch.equal(found.input, expected.input)
    assert torch.equal(found.layers["bn1"][1], expected.layers["bn1"][1])


def test_photos_become_inputs_and_back():
    model = Model(nets.f1(), size=nets.SIZE, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    pixels = np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)
    image = model.from_pixels(pixels)
    assert (image.shape, image.dtype) == ((1, 3, 16, 16), torch.float32)
    np.testing.assert_allclose(image[0, 1].numpy(), (pixels[..., 1] - 0.2) / 0.6, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.to_pixels(image), pixels, atol=1e-6)
    assert model.input((pixels * 255).astype(np.uint8)).shape == (1, 3, 16, 16)
    double = Model(nets.f1().double(), size=nets.SIZE)
    assert double.from_pixels(pixels).dtype == torch.float64


# -- threads --------------------------------------------------------------------------------------------------------


def work(model, x):
    """Return what three kinds of passes give for one picture."""
    target = model.target(1)
    names = [s.name for s in model.stages]
    return {
        "guided": lambda: [model.gradient(x, target, recipe=GUIDED).input],
        "plain": lambda: [model.gradient(x, target).input],
        "captures": lambda: [t for pair in model.gradient(x, target, layers=names).layers.values() for t in pair],
        "activations": lambda: list(model.activations(x, names).values()),
    }


@pytest.mark.parametrize("kinds", [("guided", "plain"), ("guided", "plain", "captures", "activations")], ids=len)
@pytest.mark.parametrize("make", [nets.f3, nets.old_weight_norm], ids=lambda f: f.__name__)
def test_threads_on_one_model_give_what_each_gives_alone(make, kinds):
    model = Model(make(), size=nets.SIZE)
    pictures = {kind: nets.images(4)[i : i + 1] for i, kind in enumerate(kinds)}
    expected = {kind: work(Model(make(), size=nets.SIZE), pictures[kind])[kind]() for kind in kinds}
    start, wrong = threading.Barrier(len(kinds)), []

    def run(kind):
        job = work(model, pictures[kind])[kind]
        start.wait(10)
        for number in range(40):
            try:
                same = all(map(torch.equal, job(), expected[kind]))
            except Exception as error:
                wrong.append((kind, number, repr(error)))
            else:
                if not same:
                    wrong.append((kind, number))

    threads = [threading.Thread(target=run, args=(kind,)) for kind in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def test_passes_are_counted_by_thread():
    model = Model(nets.f1(), size=nets.SIZE)
    meter = Meter()
    token = CURRENT.set(meter)
    try:
        other = threading.Thread(target=model.logits, args=(nets.images(5),))
        other.start()
        other.join()
        model.logits(nets.images(2))
        model.gradient(nets.images(3), model.target(0))
        model.activations(nets.images(), ["1"])
    finally:
        CURRENT.reset(token)
    assert meter.passes == (6, 3)


# -- questions and answers ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    return Model(nets.f3(), size=nets.SIZE, labels=["cat", "dog", "tree", "car", "cup"], name="tiny")


def test_what_it_says_of_itself(model):
    assert repr(model) == "Model('tiny', input 3×16×16, 5 classes, 9 layers)"
    assert model.offers == {"gradient", "relu", "rectifier", "spatial", "sizes", "gap_head"}
    every = {"gradient", "relu", "rectifier", "spatial", "max_pool", "sizes", "gap_head"}
    assert Model(nets.f1(), size=16).offers == every
    assert Model(nets.f4(), size=16).offers == {"gradient", "relu", "rectifier", "spatial", "max_pool"}
    assert Model(nets.no_convolution(), size=16).offers == {"gradient", "relu", "rectifier"}
    assert Model(nets.f1(), size=16).name == "Sequential"
    assert Model(nets.f1(), size=16).labels.short(3) == "class 3"
    assert model.notes == ()
    assert "one image at a time" in Model(nets.one_at_a_time(), size=16).notes[0]
    assert "No layer gives a spatial map" in Model(nets.no_convolution(), size=16).notes[0]


def test_layers_by_name(model):
    assert model.layer("").name == "bn3"
    assert model.layer("relu#2").shape == (8, 16, 16)
    with pytest.raises(InvalidLayer, match=r"one of the 9 in model.layers; got 'rellu'. Did you mean relu"):
        model.layer("rellu")
    for wrong in (3, ["relu"], object()):
        with pytest.raises(InvalidLayer, match=r"one of the 9 in model.layers; got"):
            model.layer(wrong)
    with pytest.raises(InvalidLayer, match=r"must give a spatial map .*'head' gives \(5,\). These do: relu, bn2, bn3"):
        model.layer("head", spatial=True)
    with pytest.raises(InvalidLayer, match="no layer of this network does"):
        Model(nets.no_convolution(), size=16).layer("")


def test_targets_by_name(model):
    x = nets.images()
    top = int(model.logits(x).argmax())
    assert model.target(None, x).classes == (top,)
    assert model.target("cup") == model.target(4)
    assert model.target(["cat", 4]).classes == (0, 4)
    less = model.target(Target.difference("cat", "dog"))
    logits = model.logits(x)[0]
    torch.testing.assert_close(model.scores(x, less)[0], logits[0] - logits[1])
    assert model.target(less) is less


def test_units_by_name(model):
    x = nets.images(2)
    maps = model.activations(x, ["conv3"])["conv3"]
    for unit in (model.unit("conv3", 2, (1, 3)), model.target(Target.hidden("conv3", 2, (1, 3)))):
        torch.testing.assert_close(model.scores(x, unit), maps[:, 2, 1, 3], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        model.scores(x, model.unit("", 0)), model.activations(x, ["bn3"])["bn3"][:, 0].mean((1, 2))
    )
    torch.testing.assert_close(model.scores(x, model.unit("head", "cup")), model.logits(x)[:, 4])


@pytest.mark.parametrize(
    "wrong", [5, -1, "horse", None, [], Target(), Target(classes=(9,)), Target(layer="bn3", channel=99)]
)
def test_wrong_targets(model, wrong):
    with pytest.raises(InvalidTarget):
        model.target(wrong)


@pytest.mark.parametrize(
    ("layer", "channel", "position", "error", "message"),
    [
        ("bn3", 12, "mean", InvalidTarget, "channel must be a whole number from 0 to 11 for layer 'bn3'; got 12"),
        ("bn3", "cup", "mean", InvalidTarget, "channel must be a whole number from 0 to 11"),
        ("bn3", 0, (8, 0), InvalidTarget, r"in 8 rows × 8 columns of 'bn3'; got \(8, 0\)"),
        ("head", "horse", "mean", InvalidTarget, "got 'horse'"),
        ("nope", 0, "mean", InvalidLayer, "got 'nope'"),
    ],
)
def test_wrong_units(model, layer, channel, position, error, message):
    with pytest.raises(error, match=message):
        model.unit(layer, channel, position)
    if layer != "head":
        with pytest.raises(error, match=message):
            model.target(Target.hidden(layer, channel, position))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"labels": ["a", "b"]}, InvalidModel, "labels must name the network's 5 classes; got 2 names"),
        ({"size": 0}, InvalidKnob, "^size must be"),
        ({"size": 16.5}, InvalidKnob, "^size must be"),
        ({"size": "large"}, InvalidKnob, "^size must be"),
        ({"size": (16, 16, 3)}, InvalidKnob, "^size must be"),
        ({"mean": 0.5}, InvalidKnob, "^mean must be"),
        ({"mean": (0.5,)}, InvalidKnob, "^std must have as many numbers as mean"),
        ({"std": (0.5, 0.5, 0)}, InvalidKnob, "^std must be"),
        ({"mean": (0.5,), "std": (0.5,)}, InvalidModel, "shape (1, 1, 16, 16) to class scores"),
    ],
    ids=str,
)
def test_wrong_arguments(arguments, error, message):
    import re

    pattern = message if message.startswith("^") else re.escape(message)
    with pytest.raises(error, match=pattern):
        Model(nets.f3(), **{"size": nets.SIZE, **arguments})


def test_sizes():
    assert Model(nets.f1(), size=np.int64(16)).input_shape == (3, 16, 16)
    assert Model(nets.f1(), size=(12, 20)).input_shape == (3, 12, 20)


def test_what_is_remembered_is_forgotten_with_the_weights():
    net = nets.f1()
    model, made = Model(net, size=nets.SIZE), []
    for _ in range(2):
        assert model.remember("key", lambda: made.append(1) or "value") == "value"
    assert made == [1]
    with torch.no_grad():
        net[0].weight.mul_(2)
    model.remember("key", lambda: made.append(2))
    assert made == [1, 2]


def test_trials_of_what_it_offers_leave_the_network_alone():
    module = nets.stateful()
    model = Model(module, size=nets.SIZE)
    before = model._plain.count.clone(), model._network.calls, model._network.kept["maps"][0].shape
    assert "sizes" in model.offers
    assert model.gap_head() is None
    assert torch.equal(model._plain.count, before[0])
    assert (model._network.calls, model._network.kept["maps"][0].shape) == before[1:]
    assert module.calls == 0
