"""The formulas of the family, each against loops over channels and places, and what holds for them exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from xaiwidgets.explainers.cam import maps
from xaiwidgets.explainers.cam.weighting import grad_cam_map


def drawn(*shape, seed=0, low=-1.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64) * (1 - low) + low


def places(a):
    return [(i, j) for i in range(a.shape[1]) for j in range(a.shape[2])]


def by_channel(a, weight):
    out = np.zeros(a.shape[1:])
    for k in range(len(a)):
        for i, j in places(a):
            out[i, j] += weight(k) * a[k, i, j]
    return out


def slow_grad_cam(a, g):
    return by_channel(a, lambda k: sum(g[k, i, j] for i, j in places(a)) / len(places(a)))


def slow_xgrad_cam(a, g):
    return by_channel(a, lambda k: sum(g[k, i, j] * a[k, i, j] for i, j in places(a)) / sum(map(sum, a[k])))


def slow_grad_cam_pp(a, g):
    def weight(k):
        total, found = sum(map(sum, a[k])), 0.0
        for i, j in places(a):
            if g[k, i, j] > 0:
                found += g[k, i, j] ** 2 / (2 * g[k, i, j] ** 2 + total * g[k, i, j] ** 3) * g[k, i, j]
        return found

    return by_channel(a, weight)


def slow_layer_cam(a, g):
    out = np.zeros(a.shape[1:])
    for k in range(len(a)):
        for i, j in places(a):
            out[i, j] += max(g[k, i, j], 0) * a[k, i, j]
    return out


def slow_hirescam(a, g):
    out = np.zeros(a.shape[1:])
    for k in range(len(a)):
        for i, j in places(a):
            out[i, j] += g[k, i, j] * a[k, i, j]
    return out


SLOW = {
    "grad_cam": slow_grad_cam,
    "xgrad_cam": slow_xgrad_cam,
    "grad_cam_pp": slow_grad_cam_pp,
    "layer_cam": slow_layer_cam,
    "hirescam": slow_hirescam,
}
every_member = pytest.mark.parametrize("name", SLOW)


def test_the_members_of_a_fused_map_are_these():
    assert set(maps.MEMBERS) == set(SLOW)


@every_member
@pytest.mark.parametrize("low", [0.0, -0.4], ids=["not negative", "signed"])
@pytest.mark.parametrize("relu", [True, False])
def test_is_its_definition_place_by_place(name, low, relu):
    activation, gradient = drawn(3, 4, 3, 5, low=low), drawn(3, 4, 3, 5, seed=1)
    found = maps.MEMBERS[name](activation, gradient, relu=relu)
    assert found.shape == (3, 1, 3, 5)
    assert found.dtype == torch.float64
    for number in range(3):  # each picture of a batch by itself
        wanted = SLOW[name](activation[number].numpy(), gradient[number].numpy())
        wanted = np.maximum(wanted, 0) if relu else wanted
        assert wanted.any() or relu
        np.testing.assert_allclose(found[number, 0], wanted, rtol=1e-12, atol=1e-14)


@every_member
def test_keeps_the_number_type_and_an_empty_gradient_empty(name):
    activation = drawn(2, 4, 3, 5).float()
    found = maps.MEMBERS[name](activation, torch.zeros_like(activation), relu=False)
    assert found.dtype == torch.float32
    assert not found.any()
    found = maps.MEMBERS[name](torch.zeros_like(activation), activation, relu=False)
    assert not found.any()


@pytest.mark.parametrize("name", ["grad_cam", "xgrad_cam", "layer_cam", "hirescam"])
def test_scales_with_the_score(name):
    activation, gradient = drawn(1, 4, 3, 5), drawn(1, 4, 3, 5, seed=1)
    one, other = (maps.MEMBERS[name](activation, factor * gradient, relu=False) for factor in (1, 7))
    torch.testing.assert_close(other, 7 * one)


def test_xgrad_cam_sums_to_gradient_times_activation():
    activation, gradient = drawn(2, 4, 3, 5, low=0.0), drawn(2, 4, 3, 5, seed=1)
    found = maps.xgrad_cam_map(activation, gradient, relu=False).sum(dim=(1, 2, 3))
    torch.testing.assert_close(found, (activation * gradient).sum(dim=(1, 2, 3)))


def test_xgrad_cam_leaves_out_a_channel_that_sums_to_zero():
    activation, gradient = drawn(1, 3, 2, 2, low=0.0), drawn(1, 3, 2, 2, seed=1)
    activation[0, 1] = torch.tensor([[0.1, 0.2], [-0.3, 0.0]], dtype=torch.float64)
    assert activation[0, 1].sum() != 0, "but for rounding"
    found = maps.xgrad_cam_map(activation, gradient, relu=False)
    torch.testing.assert_close(found, maps.xgrad_cam_map(activation[:, ::2], gradient[:, ::2], relu=False))


def test_layer_cam_is_hirescam_where_no_gradient_is_negative():
    activation, gradient = drawn(2, 4, 3, 5), drawn(2, 4, 3, 5, seed=1, low=0.0)
    assert torch.equal(maps.layer_cam_map(activation, gradient), maps.hirescam_map(activation, gradient))


def test_all_are_grad_cam_where_a_channel_has_one_gradient():
    activation, gradient = drawn(1, 4, 3, 5, low=0.0), drawn(1, 4, 1, 1, seed=1).expand(1, 4, 3, 5)
    wanted = grad_cam_map(activation, gradient, relu=False)
    for name in ("xgrad_cam", "hirescam"):
        torch.testing.assert_close(maps.MEMBERS[name](activation, gradient, relu=False), wanted)
    slope = gradient[:, :, :1, :1].clamp_min(0)
    weights = 15 * slope / (2 + slope * activation.sum(dim=(2, 3), keepdim=True))
    torch.testing.assert_close(
        maps.grad_cam_pp_map(activation, gradient), (weights * activation).sum(dim=1, keepdim=True)
    )


# -- Grad-CAM++ ----------------------------------------------------------------------------------------------------


def test_grad_cam_pp_is_not_negative_where_activations_are_not():
    activation, gradient = drawn(2, 4, 3, 5, low=0.0), drawn(2, 4, 3, 5, seed=1)
    assert torch.equal(
        maps.grad_cam_pp_map(activation, gradient, relu=False), maps.grad_cam_pp_map(activation, gradient)
    )
    assert float(maps.grad_cam_pp_map(activation, gradient).min()) > 0


def test_grad_cam_pp_changes_its_shape_with_the_scale_of_the_score():
    activation, gradient = drawn(1, 4, 3, 5, low=0.0), drawn(1, 4, 3, 5, seed=1)
    one, other = (maps.grad_cam_pp_map(activation, factor * gradient) for factor in (0.01, 20))
    assert float((one / one.max() - other / other.max()).abs().max()) > 0.04


def test_grad_cam_pp_gives_two_equal_objects_of_unequal_size_comparable_peaks():
    """Two channels, one for each object, as in the paper's figure 2: Grad-CAM favors the larger one."""
    activation = torch.zeros(1, 2, 8, 8, dtype=torch.float64)
    activation[0, 0, :4, :8], activation[0, 1, 7, 7] = 1, 1
    gradient = 0.3 * (activation > 0)
    peaks = {n: maps.MEMBERS[n](activation, gradient)[0, 0] for n in ("grad_cam", "grad_cam_pp")}
    assert float(peaks["grad_cam"][0, 0] / peaks["grad_cam"][7, 7]) == pytest.approx(32)
    assert float(peaks["grad_cam_pp"][0, 0] / peaks["grad_cam_pp"][7, 7]) < 32 / 5


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e-6, 1.0])
def test_tiny_gradients_do_not_underflow(scale):
    activation = drawn(1, 4, 3, 5, low=0.0).float()
    gradient = (scale * drawn(1, 4, 3, 5, seed=1)).float()
    found = maps.grad_cam_pp_map(activation, gradient)
    wanted = slow_grad_cam_pp(activation[0].double().numpy(), gradient[0].double().numpy())
    np.testing.assert_allclose(found[0, 0], wanted, rtol=1e-5)


