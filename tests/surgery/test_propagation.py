"""The policy that hands out relevance rules: which operation gets which, and what it knows of the picture."""

from __future__ import annotations

from dataclasses import replace

import nets
import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F  # noqa: N812

from xaiwidgets.errors import NotApplicable
from xaiwidgets.surgery.composites import COMPOSITES, Composite, RuleSpec, composite
from xaiwidgets.surgery.mode import SurgeryMode, check
from xaiwidgets.surgery.propagation import RelevancePolicy

LOW, HIGH = (-2.0, -1.8, -1.5), (2.2, 2.4, 2.6)
LRP_0 = composite("epsilon", epsilon=0.0)


@pytest.fixture
def send(watching):
    """Run a network and send the values of its chosen scores back; return relevance, policy, coverage and scores."""

    def run(module, picture, made, start=None):
        policy = RelevancePolicy(made)
        module.requires_grad_(False)
        leaf = picture.detach().clone().requires_grad_()
        with watching(module) as watch, SurgeryMode(policy, watch.where) as mode:
            mode.start(leaf)
            scores = module(leaf.clone())
            policy.aim(scores)
        if start is None:
            start = torch.zeros_like(scores)
            start[:, 1] = scores[:, 1].detach()
        (found,) = torch.autograd.grad(scores, leaf, start)
        return found, policy, mode.coverage, scores.detach()

    return run


def pictures(count=2, size=nets.SIZE, seed=7):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, 3, size, size), generator=generator, dtype=torch.float64).clamp(-1.5, 2.2)


def gradient_times_input(module, picture):
    leaf = picture.clone().requires_grad_()
    return (torch.autograd.grad(module(leaf.clone())[:, 1].sum(), leaf)[0] * leaf).detach()


#: ReLU6 passes relevance at its upper bound, where the gradient is 0: another value by construction.
PIECEWISE = [make for make in nets.GOOD if make is not nets.f5]


@pytest.mark.parametrize("make", PIECEWISE, ids=lambda make: make.__name__)
def test_lrp_0_is_gradient_times_input(make, send):
    """X1: biases, residual additions, batch norms declared out of order, in-place and reused modules and user hooks."""
    module = make().double()
    found, policy, coverage, scores = send(module, pictures(), LRP_0)
    wanted = gradient_times_input(module, pictures())
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12 * float(wanted.abs().max()))
    check(policy, coverage, "lrp")
    balance(policy, scores[:, 1], found)


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "squeezenet1_1", "shufflenet_v2_x0_5", "densenet121"])
def test_lrp_0_is_gradient_times_input_on_known_architectures(name, send):
    """Functional ReLUs, residual additions, concatenation, channel shuffling, convolutional heads."""
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = getattr(torchvision.models, name)(weights=None, num_classes=5, **options)
        module = nets.randomize_norms(module).double().eval()
    picture = pictures(1, 64)
    found, policy, coverage, scores = send(module, picture, LRP_0)
    wanted = gradient_times_input(module, picture)
    check(policy, coverage, "lrp")
    assert (found - wanted).abs().max() <= 1e-8 * wanted.abs().max()
    balance(policy, scores[:, 1], found)


def balance(policy, start, arrived, dropped=0.0):
    for index in range(len(arrived)):
        receipt = policy.ledger.receipt(float(start[index]), float(arrived[index].sum()), index)
        parts = sum(receipt[name] for name in ("input", "bias", "epsilon", "dropped"))
        assert parts == pytest.approx(receipt["start"])
        assert receipt["dropped"] == pytest.approx(dropped, abs=1e-9 * max(1, abs(receipt["start"])))
        sums = policy.ledger.layers(index)
        assert sum(row["dropped"] for row in sums) == pytest.approx(receipt["dropped"], abs=1e-8)


