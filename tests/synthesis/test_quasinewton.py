from __future__ import annotations

import pytest
import torch

from xaiwidgets.synthesis.quasinewton import curved, descent, free, shorter


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_direction_is_that_of_the_matrix_written_out():
    hessian = drawn(6, 6)
    hessian = hessian @ hessian.T + torch.eye(6)
    changes = [drawn(6, seed=s) for s in (1, 2, 3)]
    pairs = [(s, hessian @ s) for s in changes]
    s, y = pairs[-1]
    inverse = torch.eye(6, dtype=torch.float64) * (s @ y) / (y @ y)
    for s, y in pairs:
        turn = torch.eye(6, dtype=torch.float64) - torch.outer(s, y) / (s @ y)
        inverse = turn @ inverse @ turn.T + torch.outer(s, s) / (s @ y)
    slope = drawn(6, seed=9)
    found = descent(slope, torch.ones(6, dtype=torch.bool), pairs)
    torch.testing.assert_close(found, -inverse @ slope)


def test_values_at_an_end_of_the_box_stay_if_the_slope_leads_out():
    point, slope = torch.tensor([0.0, 0.0, 3.0, 9.0, 9.0]), torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0])
    among = free(point, slope, 0, 9)
    assert among.tolist() == [False, True, True, True, False]
    pairs = [(torch.ones(5), 2 * torch.ones(5))]
    assert descent(slope, among, pairs).tolist() == [0, 0.5, -0.5, -0.5, 0]
    assert descent(slope, among, []).tolist() == [0, 1, -1, -1, 0]


def test_pairs_without_curvature_are_left_out():
    change = torch.tensor([1.0, 0.0])
    assert curved(change, change) and not curved(change, -change) and not curved(change, torch.tensor([0.0, 1.0]))
    slope, among = torch.tensor([3.0, 4.0]), torch.ones(2, dtype=torch.bool)
    assert descent(slope, among, [(change, -change)]).tolist() == [-3, -4]


def test_a_shorter_length_is_the_bottom_of_the_parabola():
    def value(length):
        return (length - 3) ** 2

    assert shorter(8.0, -6.0, value(0), value(8)) == pytest.approx(3)
    assert shorter(100.0, -6.0, value(0), value(100)) == pytest.approx(10), "not under a tenth"
    assert shorter(5.0, -6.0, value(0), value(5)) == pytest.approx(2.5), "not over a half"
    assert shorter(8.0, -6.0, 9.0, float("inf")) == pytest.approx(0.8)
