"""Named activations: kept as the layer gave them, whatever the next operation does, and only while a tape asks."""

from __future__ import annotations

import copy
import threading

import nets
import pytest
import torch
from torch import nn

from xaiwidgets.model.skeleton import keep_tensors
from xaiwidgets.model.tape import Tape, install, recording


def hooked(net):
    private = copy.deepcopy(net, keep_tensors(net))
    install(private)
    return private


def reference(net, x):
    """Return every module call's output, cloned the moment it was given."""
    found, calls = {}, {}

    def note(name):
        def hook(_module, _inputs, output):
            calls[name] = calls.get(name, 0) + 1
            if isinstance(output, torch.Tensor):
                found[name if calls[name] == 1 else f"{name}#{calls[name]}"] = output.detach().clone()

        return hook

    net = copy.deepcopy(net, keep_tensors(net))
    for name, module in net.named_modules():
        if name:
            module.register_forward_hook(note(name))
    with torch.no_grad():
        net(x.clone())
    return found


@pytest.mark.parametrize("make", (*nets.GOOD, nets.telling), ids=lambda f: f.__name__)
def test_records_are_what_the_layers_gave(make):
    net, x = make(), nets.images(2)
    expected = reference(net, x)
    private = hooked(net)
    plain = private(x.clone())
    for wanted in (frozenset(expected), *(frozenset({name}) for name in expected)):
        tape = Tape(wanted=wanted)
        with torch.no_grad(), recording(tape):
            output = private(x.clone())
        assert torch.equal(output, plain), "recording must not change the scores"
        assert tape.records.keys() == wanted
        for name in wanted:
            assert torch.equal(tape.records[name], expected[name]), name


def test_an_in_place_relu_does_not_reach_the_record_before_it():
    net, x = nets.f3(), nets.images()
    tape = Tape(wanted=frozenset({"bn1", "relu", "relu#2"}))
    with torch.no_grad(), recording(tape):
        hooked(net)(x.clone())
    assert (tape.records["bn1"] < 0).any()
    assert torch.equal(tape.records["relu"], tape.records["bn1"].clamp_min(0))
    assert not torch.equal(tape.records["relu#2"], tape.records["relu"])


def test_gradients_of_records_are_those_of_the_module():
    net, x = nets.f3(), nets.images()
    tape = Tape(wanted=frozenset({"conv1", "relu"}), differentiable=True)
    with recording(tape):
        score = hooked(net).requires_grad_(False)(x.clone())[0, 1]
    by_conv, by_relu = torch.autograd.grad(score, [tape.records["conv1"], tape.records["relu"]])
    # the same by hand: the rest of the network as a function of the layer's output
    conv = net.conv1(x).detach().requires_grad_()
    relu = net.bn1(conv).clamp_min(0)
    middle = (net.bn2(net.conv2(relu)) + relu).clamp_min(0)
    scores = net.head((net.bn3(net.conv3(middle)).clamp_min(0) - 0.1).clamp_min(0).mean((2, 3)))
    expected = torch.autograd.grad(scores[0, 1], [conv, relu])
    torch.testing.assert_close(by_conv, expected[0])
    torch.testing.assert_close(by_relu, expected[1])


def test_without_a_tape_the_hooks_do_nothing():
    private, x = hooked(nets.f2()), nets.images()
    assert torch.equal(private(x), nets.f2()(x))
    tape = Tape(wanted=frozenset({"0"}))
    with recording(tape):
        pass
    private(x)
    assert tape.records == {}


def test_a_tape_belongs_to_its_thread():
    private, x = hooked(nets.f2()), nets.images()
    tape = Tape(wanted=frozenset({"0"}))
    with recording(tape):
        other = threading.Thread(target=private, args=(x,))
        other.start()
        other.join()
    assert tape.records == {}


def test_where_says_which_module_runs():
    seen = []
    net = nn.Sequential(nets.Apply(lambda x: x), nn.Sequential(nets.Apply(lambda x: x)))
    tape = Tape()
    for part in (net[0], net[1][0]):
        part.function = lambda x: (seen.append(tape.where()), x)[1]
    private = hooked(net)
    with recording(tape):
        private(nets.images())
    assert seen == ["0", "1.0"]
    assert tape.where() == ""


def test_a_caught_exception_leaves_no_module_behind():
    seen = []
    net = nets.telling()
    tape = Tape()
    net.net[0] = nets.Apply(lambda x: (seen.append(tape.where()), x.new_zeros(len(x), 6, 16, 16))[1])
    with recording(tape):
        hooked(nn.Sequential(net))(nets.images())
    assert seen == ["0.net.0"]
    assert tape.where() == ""


def test_a_pass_that_raises_leaves_no_tape():
    private = hooked(nets.raises_on_demand())
    with pytest.raises(RuntimeError, match="too bright"), recording(Tape(wanted=frozenset({"bn"}))):
        private(nets.images() + 100)
    tape = Tape(wanted=frozenset({"bn"}))
    private(nets.images())
    assert tape.records == {}
