"""A new head on an old trunk: what is trained, on what, what it reports, and that the user's module stays as it was."""

from __future__ import annotations

import copy
import random
from itertools import pairwise

import nets
import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets.errors import InvalidImage, InvalidKnob, InvalidLayer, InvalidTarget, NotApplicable
from xaiwidgets.learned.pooling_head import HeadFit, convertible, with_pooling_head, with_pooling_head_steps

FEW = {"steps": 3}


@pytest.fixture(scope="module")
def vgg():
    return xw.load_model("digits_vgg")


@pytest.fixture(scope="module")
def fits(vgg):
    """All that a whole run on the bundled digits yields."""
    return list(with_pooling_head_steps(vgg))


@pytest.fixture
def flat():
    """A small network with a flattened head, and its module."""
    module = nets.f4()
    return xw.Model(module, size=nets.SIZE, labels=list("abcde"), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)), module


def pictures(count, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (count, 20, 20, 3), dtype=np.uint8))


def pairs(count):
    return [(picture, number % 5) for number, picture in enumerate(pictures(count))]


def test_on_the_bundled_digits_it_costs_no_accuracy(vgg, fits):
    last = fits[-1]
    assert last.before == pytest.approx(0.975, abs=0.01)
    assert last.after >= last.before - 0.02
    assert (last.trained, last.held_out, last.own) == (2500, 400, False)
    assert "gap_head" in last.model.offers
    assert "gap_head" not in vgg.offers
    assert last.model.remarks == (last.sentence(),)
    assert last.sentence() in last.model.notes
    change = f"{100 * last.change:+.1f} points".replace("-", "−")
    assert (
        f"its accuracy is {last.after:.1%}, {change} against the network as it was ({last.before:.1%})."
        in last.sentence()
    )


def test_the_accuracy_that_is_told_is_the_models(vgg, fits):
    from xaiwidgets.data.digits import digits

    test = digits("single", "test")
    for model, told in ((vgg, fits[-1].before), (fits[-1].model, fits[-1].after)):
        inputs = torch.cat([model.from_pixels(image[..., None]) for image in test.images])
        assert (model.logits(inputs).argmax(1).numpy() == test.labels).mean() == told


def test_cam_finds_the_digit_in_the_converted_network(fits):
    from xaiwidgets.data.digits import digits

    test, hits = digits("single", "test", 60), []
    for image, label, box in zip(test.images, test.labels, test.boxes[:, 0], strict=True):
        found = xw.explain(fits[-1].model, image, "cam", target=int(label))
        row, column = np.unravel_index(found.heatmap().argmax(), found.size)
        hits.append(box[0] <= row < box[2] and box[1] <= column < box[3])
        assert fits[-1].sentence() in found.notes
    assert np.mean(hits) >= 0.85


def test_progress_rises_to_one_and_losses_fall(fits):
    assert all(a.progress < b.progress for a, b in pairwise(fits))
    assert fits[-1].progress == 1
    assert all(fit.model is None for fit in fits[:-1])
    assert all(np.isnan(fit.after) for fit in fits[:-1])
    assert len(fits[-1].losses) == 400
    assert fits[-1].losses[-40:].mean() < 0.2 < fits[-1].losses[:10].mean()


