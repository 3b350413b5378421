"""Inspection: what a new network is, and clear words when it cannot be explained."""

from __future__ import annotations

import nets
import pytest
import torch
from torch import nn

from xaiwidgets.errors import InvalidModel
from xaiwidgets.model.inspection import inspect
from xaiwidgets.model.model import Model
from xaiwidgets.model.skeleton import make_skeleton
from xaiwidgets.model.tape import install


def look(net, size=nets.SIZE, channels=3):
    install(skeleton := make_skeleton(net))
    return inspect(skeleton, (channels, size, size), torch.empty(0))


def test_layers_come_in_execution_order_with_shapes():
    found = look(nets.f3())
    assert [(layer.name, layer.shape) for layer in found.layers] == [
        ("conv1", (8, 16, 16)),
        ("bn1", (8, 16, 16)),
        ("relu", (8, 16, 16)),
        ("conv2", (8, 16, 16)),
        ("bn2", (8, 16, 16)),
        ("relu#2", (8, 16, 16)),
        ("conv3", (12, 8, 8)),
        ("bn3", (12, 8, 8)),
        ("head", (5,)),
    ]
    assert [layer.order for layer in found.layers] == list(range(9))
    assert [layer.kind for layer in found.layers[:3]] == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert found.classes == nets.CLASSES


def test_convolutions_and_dense_layers_are_listed_once_in_execution_order():
    assert look(nets.f3()).weighted == (("conv1", "conv"), ("conv2", "conv"), ("conv3", "conv"), ("head", "linear"))


def test_containers_are_no_leaves_and_parametrized_convolutions_are():
    leaf = {layer.name: layer.leaf for layer in look(nets.new_weight_norm()).layers}
    assert leaf["0"]
    assert not leaf["1"]
    assert leaf["1.0"]


@pytest.mark.parametrize(("name", "row", "column"), [("0", 3, 9), ("2", 0, 0), ("3", 4, 7), ("4", 7, 7)])
def test_receptive_fields_are_those_of_autograd(name, row, column):
    net = nets.f2()
    layer = next(found for found in look(net).layers if found.name == name)
    x = nets.images().abs().requires_grad_()
    for part in net.parameters():  # positive weights, so that no ReLU hides a dependence
        part.data.abs_()
    y = x
    for part in net[: int(name) + 1]:
        y = part(y) if not isinstance(part, nn.MaxPool2d) else nn.functional.avg_pool2d(y, 2)
    (gradient,) = torch.autograd.grad(y[0, :, row, column].sum(), x)
    rows, columns = gradient[0].abs().sum(0).nonzero().unbind(1)
    box = (int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1)
    assert layer.field.box(row, column, 16, 16) == box


def test_only_outputs_with_one_part_an_image_are_layers():
    names = [layer.name for layer in look(nets.telling()).layers]
    assert "pair" not in names, "a tuple"
    assert "table" not in names, "a map that does not depend on the batch"
    assert "broken" not in names
    assert names[0] == "flat"
    assert names[-1] == "net"


def test_facts():
    found = look(nets.f1())
    assert (found.facts.relu_like, found.facts.max_pool) == (2, 1)
    assert (found.probabilities, found.largest_batch, found.repeatable, found.writes_input) == (
        False,
        None,
        True,
        False,
    )
    assert look(nets.softmax_head()).probabilities
    assert look(nets.in_place_input()).writes_input
    assert look(nets.one_at_a_time()).largest_batch == 1


def test_scores_that_depend_on_the_company_are_computed_one_by_one():
    class Centered(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nets.f2()

        def forward(self, x):
            y = self.net(x)
            return y - y.sum(0, keepdim=True) / 3

    assert look(Centered().eval()).largest_batch == 1


@pytest.mark.parametrize("make", [nets.random_forward, nets.stateful], ids=lambda f: f.__name__)
def test_scores_that_vary_are_noticed(make):
    found = look(make())
    assert not found.repeatable
    assert found.largest_batch is None, "it takes two images, though its scores vary"


def test_the_global_random_state_survives_a_random_network():
    net = nets.random_forward()
    state = torch.get_rng_state()
    look(net)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nets.returns_tuple, r"must return one tensor of class scores \(N, K\); it returned tuple.*\[0\]"),
        (nets.returns_nan, r"must return finite scores; on a random image it returned NaN.*weights are loaded"),
        (nets.returns_map, r"for one image it returned \(1, 5, 14, 14\). Wrap it so that it pools"),
        (
            nets.two_at_least,
            r"forward raised ValueError: Expected more than 1 value.*It takes two images, but a picture",
        ),
        (lambda: nets.Around(after=lambda y: y[0]), r"for one image it returned \(5,\)"),
        (lambda: nets.Around(after=lambda y: torch.cat([y, y])), r"for one image it returned \(2, 5\)"),
        (
            lambda: nets.Around(after=lambda y: y.argmax(1, keepdim=True)),
            r"floating-point scores; it returned torch.int64",
        ),
        (lambda: nets.Around(after=lambda y: y[:, :0]), r"for one image it returned \(1, 0\)"),
        (lambda: nn.Conv2d(1, 2, 3), r"forward raised RuntimeError: .*one mean for gray images, three for color"),
        (lambda: nn.Bilinear(3, 3, 3), r"forward raised TypeError: .*wrap it so that it takes one tensor"),
    ],
    ids=["tuple", "nan", "map", "pair", "vector", "two rows", "integers", "no class", "gray", "two inputs"],
)
def test_a_network_that_cannot_be_explained_says_what_to_wrap(make, message):
    with pytest.raises(InvalidModel, match=f"(?s){message}"):
        Model(make().eval(), size=nets.SIZE)


@pytest.mark.parametrize("wrong", [None, 3, "resnet18", nn.Linear, lambda x: x])
def test_only_modules_are_models(wrong):
    with pytest.raises(InvalidModel, match=r"module must be a torch.nn.Module; got \w+"):
        Model(wrong)


def test_a_scripted_module_is_refused():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.trace(nets.f1(), nets.images())
    with pytest.raises(InvalidModel, match="eager"):
        Model(scripted, size=nets.SIZE)
