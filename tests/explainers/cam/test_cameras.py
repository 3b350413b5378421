"""CAMERAS: the authors' program written once more with hooks, Grad-CAM's relatives where both agree, odd networks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import xaiwidgets as xw
from xaiwidgets import Cameras, Target
from xaiwidgets.errors import InvalidKnob, InvalidLayer, NotApplicable
from xaiwidgets.explainers.cam import cameras
from xaiwidgets.model.layers import Layer


def kept(module, layer, image, score):
    """Activation and gradient of a layer, with a hook."""
    records = []

    def keep(_module, _inputs, output):
        records.append(output)
        return output.clone()  # what comes next may work in place

    hook = module.get_submodule(layer).register_forward_hook(keep)
    outputs = module(image.clone().requires_grad_())
    hook.remove()
    return records[0].detach(), torch.autograd.grad(score(outputs), records[0])[0]


def slow(module, layer, image, sizes, target, mode="bilinear"):
    """The authors' program, before it is stretched to [0, 1]."""
    own = image.shape[-2:]
    corners = None if mode == "nearest" else False
    activations, gradients = [], []
    for size in sizes:
        larger = image if size == own else functional.interpolate(image, size=size, mode="bicubic", align_corners=False)
        pair = kept(module, layer, larger, lambda y: y[0, target])
        large = [functional.interpolate(m, size=own, mode=mode, align_corners=corners) for m in pair]
        activations.append(large[0])
        gradients.append(large[1])
    product = torch.stack(activations).mean(dim=0) * torch.stack(gradients).mean(dim=0)
    return product.sum(dim=1).relu()


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
@pytest.mark.parametrize("layer", ["first", "two", "second"])
@pytest.mark.parametrize("style", ["module", "inplace"])
def test_is_the_authors_program(style, layer, upsampling, net, wrap, picture, run, close):
    module = net(style)
    model = wrap(module)
    image = picture(model)
    result = run(Cameras(layer=layer, scales=3, largest=1.75, upsampling=upsampling), model, image, 2)
    sizes = result.details["sizes"]
    assert len(sizes) == 3
    close(result.values, slow(module, layer, image, sizes, 2, upsampling))
    assert (result.layer, result.unit, result.signed) == (layer, "logit", False)
    assert result.provenance.passes == (3, 3)
    for size, score in zip(sizes, result.details["scores"], strict=True):
        seen = functional.interpolate(image, size=size, mode="bicubic", align_corners=False)
        wanted = float(module(image if size == (12, 14) else seen)[0, 2].detach())
        assert score == pytest.approx(wanted)
    assert result.score == result.details["scores"][0]


@pytest.mark.parametrize("style", ["functional", "reused", "method"])
def test_does_not_depend_on_how_the_relus_are_written(style, net, wrap, picture, run, close):
    maps = [run(Cameras(layer="two"), m, picture(m), 1).values for m in (wrap(net(style)), wrap(net("module")))]
    close(*maps)


def test_is_the_authors_program_on_the_bundled_network(lite0, run, close):
    """In float32, as loaded; 320 channels."""
    model, image, target = lite0
    result = run(Cameras(layer="blocks.6", scales=2, largest=1.25), model, image, target)
    assert result.details["sizes"] == ((224, 224), (256, 256))
    wanted = slow(model.module, "blocks.6", image, result.details["sizes"], target)
    close(result.values, wanted, 1e-3)
    stretched = (result.values - result.values.min()) / np.ptp(result.values)
    assert stretched.min() == 0
    assert stretched.max() == 1


def test_every_prefix_is_the_map_of_fewer_sizes(net, wrap, picture):
    module = net()
    model = wrap(module)
    image = picture(model)
    results = list(Cameras(layer="two").steps(model, image, model.target(1)))
    assert [r.progress for r in results] == [0.25, 0.5, 0.75, 1.0]
    for count, result in enumerate(results, 1):
        sizes = results[-1].details["sizes"][:count]
        assert result.details["sizes"] == sizes
        wanted = slow(module, "two", image, sizes, 1)
        np.testing.assert_allclose(result.values, wanted, rtol=0, atol=1e-6 * float(wanted.max()))
        assert result.values.min() >= 0