def test_the_trunk_is_shared_and_the_head_is_the_papers(vgg, fits):
    made = fits[-1].model
    names = [layer.name for layer in made.layers]
    assert [name for name in names if name.startswith("head.")] == [
        f"head.{part}" for part in ("conv", "relu", "pool", "flatten", "linear")
    ]
    assert not any("classifier" in name or "features.10" in name for name in names), "the rest is not run"
    assert made.layer("head.conv").shape == (96, 12, 12)
    head = made.module.head
    assert head.conv.kernel_size == (3, 3)
    assert not any(p.requires_grad for p in made.module.parameters())
    image = torch.randn(2, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    trunk = vgg.activations(image, ["features.9"])["features.9"]
    torch.testing.assert_close(made.logits(image), head(trunk), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.module(image), head(trunk), rtol=1e-4, atol=1e-5)
    assert made.module.trunk.features[0].weight.data_ptr() == vgg.module.features[0].weight.data_ptr()
    assert made.name == "digits_vgg with a pooling head"
    assert made.labels is vgg.labels
    assert made.preprocessing == vgg.preprocessing


def state(module):
    return [
        (name, t.data_ptr(), t._version, t.requires_grad, t.grad is None, t.detach().clone())
        for name, t in (*module.named_parameters(), *module.named_buffers())
    ]


def test_the_users_module_and_the_random_state_stay_as_they_were(flat):
    model, module = flat
    before, hooks = state(module), {n: (m.training, len(m._forward_hooks)) for n, m in module.named_modules()}
    chance = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    made = with_pooling_head(model, pairs(10), **FEW)
    for one, other in zip(before, state(module), strict=True):
        assert one[:-1] == other[:-1]
        assert torch.equal(one[-1], other[-1])
    assert hooks == {n: (m.training, len(m._forward_hooks)) for n, m in module.named_modules()}
    assert torch.equal(chance[0], torch.get_rng_state())
    np.testing.assert_array_equal(chance[1], np.random.get_state()[1])  # noqa: NPY002
    assert chance[2] == random.getstate()
    assert "gap_head" in made.offers


def test_the_same_seed_gives_the_same_head(flat):
    model, _ = flat
    one, same, other = (with_pooling_head(model, pairs(10), seed=seed, **FEW) for seed in (3, 3, 4))
    assert torch.equal(one.module.head.linear.weight, same.module.head.linear.weight)
    assert not torch.equal(one.module.head.linear.weight, other.module.head.linear.weight)


def test_can_be_cancelled_at_any_step(flat):
    model, _ = flat
    for count in (1, 3, 5):
        steps = with_pooling_head_steps(model, pairs(10), **FEW)
        for _ in range(count):
            assert isinstance(next(steps), HeadFit)
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
        steps.close()
        with pytest.raises(StopIteration):
            next(steps)


def test_learns_labels_that_the_old_head_gets_wrong():
    """Bright against dark pictures: any trunk will do."""
    bright = [(np.full((20, 20, 3), 40 if n % 2 else 220, np.uint8) + np.uint8(n), n % 2) for n in range(30)]
    model = xw.Model(nets.f4(), size=nets.SIZE)
    fits = list(with_pooling_head_steps(model, bright, steps=60, channels=4, rate=0.03))
    assert fits[-1].after == 1
    assert fits[-1].held_out == 6
    assert fits[-1].model.layer("head.conv").shape[0] == 4


def test_takes_tensors_data_sets_loaders_and_names_of_labels(flat):
    model, _ = flat
    inputs = torch.randn(10, 3, nets.SIZE, nets.SIZE, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(10) % 5
    plain = [(image, int(label)) for image, label in zip(inputs, labels, strict=True)]
    dataset = torch.utils.data.TensorDataset(inputs, labels)
    loader = torch.utils.data.DataLoader(dataset, batch_size=4)
    named = [(image, "abcde"[label]) for image, label in plain]
    wanted = with_pooling_head(model, plain, **FEW).module.head.linear.weight
    for given in (dataset, loader, named):
        assert torch.equal(with_pooling_head(model, given, **FEW).module.head.linear.weight, wanted)


def test_pictures_without_labels_are_labelled_by_the_network_itself(flat):
    model, _ = flat
    fits = list(with_pooling_head_steps(model, pictures(20), steps=150, channels=16))
    assert fits[-1].own
    assert fits[-1].before == 1
    assert (
        fits[-1].sentence().startswith("A new head was trained on 16 pictures: on 4 others it gives the network's own")
    )
    xw.reference_set("without labels", pictures(20))
    same = list(with_pooling_head_steps(model, "without labels", steps=150, channels=16))
    assert same[-1].after == fits[-1].after
    image = torch.cat([model.input(picture) for picture in pictures(20)])
    ours, theirs = fits[-1].model.probabilities(image), model.probabilities(image)
    assert (ours - theirs).abs().mean() < 0.5 * (theirs - theirs.mean(0)).abs().mean() + 0.05


def test_separate_pictures_can_be_held_out(flat):
    model, _ = flat
    fits = list(with_pooling_head_steps(model, pairs(10), held_out=pairs(7), **FEW))
    assert (fits[-1].trained, fits[-1].held_out) == (10, 7)


def test_the_trunk_can_end_elsewhere_and_maps_need_not_be_kept(flat, monkeypatch):
    model, _ = flat
    made = with_pooling_head(model, pairs(10), layer="features.1", **FEW)
    assert made.layer("head.conv").shape == (12, 16, 16)
    kept = with_pooling_head(model, pairs(10), **FEW).module.head.linear.weight
    monkeypatch.setattr("xaiwidgets.learned.pooling_head.KEPT", 0)
    again = with_pooling_head(model, pairs(10), **FEW).module.head.linear.weight
    torch.testing.assert_close(again, kept)


class Catching(nn.Module):
    """A network that catches every error of its trunk."""

    def __init__(self):
        super().__init__()
        self.inner = nets.f4()

    def forward(self, x):
        try:
            return self.inner(x)
        except Exception:
            return torch.zeros(len(x), nets.CLASSES)


def test_a_network_that_catches_errors_is_cut_off_all_the_same():
    model = xw.Model(Catching().eval(), size=nets.SIZE)
    made = with_pooling_head(model, pairs(10), **FEW)
    assert made.logits(nets.images(2)).std() > 0
    assert made.gap_head().layer == "head.relu"


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (None, "only networks of the bundled digits have data of their own"),
        ([], "fewer than two"),
        (7, "got int"),
        ("no such folder", "no such folder"),
        ("plain", "plain baselines"),
        ([(np.zeros((20, 20, 3), np.uint8), 0), 3], "number 1 is no pair"),
        ([(torch.zeros(3, 8, 8), 0)] * 5, r"images\[\d\] must be an input of shape \(3, 16, 16\)"),
    ],
)
def test_wrong_pictures_are_named(images, message, flat):
    with pytest.raises(InvalidImage, match=message):
        with_pooling_head(flat[0], images, **FEW)


