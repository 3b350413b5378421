"""The prepared copy: the same numbers and gradients, on any network, and nothing is folded that should not be."""

from __future__ import annotations

import nets
import pytest
import torch
from torch import nn

from xaiwidgets.model.inspection import inspect, probe_like
from xaiwidgets.model.model import Model
from xaiwidgets.model.prepare import prepare
from xaiwidgets.model.skeleton import make_skeleton
from xaiwidgets.model.tape import install

#: Folded BatchNorm layers of each network of other libraries, random weights, statistics that matter.
LIBRARY = {
    "torchvision:resnet18": 20,
    "torchvision:mobilenet_v3_small": 34,
    "torchvision:densenet121": 59,
    "torchvision:vgg11_bn": 8,
    "timm:tf_efficientnet_lite0": 49,
}


def library(name):
    source, _, rest = name.partition(":")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if source == "timm":
            import timm

            net = timm.create_model(rest, num_classes=7)
        else:
            import torchvision

            extra = {"init_weights": False} if rest.startswith("vgg") else {}
            net = torchvision.models.get_model(rest, num_classes=7, **extra)
            if rest.startswith("vgg"):  # 4096 units of a random head are seconds of nothing
                net.classifier = nn.Linear(512 * 49, 7)
        return calibrated(nets.randomize_norms(net))


def calibrated(net):
    """Give every normalization the statistics of what it receives, so that signals neither fade nor blow up."""
    for part in net.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.reset_running_stats()
            part.momentum = None
    with torch.no_grad():
        net.train()(nets.images(4, size=32))
    return net.eval()


def gradient(network, x, index):
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(network(x.clone())[:, index].sum(), x)
    return found


def furthest(one, other):
    """Return the largest difference as a share of the largest value."""
    return float((one - other).abs().max() / other.abs().max())


def check_same(model, net, x, rtol):
    with torch.no_grad():
        assert furthest(model.logits(x), net(x.clone())) <= rtol
    found = model.gradient(x, model.target(2)).input
    assert furthest(found, gradient(net, x, 2)) <= 10 * rtol
    assert torch.equal(found, gradient(lambda images: model.prepared.module(model.prepared.fit(images)), x, 2))


@pytest.mark.parametrize("name", LIBRARY)
def test_library_networks_give_the_same(name):
    """In double precision, where only the arithmetic counts; in single, no further from it than the plain network."""
    net = library(name).double()
    x = nets.images(2, size=32).double()
    model = Model(net, size=32)
    assert len(model.prepared.folded) == LIBRARY[name]
    assert model.prepared.note == f"{LIBRARY[name]} BatchNorm layers folded, channels last"
    check_same(model, net, x, 1e-11)
    with torch.no_grad():
        exact = net(x)
        single = Model(net.float(), size=32)
        limit = max(1e-5, 3 * furthest(net(x.float()).double(), exact))
    assert len(single.prepared.folded) == LIBRARY[name]
    assert furthest(single.logits(x.float()).double(), exact) <= limit


@pytest.mark.parametrize("make", (*nets.GOOD, nets.in_place_input, nets.telling), ids=lambda f: f.__name__)
def test_small_networks_give_the_same(make):
    net = make()
    check_same(Model(net, size=nets.SIZE), net, nets.images(3), 1e-5)


def test_double_precision_is_kept():
    net = nets.f3().double()
    model = Model(net, size=nets.SIZE)
    assert model.prepared.folded == {"conv1", "conv2", "conv3"}
    check_same(model, net, nets.images(2).double(), 1e-12)


def test_declaration_out_of_order_does_not_matter():
    names = [name for name, _ in nets.f3().named_children()]
    assert names.index("bn2") < names.index("bn1") < names.index("conv2") < names.index("conv1")
    assert Model(nets.f3(), size=nets.SIZE).prepared.folded == {"conv1", "conv2", "conv3"}


