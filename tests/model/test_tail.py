"""The rest of a network: scores of whole passes with a hook, while only what follows the layer is run."""

from __future__ import annotations

import copy
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import nets
import pytest
import torch
from torch import nn
from torch.nn import functional

from xaiwidgets.errors import InvalidLayer
from xaiwidgets.model.meter import CURRENT, Meter
from xaiwidgets.model.model import Model
from xaiwidgets.model.skeleton import keep_tensors
from xaiwidgets.model.tape import _AROUND
from xaiwidgets.model.targets import Target

COUNT = 3


class Joined(nn.Module):
    """A map goes around the layer: it is joined to what follows, and tells it how many pictures there are."""

    def __init__(self, join):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True))
        self.pair = nets.Apply(lambda x: (x, {"half": [x / 2]}))
        self.layer = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.rest = nn.Conv2d(8 if join == "cat" else 4, 6, 3, padding=1)
        self.head = nn.Linear(6, nets.CLASSES)
        self.join = join

    def forward(self, x):
        first, more = self.pair(self.stem(x))
        half = more["half"][0]
        y = self.relu(self.layer(first))
        if self.join == "cat":
            y = torch.cat([half, y], dim=1)
        elif self.join == "add":
            y = half + y
        elif self.join == "add to the earlier one":
            half += y
            y = half
        elif self.join == "rows":
            y = y.view(len(x), 4, -1).view(first.shape)
        return self.head(self.rest(y).square().mean(dim=(2, 3)))


class Early(nn.Module):
    """Operations write to what modules have given, before the layer and after it."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, nets.CLASSES)

    def forward(self, x):
        x = functional.relu(self.one(x), inplace=True)
        kept = x
        y = self.two(x)
        y *= 2
        kept += y
        return self.head(functional.relu(kept, inplace=True).square().mean(dim=(2, 3)))


class Alias(nn.Module):
    """A module writes to what an earlier one has given, and that is used later: it cannot be taken as given."""

    def __init__(self):
        super().__init__()
        self.one, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True)
        self.two, self.head = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, nets.CLASSES)

    def forward(self, x):
        x = self.one(x)
        y = self.two(self.relu(x))
        return self.head((x + y).square().mean(dim=(2, 3)))


def made(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def altered_of(tail):
    """Return three altered outputs: a channel switched off, places in another order, all halved."""
    altered = tail.activation.expand(COUNT, *tail.activation.shape[1:]).clone()
    altered[0, 0] = 0
    altered[1] = altered[1].flip(-1)
    altered[2] *= 0.5
    return altered


def slow(net, image, layer, altered, read):
    """Return what ``read`` makes of the outputs and all layers' outputs of one whole pass for each altered output."""
    scores = []
    for one in (None, *altered):
        private, calls, found = copy.deepcopy(net, keep_tensors(net)), {}, {}

        def note(name, calls=calls, found=found, one=one):
            def hook(_module, _inputs, output):
                calls[name] = calls.get(name, 0) + 1
                call = name if calls[name] == 1 else f"{name}#{calls[name]}"
                if call == layer and one is not None:
                    output = one[None].clone()
                found[call] = output.clone() if isinstance(output, torch.Tensor) else output
                return output

            return hook

        for name, module in private.named_modules():
            if name:
                module.register_forward_hook(note(name))
        with torch.no_grad():
            scores.append(read(private(image.clone()), found))
    return scores[0], torch.stack(scores[1:])


