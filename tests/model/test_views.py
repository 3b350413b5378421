"""A Model with other weights without a new inspection, and a view of one whose forward pass is transformed."""

from __future__ import annotations

import copy
import threading

import nets
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from xaiwidgets import Model
from xaiwidgets.engine.batching import batch_size

EVERY = pytest.mark.parametrize("make", [*nets.GOOD, nets.softmax_head, nets.no_convolution], ids=lambda f: f.__name__)


def halved(name, value):
    """Other weights of every kind, normalization's statistics included."""
    return value * 0.5 if value.is_floating_point() else value


# -- other weights, quickly -----------------------------------------------------------------------------------------


@EVERY
def test_quick_is_the_same_model(make):
    model, x = Model(make(), size=nets.SIZE), nets.images(2)
    slow, quick = model.with_weights(halved), model.with_weights(halved, quick=True)
    assert quick.prepared.folded == slow.prepared.folded
    assert quick.prepared.note == slow.prepared.note
    assert quick.layers == slow.layers
    assert quick.inspection.pairs != model.inspection.pairs or not model.inspection.pairs
    assert torch.equal(quick.logits(x), slow.logits(x))
    layer = model.layers[0].name
    for one, other in ((quick, slow), (quick.exactly(), slow.exactly())):
        ours, theirs = (m.gradient(x, m.target(1), layers=[layer]) for m in (one, other))
        assert torch.equal(ours.input, theirs.input)
        assert torch.equal(ours.layers[layer][1], theirs.layers[layer][1])


def test_quick_traces_and_measures_nothing(monkeypatch):
    model = Model(nets.f3(), size=nets.SIZE)
    sizes = batch_size(model), batch_size(model, gradient=True)
    monkeypatch.setattr("xaiwidgets.model.model.inspect", lambda *_: pytest.fail("the network was traced"))
    monkeypatch.setattr("xaiwidgets.engine.batching._measure", lambda *_: pytest.fail("its speed was measured"))
    quick = model.with_weights(halved, quick=True).with_weights(halved, quick=True)
    assert (batch_size(quick), batch_size(quick, gradient=True)) == sizes
    expected = copy.deepcopy(model.module)
    with torch.no_grad():
        for tensor in (*expected.parameters(), *expected.buffers()):
            if tensor.is_floating_point():
                tensor.mul_(0.25)
        torch.testing.assert_close(quick.logits(nets.images()), expected(nets.images()), rtol=1e-5, atol=1e-6)


def test_what_was_remembered_for_the_old_weights_is_forgotten():
    model = Model(nets.f2(), size=nets.SIZE)
    model.remember("pattern", lambda: "old")
    assert model.with_weights(halved, quick=True).remember("pattern", lambda: "new") == "new"


def test_quick_follows_its_module_when_that_is_changed():
    model = Model(nets.f2(), size=nets.SIZE)
    quick = model.with_weights(halved, quick=True)
    before, untouched = quick.logits(nets.images()), model.logits(nets.images())
    with torch.no_grad():
        quick.module.get_parameter("0.weight").mul_(3)
        wanted = quick.module(nets.images())
    assert not torch.equal(before, wanted)
    torch.testing.assert_close(quick.logits(nets.images()), wanted, rtol=1e-5, atol=1e-6)
    assert torch.equal(model.logits(nets.images()), untouched)


def test_quick_keeps_state_out_of_the_new_module(monkeypatch):
    model = Model(nets.stateful(), size=nets.SIZE)
    quick = model.with_weights(halved, quick=True).with_weights(halved, quick=True)
    monkeypatch.setattr("xaiwidgets.model.model.inspect", lambda *_: pytest.fail("the network was built anew"))
    for view in (quick, quick.exactly()):
        view.logits(nets.images())
        view.gradient(nets.images(), quick.target(0))
    assert float(quick.module.count) == 0


def test_quick_sees_that_the_users_weights_have_changed():
    module = nets.f3()
    model = Model(module, size=nets.SIZE)
    model.logits(nets.images())
    with torch.no_grad():
        module.conv1.weight.mul_(2)
        wanted = module(nets.images())
    quick = model.with_weights(lambda _name, value: value, quick=True)
    torch.testing.assert_close(quick.logits(nets.images()), wanted, rtol=1e-5, atol=1e-6)


# -- a transformed forward pass -------------------------------------------------------------------------------------


