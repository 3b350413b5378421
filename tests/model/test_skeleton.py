"""The private skeleton: the user's weights without a copy, and nothing of the user's is written to."""

from __future__ import annotations

import copy
import threading

import nets
import pytest
import torch
from torch import nn

from xaiwidgets.errors import InvalidModel
from xaiwidgets.model.skeleton import keep_tensors, make_skeleton, stamp


@pytest.mark.parametrize("make", nets.GOOD, ids=lambda f: f.__name__)
def test_a_skeleton_shares_weights_and_no_object(make):
    net = make()
    skeleton = make_skeleton(net)
    mine, theirs = dict(skeleton.named_parameters()), dict(net.named_parameters())
    assert mine.keys() == theirs.keys()
    for name, parameter in theirs.items():
        assert mine[name] is not parameter
        assert mine[name].data_ptr() == parameter.data_ptr(), "a copy of the weights"
        assert not mine[name].requires_grad
        assert parameter.requires_grad
    assert {id(m) for m in skeleton.modules()}.isdisjoint({id(m) for m in net.modules()})
    for name, buffer in net.named_buffers():
        own = skeleton.get_buffer(name)
        assert torch.equal(own, buffer)
        assert own.data_ptr() != buffer.data_ptr(), "a forward may write to it"
    x = nets.images(2)
    torch.testing.assert_close(skeleton(x.clone()), net(x.clone()), rtol=0, atol=0)


def test_a_skeleton_is_in_eval_mode_and_leaves_the_mode_of_the_module():
    net = nets.f4().train()
    net.features.eval()
    before = [m.training for m in net.modules()]
    assert not any(m.training for m in make_skeleton(net).modules())
    assert [m.training for m in net.modules()] == before


def test_tied_weights_stay_tied():
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False))
    net[2].weight = net[0].weight
    seen = []

    def double(name, value):
        seen.append(name)
        return 2 * value

    skeleton = make_skeleton(net, double)
    assert skeleton[0].weight is skeleton[2].weight
    assert seen == ["0.weight"]
    assert torch.equal(skeleton[0].weight, 2 * net[0].weight)


def test_a_change_that_works_in_place_does_not_reach_the_users_weights():
    net = nets.f3()
    before = copy.deepcopy(net.state_dict())
    skeleton = make_skeleton(net, lambda name, value: value.zero_())
    assert all(not t.any() for t in skeleton.state_dict().values())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_what_a_change_leaves_alone_is_still_shared():
    net = nets.f2()
    skeleton = make_skeleton(net, lambda name, value: -value if name == "7.weight" else value)
    shared = {n for n, p in skeleton.named_parameters() if p.data_ptr() == net.get_parameter(n).data_ptr()}
    assert shared == {n for n, _ in net.named_parameters()} - {"7.weight"}


@pytest.mark.parametrize(("new", "got"), [(torch.zeros(2), r"\(2,\)"), (3.0, "float"), (None, "NoneType")])
def test_a_change_must_fit(new, got):
    with pytest.raises(
        InvalidModel, match=rf"weights for '0.weight' must be a tensor of shape \(6, 3, 3, 3\); got {got}"
    ):
        make_skeleton(nets.f1(), lambda name, value: new)


def test_the_stamp_changes_with_the_weights():
    net = nets.f3()
    stamps = [stamp(net)]

    def note():
        stamps.append(stamp(net))

    net(nets.images())
    assert stamp(net) == stamps[0], "a pass in eval mode changes no weight"
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net(nets.images(2)).sum().backward()
    optimizer.step()
    note()
    net.train()(nets.images(2))  # running statistics
    note()
    net.load_state_dict(nets.f3().state_dict())
    note()
    net.head = nn.Linear(12, nets.CLASSES)
    note()
    net.conv1.weight.data = net.conv1.weight.data.clone()
    note()
    assert len(set(stamps)) == len(stamps) == 6


def test_tensors_in_a_graph_do_not_stop_the_copy():
    net = nets.stateful()
    net(nets.images())
    assert net.kept["maps"][0].grad_fn is not None
    skeleton = make_skeleton(net)
    assert skeleton.kept["maps"][0].grad_fn is None
    assert torch.equal(skeleton.kept["maps"][0], net.kept["maps"][0])
    assert net.kept["maps"][0].grad_fn is not None
    assert id(net.kept["maps"][0]) in keep_tensors(net)


def test_weights_made_in_inference_mode_can_be_explained():
    with torch.inference_mode():
        net = nets.f2()
    assert next(net.parameters()).is_inference()
    stamp(net)
    skeleton = make_skeleton(net)
    x = nets.images().requires_grad_()
    (gradient,) = torch.autograd.grad(skeleton(x)[0, 0], x)
    (expected,) = torch.autograd.grad(nets.f2()(x)[0, 0], x)
    assert torch.equal(gradient, expected)


def test_what_cannot_be_copied_is_named():
    net = nets.f1()
    net.lock = threading.Lock()
    with pytest.raises(
        InvalidModel, match=r"module must be copyable.*Sequential failed \(TypeError.*locks, open files"
    ):
        make_skeleton(net)


def test_lazy_parameters_want_a_first_pass():
    with pytest.raises(InvalidModel, match=r"uninitialized parameter '0\.(weight|bias)': run one forward pass"):
        make_skeleton(nn.Sequential(nn.LazyConv2d(3, 3)))