def compare(net, layers, size=nets.SIZE, target=2, read=lambda y, _: y[0, 2]):
    """Compare the rest of a network from each layer on with whole passes; return which took whole ones, too."""
    net = net.double()
    model = Model(net, size=size, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    image = nets.images().double()
    whole = []
    for layer in layers or [layer.name for layer in model.layers if layer.spatial]:
        tail = model.tail(image, model.target(target), layer)
        altered = altered_of(tail)
        before = altered.clone(), tail.activation.clone(), image.clone()
        found = [tail.scores(altered), tail.scores(altered[:1])]
        score, expected = slow(net, image, layer, altered, read)
        torch.testing.assert_close(tail.score[0], score, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(found[0], expected, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(found[1], expected[:1], rtol=1e-9, atol=1e-12)
        assert all(torch.equal(*pair) for pair in zip(before, (altered, tail.activation, image), strict=True))
        whole.append(tail.whole)
    return whole


@pytest.mark.parametrize("make", (*nets.GOOD, nets.telling, nets.in_place_input, Early), ids=lambda f: f.__name__)
def test_scores_are_those_of_whole_passes(make):
    assert not any(compare(made(make), ()))


@pytest.mark.parametrize("join", ["cat", "add", "add to the earlier one", "rows"])
def test_what_goes_around_the_layer_is_there_for_every_altered_output(join):
    assert compare(made(lambda: Joined(join)), ("layer", "stem", "relu", "stem.0")) == [False] * 4


def test_what_cannot_be_taken_as_given_is_run_again():
    assert compare(made(Alias), ("two",)) == [True]
    assert compare(made(Alias), ("one",)) == [False]


def test_only_what_follows_the_layer_is_run(monkeypatch):
    model, image = Model(nets.f3(), size=nets.SIZE), nets.images()
    ran = []
    plain = nn.Conv2d.forward
    tail = model.tail(image, model.target(1), "relu#2")
    monkeypatch.setattr(
        nn.Conv2d,
        "forward",
        lambda self, x: ran.append((self.in_channels, len(x), self.out_channels)) or plain(self, x),
    )
    tail.scores(altered_of(tail))
    assert ran == [(8, COUNT, 12)]
    ran.clear()
    model.tail(image, model.target(1), "relu#2")
    assert ran == [(3, 1, 8), (8, 1, 8), (8, 1, 12)], "looked at once, then remembered"


@pytest.mark.parametrize("layer", ["relu", "bn2", "relu#2"])
@pytest.mark.parametrize("unit", ["conv1", "relu", "bn2", "conv3", "bn3"])
def test_hidden_units_before_at_and_after_the_layer(layer, unit):
    read = lambda _, found: found[unit][0, 3].mean()
    compare(nets.f3(), (layer,), target=Target.hidden(unit, 3), read=read)


def test_a_unit_of_a_module_that_the_layer_is_part_of():
    net = nn.Sequential(nets.f1()[:3], nn.Sequential(nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)), nets.f1()[5:])
    read = lambda _, found: found["1"][0, 3].mean()
    assert compare(net.eval(), ("1.0", "1.1", "0"), target=Target.hidden("1", 3), read=read) == [False] * 3


def test_each_altered_output_counts_as_a_pass_and_the_comparison_as_none():
    model = Model(nets.f3(), size=nets.SIZE)
    token = CURRENT.set(meter := Meter())
    try:
        tail = model.tail(nets.images(), model.target(1), "relu")
        assert meter.passes == (1, 0)
        tail.scores(altered_of(tail))
        assert meter.passes == (1 + COUNT, 0)
        whole = Model(made(Alias), size=nets.SIZE).tail(nets.images(), model.target(1), "two")
        whole.scores(altered_of(whole))
        assert meter.passes == (2 + 2 * COUNT, 0)
    finally:
        CURRENT.reset(token)


def test_four_threads_do_not_see_each_other():
    model = Model(nets.f3(), size=nets.SIZE)

    def work(seed):
        image = nets.images(4)[seed : seed + 1]
        tail = model.tail(image, model.target(seed), ("relu", "bn2", "conv3", "relu#2")[seed])
        return tail.scores(altered_of(tail))

    serial = [work(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for found, wanted in zip(pool.map(work, range(4)), serial, strict=True):
                assert torch.equal(found, wanted)


def test_an_error_leaves_nothing_on():
    model = Model(nets.f3(), size=nets.SIZE)
    tail = model.tail(nets.images(), model.target(1), "relu")
    with pytest.raises(RuntimeError):
        tail.scores(tail.activation[:, :2])
    assert _AROUND.get() is None
    assert torch.is_grad_enabled()
    torch.testing.assert_close(tail.scores(tail.activation), tail.score)


def drops_after():
    return nets.Around(after=lambda y: functional.dropout(y, 0.5, training=True))


@pytest.mark.parametrize("make", [drops_after, nets.stateful], ids=lambda f: f.__name__)
def test_chance_and_a_state_take_whole_passes(make):
    model = Model(made(make), size=nets.SIZE)
    tail = model.tail(nets.images(), model.target(1), model.stages[-1].name)
    assert tail.whole
    assert tail.scores(altered_of(tail)).shape == (COUNT,)


def test_chance_before_the_layer_has_had_its_say():
    model = Model(nets.random_forward(), size=nets.SIZE)
    tail = model.tail(nets.images(), model.target(1), "net.1")
    assert not tail.whole
    torch.testing.assert_close(tail.scores(tail.activation), tail.score)


def test_one_picture_at_a_time():
    model = Model(nets.one_at_a_time(), size=nets.SIZE)
    tail = model.tail(nets.images(), model.target(1), "net.1")
    torch.testing.assert_close(tail.scores(tail.activation), tail.score)


def test_other_weights_are_looked_at_anew():
    net = nets.f3()
    model = Model(net, size=nets.SIZE)
    before = model.tail(nets.images(), model.target(1), "relu").score
    with torch.no_grad():
        net.head.weight *= 2
        net.head.bias *= 2
    torch.testing.assert_close(model.tail(nets.images(), model.target(1), "relu").score, 2 * before)


def test_private_copies_go_when_their_model_goes():
    """Nothing that stands around a module's calls may hold the module: weights would stay until the collector runs."""
    model = Model(nets.f3(), size=nets.SIZE)
    model.tail(nets.images(), model.target(1), "relu")
    watched = [weakref.ref(model._network.head), weakref.ref(model._fast(hooked=True).module.head)]
    gc.collect()
    gc.disable()
    try:
        del model
        assert [one() for one in watched] == [None, None]
    finally:
        gc.enable()


def test_a_layer_that_does_not_exist():
    model = Model(nets.f3(), size=nets.SIZE)
    with pytest.raises(InvalidLayer, match="'rellu'"):
        model.tail(nets.images(), model.target(1), "rellu")