@pytest.mark.parametrize("name", COMPOSITES)
@pytest.mark.parametrize("make", [nets.f1, nets.f2, nets.f4], ids=lambda make: make.__name__)
def test_relevance_is_conserved_without_biases(make, name, send):
    made = composite(name, epsilon=0.0, bias="ignore", low=LOW, high=HIGH)
    found, policy, coverage, scores = send(make().double(), pictures(), made)
    check(policy, coverage, "lrp")
    lost = [
        sum(float(entry.dropped[index]) for entry in policy.ledger.entries) for index in range(2)
    ]  # of units without contributions of the wanted sign
    np.testing.assert_allclose(found.sum((1, 2, 3)).numpy() + lost, scores[:, 1], rtol=1e-9)
    assert all(not entry.bias.any() and not entry.epsilon.any() for entry in policy.ledger.entries)
    one_sign = {"zplus", "alpha_beta"} & {*COMPOSITES[name]}
    if not one_sign or (make is not nets.f4 and "alpha_beta" not in one_sign):
        # elsewhere a unit may have contributions of the other sign only
        assert max(map(abs, lost)) < 1e-9
        np.testing.assert_allclose(found.sum((1, 2, 3)), scores[:, 1], rtol=1e-9)


@pytest.mark.parametrize("name", COMPOSITES)
def test_what_biases_take_is_accounted_for(name, send):
    made = composite(name, epsilon=1e-3, low=LOW, high=HIGH)
    found, policy, _, scores = send(nets.f3().double(), pictures(), made)
    for index in range(2):
        receipt = policy.ledger.receipt(float(scores[index, 1]), float(found[index].sum()), index)
        parts = sum(receipt[part] for part in ("input", "bias", "epsilon", "dropped"))
        assert parts == pytest.approx(receipt["start"])
        rows = policy.ledger.layers(index)
        assert sum(row["dropped"] for row in rows) == pytest.approx(receipt["dropped"], rel=1e-6, abs=1e-9)
        assert all(
            row["in"] == pytest.approx(sum(row[c] for c in ("out", "bias", "epsilon", "dropped"))) for row in rows
        )


def test_each_layer_gets_the_rule_of_its_sort(send):
    _, _, coverage, _ = send(nets.f4().double(), pictures(), composite("epsilon_gamma_box", low=LOW, high=HIGH))
    weighted = {path: rule for (path, kind, rule) in coverage.places if kind in {"conv", "linear"}}
    assert weighted == {"features.0": "zbox", "classifier.0": "epsilon", "classifier.3": "epsilon"}
    _, _, coverage, _ = send(nets.f2().double(), pictures(), composite("epsilon_gamma_box", low=LOW, high=HIGH))
    weighted = {path: rule for (path, kind, rule) in coverage.places if kind in {"conv", "linear"}}
    assert weighted == {"0": "zbox", "3": "gamma(0.25)", "7": "epsilon"}


def test_exceptions_are_for_a_layer_or_for_all_in_a_block(send):
    module = torchvision.models.resnet.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=3)
    layers = (("layer2", RuleSpec("zplus")), ("layer2.0.conv2", RuleSpec("flat")), ("layer20", RuleSpec("w2")))
    made = replace(composite("epsilon"), layers=layers)
    _, policy, coverage, _ = send(module.double().eval(), pictures(1, 32), made)
    rules = {path: rule for (path, kind, rule) in coverage.places if kind in {"conv", "linear"}}
    assert {path: rule for path, rule in rules.items() if rule != "epsilon"} == {
        "layer2.0.conv1": "zplus", "layer2.0.conv2": "flat", "layer2.0.downsample.0": "zplus",
    }  # fmt: skip
    assert policy.used == {"layer2", "layer2.0.conv2"}
    assert "layer1.0.conv1" in policy.weighted


class Two(nn.Module):
    """Two branches that read the picture, one of them after a change of its values."""

    def __init__(self, before=lambda x: x):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
            self.head = nn.Linear(8, 3)
        self.before = before

    def forward(self, x):
        x = torch.cat([self.one(x), self.two(self.before(x))], 1).relu()
        return self.head(x.mean((2, 3)))


def test_all_that_reads_the_picture_is_a_first_layer(send):
    made = composite("epsilon_gamma_box", low=LOW, high=HIGH)
    _, _, coverage, _ = send(Two().double(), pictures(), made)
    assert [rule for (path, kind, rule) in coverage.places if kind == "conv"] == ["zbox", "zbox"]


def _filled(x):
    out = torch.zeros_like(x)
    out[:, 0] = x[:, 2] * 2
    out[:, 1:] = x[:, :2] - 1
    return out