def test_other_wrong_arguments_are_named(flat):
    model, _ = flat
    with pytest.raises(InvalidTarget, match=r"images\[1\]: .*'f'"):
        with_pooling_head(model, [(pictures(1)[0], "a"), (pictures(1)[0], "f")], **FEW)
    with pytest.raises(InvalidLayer, match="must give a spatial map"):
        with_pooling_head(model, pairs(10), layer="classifier.0")
    for name, value in (("steps", 0), ("channels", -1), ("rate", 0.0), ("seed", -1)):
        with pytest.raises(InvalidKnob, match=f"^{name} must be"):
            with_pooling_head(model, pairs(10), **{name: value})
    dense = xw.Model(nets.no_convolution(), size=nets.SIZE)
    with pytest.raises(NotApplicable, match="with_pooling_head needs a layer that gives a spatial map"):
        with_pooling_head(dense, pairs(10))


def test_what_can_be_converted_without_data_of_the_users(vgg, flat, fits):
    assert convertible(vgg)
    assert not convertible(flat[0])
    assert not convertible(xw.load_model("digits_gap"))
    assert not convertible(fits[-1].model)


def test_the_converted_network_is_explained_like_any_other(fits):
    model, image = fits[-1].model, np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    before = copy.deepcopy(model.module.state_dict())
    for method in ("grad_cam", "guided_backprop", "lrp", "ccam", "clear"):
        found = xw.explain(model, image, method)
        assert np.isfinite(found.values).all()
        assert found.values.any()
    receipt = xw.explain(model, image, "lrp").details["receipt_layers"]
    assert {"head.conv", "head.linear"} <= {row["layer"] for row in receipt}
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