class Shifted(TorchFunctionMode):
    """ReLUs that open a little early."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if name in ("relu", "relu_", "relu6", "hardtanh", "hardtanh_"):
            return functional.relu(args[0] + 0.3)
        return func(*args, **(kwargs or {}))


class Early(nn.Module):
    def forward(self, x):
        return functional.relu(x + 0.3)


def swapped(module):
    """The same network with the change made by hand, for nets whose ReLUs are modules."""
    twin = copy.deepcopy(module)
    for parent in list(twin.modules()):
        for name, child in parent.named_children():
            if isinstance(child, (nn.ReLU, nn.ReLU6)):
                setattr(parent, name, Early())
    return twin


@pytest.mark.parametrize("make", [nets.f2, nets.f4, nets.f5, nets.hooked], ids=lambda f: f.__name__)
def test_a_view_is_the_network_with_its_operations_replaced(make):
    module = make()
    model, x = Model(module, size=nets.SIZE), nets.images(2)
    view, twin = model.transformed(Shifted, "shifted"), Model(swapped(module), size=nets.SIZE)
    plain = model.logits(x)
    target, names = model.target(1), [stage.name for stage in model.stages]
    assert [layer.name for layer in view.layers] == [layer.name for layer in model.layers]
    torch.testing.assert_close(view.logits(x), twin.logits(x))
    torch.testing.assert_close(view.scores(x, target), twin.scores(x, target))
    for ours, theirs in ((view, twin), (view.exactly(), twin.exactly())):
        one, other = (m.gradient(x, target, layers=names) for m in (ours, theirs))
        torch.testing.assert_close(one.input, other.input)
        for name in names:
            torch.testing.assert_close(one.layers[name], other.layers[name])
    for name, activation in view.activations(x, names).items():
        torch.testing.assert_close(activation, twin.activations(x, names)[name])
    unit = model.unit(names[0], 0)
    torch.testing.assert_close(view.scores(x, unit), twin.scores(x, unit))
    assert torch.equal(model.logits(x), plain)
    assert not torch.allclose(view.logits(x), plain, rtol=0.01)
    assert view.name.endswith(" shifted")


def test_no_operation_is_hidden_in_a_fused_one(monkeypatch):
    """Where fused convolutions are faster, the view does without them."""
    monkeypatch.setattr("xaiwidgets.model.prepare.faster", lambda *_: True)
    module = nets.f5()
    model, x = Model(module, size=nets.SIZE), nets.images(2)
    assert "fused" in model.prepared.note
    view = model.transformed(Shifted, "shifted")
    assert "fused" not in view.prepared.note
    assert view.prepared.folded == model.prepared.folded
    with torch.no_grad():
        torch.testing.assert_close(view.logits(x), swapped(module)(x), rtol=1e-4, atol=1e-5)


def test_log_probabilities_stay_on_top():
    model = Model(nets.softmax_head(), size=nets.SIZE)
    view, twin = model.transformed(Shifted, ""), Model(swapped(nets.softmax_head()), size=nets.SIZE)
    torch.testing.assert_close(view.logits(nets.images()), twin.logits(nets.images()))
    assert float(view.logits(nets.images()).exp().sum()) == pytest.approx(1)


def test_views_of_views():
    class Doubled(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            return result * 2 if getattr(func, "__name__", "") == "linear" else result

    model, x = Model(nets.f2(), size=nets.SIZE), nets.images()
    shifted, both = model.transformed(Shifted, ""), model.transformed(Shifted, "").transformed(Doubled, "")
    torch.testing.assert_close(both.logits(x), shifted.logits(x) * 2)
    other = both.with_weights(halved, quick=True)
    torch.testing.assert_close(other.logits(x), 2 * shifted.with_weights(halved).logits(x))


def test_a_view_keeps_its_own_memory_and_shares_the_copies():
    model = Model(nets.f3(), size=nets.SIZE).sharing()
    model.remember("pattern", lambda: "plain")
    view = model.transformed(Shifted, "")
    assert view.remember("pattern", lambda: "shifted") == "shifted"
    assert model.remember("pattern", lambda: "lost") == "plain"
    assert view.captures is not model.captures
    again = model.transformed(Shifted, "")
    assert again.prepared.module.network is view.prepared.module.network
    assert batch_size(view) == batch_size(model)


def test_a_view_follows_the_users_weights():
    module = nets.f2()
    model, x = Model(module, size=nets.SIZE), nets.images()
    view = model.transformed(Shifted, "")
    view.logits(x)
    with torch.no_grad():
        module[0].weight.mul_(2)
        torch.testing.assert_close(view.logits(x), swapped(module)(x), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(model.logits(x), module(x), rtol=1e-5, atol=1e-6)


def test_a_transformed_gate_is_not_offered():
    model = Model(nets.f2(), size=nets.SIZE)
    assert {"relu", "rectifier"} <= model.offers
    assert model.offers - model.transformed(Shifted, "").offers == {"relu"}
    smooth = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 3))
    assert "rectifier" not in Model(smooth, size=nets.SIZE).offers


def test_two_threads_do_not_see_each_others_view():
    model, x = Model(nets.f3(), size=nets.SIZE), nets.images()
    view = model.transformed(Shifted, "")
    wanted = {True: view.logits(x), False: model.logits(x)}
    wrong = []

    def work(shifted):
        for _ in range(30):
            found = (view if shifted else model).logits(x)
            if not torch.equal(found, wanted[shifted]):
                wrong.append(shifted)

    threads = [threading.Thread(target=work, args=(shifted,)) for shifted in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