MEAN, VARIANCE, SCALE = torch.tensor([[0.1, -0.2, 0.3], [1.0, 4.0, 1.0], [1.5, -1.0, 1.0]], dtype=torch.float64)
#: What a network may do to its picture first, and the bounds after it, by channel.
BEFORE = {
    "as it is": (lambda x: x, LOW, HIGH),
    "normalized": (lambda x: (x - 0.5) / 0.25, [(v - 0.5) * 4 for v in LOW], [(v - 0.5) * 4 for v in HIGH]),
    "in place": (lambda x: x.clone().sub_(0.5).div_(0.25), [(v - 0.5) * 4 for v in LOW], [(v - 0.5) * 4 for v in HIGH]),
    "inverted": (lambda x: 1 - x, [1 - v for v in HIGH], [1 - v for v in LOW]),
    "negative factor": (lambda x: x * -2.0, [-2 * v for v in HIGH], [-2 * v for v in LOW]),
    "channels swapped": (lambda x: x[:, [2, 1, 0]], LOW[::-1], HIGH[::-1]),
    "by channel": (
        lambda x: torch.cat([x[:, :1] * 2, x[:, 1:2] + 1, x[:, 2:]], 1),
        [2 * LOW[0], LOW[1] + 1, LOW[2]], [2 * HIGH[0], HIGH[1] + 1, HIGH[2]],
    ),
    "filled in": (_filled, [2 * LOW[2], LOW[0] - 1, LOW[1] - 1], [2 * HIGH[2], HIGH[0] - 1, HIGH[1] - 1]),
    "clamped": (lambda x: x.clamp(-1, 1), [-1.0] * 3, [1.0] * 3),
    "padded": (lambda x: F.pad(x, (1, 1, 1, 1))[:, :, 1:-1, 1:-1], LOW, HIGH),
    "pooled": (lambda x: F.avg_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3), LOW, HIGH),
    "max-pooled": (lambda x: F.max_pool2d(x, 1), LOW, HIGH),
    "halved": (lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear").repeat(1, 1, 2, 2), LOW, HIGH),
    "by batch norm": (
        lambda x: F.batch_norm(x, MEAN, VARIANCE, SCALE, eps=0.0),
        [1.5 * (LOW[0] - 0.1), -0.5 * (HIGH[1] + 0.2), LOW[2] - 0.3],
        [1.5 * (HIGH[0] - 0.1), -0.5 * (LOW[1] + 0.2), HIGH[2] - 0.3],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BEFORE)
def test_the_bounds_follow_what_is_done_to_the_picture(name, send):
    """The box of the second branch equals the one that is given outright to a network without that step."""
    before, low, high = BEFORE[name]
    made = composite("epsilon_gamma_box", low=LOW, high=HIGH, bias="ignore", epsilon=0.0)
    module, picture = Two(before).double().requires_grad_(False), pictures()
    policy = RelevancePolicy(made)
    leaf = picture.clone().requires_grad_()
    with SurgeryMode(policy, lambda: "") as mode:
        mode.start(leaf)
        x = before(leaf * 1)
        output = module.two(x)
    assert mode.coverage.refused == ()
    relevance = torch.randn(output.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (found,) = torch.autograd.grad(output, x, relevance)
    direct = RelevancePolicy(replace(made, low=tuple(map(float, low)), high=tuple(map(float, high))))
    values = x.detach().requires_grad_()
    with SurgeryMode(direct, lambda: "") as mode:
        mode.start(values)
        output = module.two(values)
    (wanted,) = torch.autograd.grad(output, values, relevance)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    "before",
    [
        lambda x: x - x.mean((2, 3), keepdim=True),
        lambda x: x + x.flip(3),
        F.silu,
        lambda x: F.interpolate(x, scale_factor=1.0, mode="bicubic"),
        lambda x: torch.zeros_like(x).add_(x),
    ],
)
def test_unknown_bounds_are_refused(before, send):
    made = composite("epsilon_gamma_box", low=LOW, high=HIGH)
    picture = pictures()
    _, policy, coverage, _ = send(Two(before).double(), picture, made)
    assert coverage.refused == (("conv by zbox, the bounds of whose inputs are not known,", "two"),)
    with pytest.raises(NotApplicable, match="conv by zbox, the bounds of whose inputs are not known, at two"):
        check(policy, coverage, "lrp")
    _, policy, coverage, _ = send(Two(before).double(), picture, composite("epsilon"))
    check(policy, coverage, "lrp")


def test_a_view_that_is_overwritten_takes_the_bounds_with_it(send):
    def before(x):
        x = x.clone()
        x[:, 0].mul_(3)
        return x

    _, _, coverage, _ = send(Two(before).double(), pictures(), composite("epsilon_gamma_box", low=LOW, high=HIGH))
    assert [path for _, path in coverage.refused] == ["two"]


def test_bounds_are_carried_without_touching_the_network(send):
    """What works in place is run again on copies only."""
    module = nets.in_place_input().double()
    plain = module(pictures().clone())
    _, policy, coverage, scores = send(module, pictures(), composite("epsilon_gamma_box", low=LOW, high=HIGH))
    assert torch.equal(scores, plain)
    check(policy, coverage, "lrp")


def test_a_box_further_up_has_no_bounds(send):
    made = replace(composite("epsilon", low=LOW, high=HIGH), layers=(("3", RuleSpec("zbox")),))
    _, _, coverage, _ = send(nets.f2().double(), pictures(), made)
    assert [path for _, path in coverage.refused] == ["3"]


def test_a_gate_of_a_main_activation_is_told_from_a_gate(send):
    """With units that must be on or off, a sigmoid is fine as a gate and refused as an activation."""

    class Gated(nn.Module):
        def __init__(self, main):
            super().__init__()
            self.conv, self.fc, self.head, self.main = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 3), main

        def forward(self, x):
            x = self.conv(x)
            x = x.sigmoid() if self.main else x.relu() * self.fc(x.mean((2, 3), keepdim=True)).sigmoid()
            return self.head(x.mean((2, 3)))

    made = replace(composite("zplus"), refuses=frozenset({"sigmoid", "silu"}))
    _, policy, coverage, _ = send(Gated(main=False).double(), pictures(), made)
    check(policy, coverage, "excitation_backprop")
    _, policy, coverage, _ = send(Gated(main=True).double(), pictures(), made)
    with pytest.raises(NotApplicable, match="sigmoid at the model itself"):
        check(policy, coverage, "excitation_backprop")
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(784, 3)).double()
    _, policy, coverage, _ = send(module, pictures(), made)
    assert coverage.refused == (("silu", "1"),)