@pytest.mark.parametrize("make", [nets.reused, nets.old_weight_norm, nets.new_weight_norm], ids=lambda f: f.__name__)
def test_what_is_shared_or_computed_is_not_folded(make):
    prepared = Model(make(), size=nets.SIZE).prepared
    assert prepared.folded == frozenset()
    assert prepared.channels_last


def test_layers_that_hand_on_a_folded_output_are_known():
    assert Model(nets.wrapped(), size=nets.SIZE).prepared.folded == {"inner", "inner.0", "inner.1"}


def test_a_fold_that_changes_the_result_is_dropped_with_a_note():
    prepared = Model(nets.hooked(), size=nets.SIZE).prepared
    assert prepared.folded == frozenset()
    assert prepared.channels_last
    assert "1 BatchNorm layers folded, channels last: changed the output by" in prepared.note


def test_a_network_that_refuses_channels_last_is_still_folded():
    prepared = Model(nets.f4(), size=nets.SIZE).prepared
    assert prepared.folded == {"features.0"}
    assert not prepared.channels_last
    assert "channels last: raised RuntimeError" in prepared.note


def test_a_random_network_runs_as_it_is():
    prepared = Model(nets.random_forward(), size=nets.SIZE).prepared
    assert prepared.note.startswith("plain copy; what is faster did not work")


def test_wrong_pairs_are_found_out():
    net = make_skeleton(nets.f3())
    wrong = [(id(net.conv1.weight), id(net.bn2.running_mean))]
    prepared = prepare(net, wrong, nets.images())
    assert prepared.folded == frozenset()
    assert "changed the output" in prepared.note


def test_preparing_changes_neither_the_skeleton_nor_the_module():
    net = nets.f5()
    skeleton = make_skeleton(net)
    kept = {name: (id(t), t.data_ptr(), t.stride(), t._version) for name, t in skeleton.named_parameters()}
    modules = {name: id(m) for name, m in skeleton.named_modules()}
    install(traced := make_skeleton(net))
    found = inspect(traced, (3, nets.SIZE, nets.SIZE), torch.empty(0))
    weights = {id(p): n for n, p in traced.named_parameters()} | {id(b): n for n, b in traced.named_buffers()}
    names = dict((*skeleton.named_parameters(), *skeleton.named_buffers()))
    pairs = [(id(names[weights[w]]), id(names[weights[m]])) for w, m in found.pairs]
    prepared = prepare(skeleton, pairs, nets.images())
    assert len(prepared.folded) == 3
    assert {n: (id(t), t.data_ptr(), t.stride(), t._version) for n, t in skeleton.named_parameters()} == kept
    assert {name: id(m) for name, m in skeleton.named_modules()} == modules
    for name, parameter in net.named_parameters():
        assert parameter.data_ptr() == kept[name][1], "the skeleton still shares the user's weights"


def test_fit_gives_the_wanted_strides():
    channels_last = Model(nets.f1(), size=nets.SIZE).prepared
    plain = Model(nets.f4(), size=nets.SIZE).prepared
    writes = Model(nets.in_place_input(), size=nets.SIZE).prepared
    x = nets.images(2)
    assert channels_last.fit(x).stride() == (768, 1, 48, 3)
    assert plain.fit(x) is x
    # one gray image in channels last counts as contiguous, and still hands its strides on
    gray = torch.empty(1, 1, 4, 4).as_strided((1, 1, 4, 4), (16, 1, 4, 1))
    assert gray.is_contiguous()
    assert plain.fit(gray).stride() == (16, 16, 4, 1)
    assert writes.fit(x).data_ptr() != x.data_ptr()


def test_the_probe_is_reproducible_and_leaves_the_global_random_state():
    state = torch.get_rng_state()
    one, other = (probe_like((3, 4, 4), 2, torch.empty(0, dtype=torch.float64)) for _ in range(2))
    assert torch.equal(one, other)
    assert one.dtype == torch.float64
    assert torch.equal(torch.get_rng_state(), state)