@pytest.mark.parametrize("layer", ["one", "two"])
def test_at_one_size_and_nearest_it_is_hirescam_enlarged(layer, net, wrap, picture, run):
    module = net()
    model = wrap(module)
    image = picture(model)
    activation, gradient = kept(module, layer, image, lambda y: y[0, 3])
    hires = (activation * gradient).sum(dim=1).relu()[0].numpy()
    wanted = np.kron(hires, np.ones((12 // hires.shape[0], 14 // hires.shape[1])))
    found = run(Cameras(layer=layer, scales=1, upsampling="nearest"), model, image, 3).values[0]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * wanted.max())
    cells = found.reshape(hires.shape[0], 12 // hires.shape[0], hires.shape[1], 14 // hires.shape[1])
    assert (cells == cells[:, :1, :, :1]).all()


def test_a_size_without_gradient_only_rescales_if_its_activation_is_the_mean():
    generator = torch.Generator().manual_seed(0)
    draw = lambda side: torch.randn((1, 5, side, side), generator=generator, dtype=torch.float64)
    pair = (draw(4), draw(4))
    alone = cameras.fused([pair], (8, 8), "bilinear")
    more = cameras.fused([pair, (pair[0], torch.zeros_like(pair[1]))], (8, 8), "bilinear")
    assert alone.max() > 0
    torch.testing.assert_close(more, alone / 2)
    none = cameras.fused(
        [pair, (torch.zeros(1, 5, 6, 6).double(), torch.zeros(1, 5, 6, 6).double())], (8, 8), "nearest"
    )
    torch.testing.assert_close(none, cameras.fused([pair], (8, 8), "nearest") / 4)


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
def test_channels_may_be_taken_in_any_portions(upsampling, monkeypatch):
    generator = torch.Generator().manual_seed(1)
    pairs = [
        tuple(torch.randn((1, 7, h, w), generator=generator, dtype=torch.float64) for _ in range(2))
        for h, w in ((3, 4), (5, 6), (7, 9))
    ]
    corners = None if upsampling == "nearest" else False
    means = [
        sum(functional.interpolate(m, size=(13, 17), mode=upsampling, align_corners=corners) for m in maps) / 3
        for maps in zip(*pairs, strict=True)
    ]
    wanted = (means[0] * means[1]).sum(dim=1, keepdim=True).relu()
    for at_once in (1, 3 * 13 * 17, 10**9):
        monkeypatch.setattr(cameras, "AT_ONCE", at_once)
        torch.testing.assert_close(cameras.fused(pairs, (13, 17), upsampling), wanted)


# -- sizes ----------------------------------------------------------------------------------------------------------


def test_the_default_sizes_of_the_bundled_network(lite0):
    model, _, _ = lite0
    sides = [size[0] for size in Cameras().sizes((224, 224), model.layer(""))]
    assert sides == [224, 288, 352, 448]


@pytest.mark.parametrize("own", [(224, 224), (12, 14), (48, 36)])
@pytest.mark.parametrize("scales", [1, 2, 4, 8])
@pytest.mark.parametrize("largest", [1.0, 1.25, 2.0, 4.5])
def test_sizes_grow_by_whole_positions_of_the_layer(largest, scales, own):
    layer = Layer("two", "Conv2d", (8, own[0] // 2, own[1] // 2), None, True, 0)  # one position for two pixels
    sizes = Cameras(scales=scales, largest=largest).sizes(own, layer)
    assert len(sizes) == scales
    assert sizes[0] == own
    for axis in (0, 1):
        sides = [size[axis] for size in sizes]
        assert all(b > a and (b - a) % 2 == 0 for a, b in pairwise(sides))
        assert sides[-1] <= max(own[axis] * largest, own[axis] + 2 * (scales - 1))
        assert sides[-1] > own[axis] * largest - 2 or scales == 1


class FixedHead(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.head = nn.Linear(4 * 12 * 14, 5)

    def forward(self, x):
        return self.head(self.conv(x).relu().flatten(1))


def test_a_network_of_one_size_is_refused(wrap, picture, run):
    model = wrap(FixedHead())
    with pytest.raises(NotApplicable, match=r"takes larger pictures, too.*These would work: .*grad_cam") as caught:
        run(Cameras(), model, picture(model))
    assert "cameras" not in caught.value.alternatives


class Picky(nn.Module):
    """Takes pictures of a multiple of 12 rows only."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        if x.shape[2] % 12:
            raise ValueError(f"{x.shape[2]} rows")
        return self.net(x)


def test_a_size_that_is_refused_on_the_way_is_named(net, wrap, picture):
    model = wrap(Picky(net()))
    results = Cameras(layer="net.two").steps(model, picture(model), model.target(0))
    assert next(results).details["sizes"] == ((12, 14),)
    with pytest.raises(NotApplicable, match=r"pictures of 16 × 18; Picky raised ValueError: 16 rows.*grad_cam"):
        next(results)
    assert list(Cameras(layer="net.two", scales=2).steps(model, picture(model), model.target(0)))[-1].progress == 1


def test_running_out_of_memory_is_not_called_a_refusal(net, wrap, picture, monkeypatch):
    model = wrap(net())
    plain = model.gradient

    def small(images, *given, **options):
        if images.shape[2] > 12:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return plain(images, *given, **options)

    monkeypatch.setattr(model, "gradient", small)
    with pytest.raises(RuntimeError, match="can't allocate"):
        list(Cameras().steps(model, picture(model), model.target(0)))


# -- answers that change with the size ------------------------------------------------------------------------------


class Changing(nn.Module):
    """Class 1 wins on large pictures."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        scores = self.net(x)
        return (
            scores
            + torch.tensor([0.0, 1000.0, 0, 0, 0], dtype=x.dtype) * float(x.shape[2] > 20)
            + (torch.tensor([1000.0, 0, 0, 0, 0], dtype=x.dtype) * float(x.shape[2] <= 20))
        )


def test_sizes_at_which_another_class_wins_can_be_left_out(net, wrap, picture, run, close):
    module = Changing(net())
    model = wrap(module)
    image = picture(model)
    result = run(Cameras(layer="net.two", agreeing=True), model, image, 2)
    assert result.details["sizes"] == ((12, 14), (16, 18), (20, 22), (24, 28))
    assert result.details["used"] == (True, True, True, False)
    close(result.values, slow(module, "net.two", image, result.details["sizes"][:3], 2))
    assert result.notes == ("1 of 4 sizes left out: another class comes first there.",)
    every = run(Cameras(layer="net.two"), model, image, 2)
    close(every.values, slow(module, "net.two", image, result.details["sizes"], 2))
    assert every.notes == ()
    assert all(every.details["used"])


# -- hidden units ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", ["mean", "max", "center"])
def test_a_hidden_unit_is_explained_by_the_stage_before_it(position, net, wrap, picture, run, close):
    module = net()
    model = wrap(module)
    image = picture(model)
    result = run(Cameras(), model, image, Target.hidden("two", 3, position))
    assert (result.layer, result.unit) == ("first", "activation")

    def hidden(first):
        unit = module.two(functional.max_pool2d(first, 2))[0, 3]
        center = unit[unit.shape[0] // 2, unit.shape[1] // 2]
        return {"mean": unit.mean(), "max": unit.max(), "center": center}[position]

    maps = []
    for size in result.details["sizes"]:
        larger = functional.interpolate(image, size=size, mode="bicubic") if size != (12, 14) else image
        first = module.first(module.one(larger)).detach().requires_grad_()
        pair = first.detach(), torch.autograd.grad(hidden(first), first)[0]
        maps.append([functional.interpolate(m, size=(12, 14), mode="bilinear") for m in pair])
    means = [sum(kind) / len(maps) for kind in zip(*maps, strict=True)]
    close(result.values, (means[0] * means[1]).sum(dim=1).relu())


def test_a_position_moves_with_the_size():
    at = lambda place, factor: cameras.moved_target(Target(layer="x", position=place), (4, 7, 8), factor).position
    assert at((0, 0), (2.0, 2.0)) == (1, 1)
    assert at((6, 7), (2.0, 2.0)) == (-2, -2)
    assert at((3, 4), (1.0, 1.0)) == (3, -4)
    assert at((1, 2), (1.5, 3.0)) == (2, 7)
    for word in ("mean", "max", "center"):
        assert at(word, (2.0, 2.0)) == word
    for factor in np.linspace(1, 4.5, 50):
        rows = int(7 * factor)  # as few as there may be
        places = [at((r, 0), (factor, factor))[0] for r in range(7)]
        found = [p % rows for p in places]
        assert all(-rows <= p < rows for p in places)
        assert found == sorted(found)
        assert all(abs((p + 0.5) / rows - (r + 0.5) / 7) < 1.5 / rows for r, p in enumerate(found))


def test_one_position_of_a_hidden_layer(net, wrap, picture, run):
    """The map lies where the position looks, at every size."""
    model = wrap(net())
    image = picture(model)
    corner = run(Cameras(layer="first"), model, image, Target.hidden("two", 3, (0, 6)))
    assert corner.values.any()
    rows, columns = np.nonzero(corner.values[0])
    assert rows.max() <= 6
    assert columns.min() >= 7


# -- bad input ------------------------------------------------------------------------------------------------------


def test_bad_input_is_named(net, wrap, picture, run):
    model = wrap(net())
    with pytest.raises(InvalidLayer, match=r"layer must be one of.*'secnod'.*Did you mean second"):
        run(Cameras(layer="secnod"), model, picture(model))
    with pytest.raises(NotApplicable, match=r"a layer before the explained unit \(one\); second comes after it"):
        run(Cameras(layer="second"), model, picture(model), Target.hidden("one", 0))
    for name, value in (("scales", 0), ("scales", 9), ("largest", 0.5), ("agreeing", 1), ("upsampling", "area")):
        with pytest.raises(InvalidKnob, match=rf"^{name} must be"):
            Cameras(**{name: value})


def test_a_net_without_maps_is_refused(wrap):
    module = nn.Sequential(nn.Flatten(), nn.Linear(30, 4), nn.ReLU(), nn.Linear(4, 2))
    model = xw.Model(module, size=(5, 6), mean=(0.5,), std=(0.5,))
    with pytest.raises(NotApplicable, match="cameras needs a layer that gives a spatial map"):
        xw.explain(model, np.zeros((20, 24, 3), np.uint8), "cameras", target=0)


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
def test_channels_first_and_positions_first_give_the_same_map(upsampling, monkeypatch):
    generator = torch.Generator().manual_seed(4)

    def maps(*shape):
        return torch.randn((1, 6, *shape), generator=generator, dtype=torch.float64)

    pairs = [(maps(*shape), maps(*shape)) for shape in ((3, 4), (4, 5), (7, 9))]
    few = cameras.fused(pairs, (30, 41), upsampling)
    monkeypatch.setattr(cameras, "AT_ONCE", 1)
    torch.testing.assert_close(cameras.fused(pairs, (30, 41), upsampling), few, rtol=1e-12, atol=1e-12)
    monkeypatch.setattr(cameras, "AT_ONCE", 400)  # few positions with two of the sizes, many with all three
    growing = cameras.Fusion((30, 41), upsampling)
    for number, pair in enumerate(pairs, 1):
        growing.add(pair)
        torch.testing.assert_close(growing.map(), cameras.fused(pairs[:number], (30, 41), upsampling))
        assert (growing.total is None) == (number == 3)
    torch.testing.assert_close(growing.map(), few, rtol=1e-12, atol=1e-12)
    enlarge = {"mode": upsampling, **({"align_corners": False} if upsampling == "bilinear" else {})}
    one, other = (
        sum(functional.interpolate(kind, size=(30, 41), **enlarge) for kind in kinds) / 3
        for kinds in zip(*pairs, strict=True)
    )
    torch.testing.assert_close(few, (one * other).sum(dim=1, keepdim=True).clamp_min(0), rtol=1e-12, atol=1e-12)
    assert few.max() > 0