def test_signals_after_the_first_turn_the_weights_that_feed_the_target(watching):
    """CLRP2 and contrastive excitation backpropagation: the dual of the last layer only."""
    module, picture = nets.f4().double().requires_grad_(False), pictures(1)
    made = replace(composite("zplus", bias="ignore", low=LOW, high=HIGH), ends="dual")
    policy = RelevancePolicy(made)
    leaf = picture.clone().requires_grad_()
    with watching(module) as watch, SurgeryMode(policy, watch.where) as mode:
        mode.start(leaf)
        scores = module(leaf.clone())
        policy.aim(scores)
    assert len(policy.ends) == 1
    start = torch.eye(nets.CLASSES, dtype=torch.float64)[[2]]
    arrived = []
    for number in range(3):
        policy.send(number)
        arrived += torch.autograd.grad(scores, leaf, start, retain_graph=True)
    assert torch.equal(arrived[1], arrived[2])
    turned = nets.f4().double().requires_grad_(False)
    with torch.no_grad():
        turned.classifier[3].weight.neg_()
    found = []
    for net in (module, turned):
        single = RelevancePolicy(replace(made, ends="plain"))
        leaf = picture.clone().requires_grad_()
        with SurgeryMode(single, lambda: "") as mode:
            mode.start(leaf)
            output = net(leaf.clone())
        found += torch.autograd.grad(output, leaf, start)
    torch.testing.assert_close(arrived[0], found[0], rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(arrived[1], found[1], rtol=1e-12, atol=1e-15)
    assert (found[0] - found[1]).abs().max() > 0.1 * found[0].abs().max()
    booked = policy.ledger.layers()
    assert sum(row["layer"] == "classifier.3" for row in booked) == 1, "the receipt is about the first signal"
    assert [row["in"] for row in booked if row["layer"] == "classifier.3"] == [1.0]


def test_of_a_residual_block_all_that_feeds_its_sum_is_turned(watching):
    module, picture = nets.f3().double().requires_grad_(False), pictures(1)
    policy = RelevancePolicy(replace(composite("zplus", bias="ignore"), ends="dual"))
    leaf = picture.clone().requires_grad_()
    with watching(module) as watch, SurgeryMode(policy, watch.where) as mode:
        mode.start(leaf)
        x = module.relu(module.bn1(module.conv1(leaf * 1)))
        y = module.bn2(module.conv2(x))
        y += x
        policy.aim(y)
    assert policy.ends == {0, 1}


def test_units_below_zero_are_explained_by_what_makes_them_so(send):
    weight = torch.tensor([[2.0, -1.0, 0.5]], dtype=torch.float64)
    module = nn.Sequential(nn.Flatten(), nn.Linear(3, 1, bias=False)).double()
    with torch.no_grad():
        module[1].weight.copy_(weight)
    made = replace(composite("zplus", bias="ignore", epsilon=0.0), ends="sign")
    for values, wanted in (([1.0, 1.0, 2.0], [2, 0, 1]), ([1.0, 9.0, 2.0], [0, 6, 0])):
        picture = torch.tensor(values, dtype=torch.float64).reshape(1, 3, 1, 1)
        score = float((weight[0] * picture.flatten()).sum())
        found, *_ = send(module, picture, made, torch.tensor([[abs(score)]], dtype=torch.float64))
        np.testing.assert_allclose(found.flatten(), np.array(wanted) * abs(score) / sum(wanted))


def test_what_cannot_be_seen_is_refused(send):
    class Mine(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx, signal):
            return signal

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(Mine.apply(self.conv(x)).mean((2, 3)))

    _, policy, coverage, _ = send(Net().double(), pictures(), LRP_0)
    with pytest.raises(NotApplicable, match="unseen MineBackward"):
        check(policy, coverage, "lrp")


@pytest.mark.parametrize("positive", [False, True])
def test_several_rows_for_each_picture_are_booked_to_it(positive, send):
    """A network that cuts pictures into pieces and treats each as a picture of its own."""

    class Pieces(nn.Module):
        def __init__(self):
            super().__init__()
            with torch.random.fork_rng():
                torch.manual_seed(0)
                self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

        def forward(self, x):
            count = len(x)
            x = x.unflatten(3, (2, 8)).permute(0, 3, 1, 2, 4).reshape(2 * count, 3, 16, 8)
            x = self.conv(x).relu().mean((2, 3)).reshape(count, 2, 4)
            return self.head(x.mean(1))

    made = replace(composite("epsilon", epsilon=1e-3), positive=positive)
    found, policy, coverage, scores = send(Pieces().double(), pictures(3), made)
    check(policy, coverage, "lrp")
    balance(policy, scores[:, 1], found)
    for index in range(3):
        alone, single, _, _ = send(Pieces().double(), pictures(3)[index : index + 1], made)
        torch.testing.assert_close(alone[0], found[index], rtol=1e-9, atol=1e-12)
        ours = policy.ledger.receipt(float(scores[index, 1]), float(found[index].sum()), index)
        wanted = single.ledger.receipt(float(scores[index, 1]), float(alone.sum()))
        assert ours == pytest.approx(wanted, abs=1e-9)


def test_nothing_is_held_when_the_pass_has_ended(send):
    _, policy, _, _ = send(nets.f2().double(), pictures(), composite("epsilon_gamma_box", low=LOW, high=HIGH))
    assert not policy._raw
    assert not policy._bounds
    assert not policy._gates
    assert not policy._feeding


def test_equal_composites_are_the_same_question():
    assert RelevancePolicy(composite("gamma")).key == RelevancePolicy(composite("gamma")).key
    assert RelevancePolicy(composite("gamma")).key != RelevancePolicy(composite("gamma", gamma=1.0)).key
    assert RelevancePolicy(Composite("mine")).name == "LRP mine"