def test_a_denominator_that_cancels_gives_no_weight():
    """2 g² + Σ A · g³ is zero for g = 1 and a sum of -2, which a layer without a ReLU may have."""
    activation = torch.tensor([[[[-3.0, 1.0]]]], dtype=torch.float64)
    gradient = torch.ones_like(activation)
    assert not maps.grad_cam_pp_map(activation, gradient, relu=False).any()
    found = maps.grad_cam_pp_map(activation, 0.5 * gradient, relu=False)
    torch.testing.assert_close(found, activation * 2 * 0.5 / (2 - 2 * 0.5))


def test_the_first_derivative_may_stand_on_top():
    activation, first = drawn(1, 2, 2, 3, low=0.0), drawn(1, 2, 2, 3, seed=1)
    second, third = drawn(1, 2, 2, 3, seed=2, low=0.0), drawn(1, 2, 2, 3, seed=3)
    for by, top in (("d2", second), ("paper", first)):
        wanted = np.zeros((2, 1, 1))
        for k in range(2):
            for i, j in places(activation[0]):
                below = 2 * second[0, k, i, j] + activation[0, k].sum() * third[0, k, i, j]
                wanted[k] += float(top[0, k, i, j] / below * max(first[0, k, i, j], 0))
        np.testing.assert_allclose(maps.curvature_weights(activation, first, second, third, by)[0], wanted)


# -- Eigen-CAM -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("shape", [(4, 3, 5), (40, 3, 5), (15, 3, 5), (1, 3, 5)], ids=str)
def test_eigen_cam_is_the_first_singular_vectors_map(shape, center):
    activation = drawn(2, *shape)
    found = maps.eigen_cam_map(activation, center=center, relu=False)
    for number in range(2):
        table = activation[number].reshape(shape[0], -1).T.numpy()
        table = table - table.mean(axis=0) if center else table
        axis = np.linalg.svd(table)[2][0]
        wanted = (table @ axis).reshape(shape[1:])
        wanted = -wanted if abs(wanted.min()) > abs(wanted.max()) else wanted
        np.testing.assert_allclose(found[number, 0], wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())
        assert wanted.max() >= -wanted.min()
    assert torch.equal(maps.eigen_cam_map(activation, center=center), found.clamp_min(0))


def test_a_map_of_rank_one_is_recovered_up_to_its_scale():
    shape, channels = drawn(1, 1, 4, 6, low=0.0), drawn(1, 9, 1, 1, seed=1)
    found = maps.eigen_cam_map(channels * shape, center=False)
    torch.testing.assert_close(found, shape * channels.square().sum().sqrt())
    found = maps.eigen_cam_map(channels * shape, relu=False)
    centered = shape - shape.mean()
    sign = 1 if centered.max() >= -centered.min() else -1
    torch.testing.assert_close(found, sign * centered * channels.square().sum().sqrt())


def test_without_centering_activations_that_are_not_negative_give_no_negative_place():
    found = maps.eigen_cam_map(drawn(3, 20, 3, 5, low=0.0), center=False, relu=False)
    assert float(found.min()) >= 0


def test_the_order_and_the_sign_of_channels_play_no_part():
    activation = drawn(1, 12, 3, 5)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    wanted = maps.eigen_cam_map(activation, relu=False)
    torch.testing.assert_close(maps.eigen_cam_map(activation[:, order], relu=False), wanted)
    torch.testing.assert_close(maps.eigen_cam_map(-activation, relu=False), wanted)


def test_activations_without_axes():
    assert not maps.eigen_cam_map(torch.zeros(1, 4, 3, 5)).any()
    alike = drawn(2, 6, 1, 1).expand(2, 6, 3, 5) * (1 + 1e-16 * drawn(2, 1, 3, 5, seed=1))
    for same in (alike, alike.float()):
        assert not maps.eigen_cam_map(same, relu=False).any()
        assert (maps.eigen_cam_map(same, center=False, relu=False) > 0).all()
    assert maps.eigen_cam_map(torch.full((1, 4, 3, 5), float("nan"))).isnan().all()


# -- fused maps ----------------------------------------------------------------------------------------------------


def slow_fused(found, size, combine, scaling, gamma):
    large = []
    for number, one in enumerate(found):
        top = one.max()
        scaled = one if scaling == "none" or top == 0 else one / top
        scaled = np.tanh(gamma * scaled) if scaling == "tanh" and number < len(found) - 1 else scaled
        large.append(functional.interpolate(torch.tensor(scaled)[None, None], size=size, mode="bilinear")[0, 0].numpy())
    return np.maximum.reduce(large) if combine == "max" else sum(large) / len(large)


@pytest.mark.parametrize("scaling", ["none", "largest", "tanh"])
@pytest.mark.parametrize("combine", ["max", "mean"])
def test_a_fused_map_is_its_definition_for_each_picture(combine, scaling):
    found = [drawn(3, 1, *side, seed=n, low=0.0) * 10.0**-n for n, side in enumerate([(6, 8), (3, 4), (2, 2)])]
    found[1][2] = 0  # an empty map stays empty
    fused = maps.fused_map(found, (12, 16), combine=combine, scaling=scaling, gamma=1.7)
    assert fused.shape == (3, 1, 12, 16)
    for number in range(3):
        wanted = slow_fused([one[number, 0].numpy() for one in found], (12, 16), combine, scaling, 1.7)
        np.testing.assert_allclose(fused[number, 0], wanted, rtol=1e-12)
    if scaling != "none":
        assert float(fused.max()) <= 1


def test_nothing_fused_with_nothing_is_nothing():
    for scaling in ("none", "largest", "tanh"):
        assert not maps.fused_map([torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 1)], (4, 4), scaling=scaling).any()


def test_the_largest_is_what_one_map_says_and_the_mean_what_all_say():
    one, other = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    one[..., 0, 0] = other[..., 1, 1] = 4.0
    assert maps.fused_map([one, other], (2, 2), combine="max", scaling="largest").sum() == 2
    assert maps.fused_map([one, other], (2, 2), combine="mean", scaling="largest").sum() == 1
