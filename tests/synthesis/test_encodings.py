from __future__ import annotations

import numpy as np
import pytest
import torch

from xaiwidgets.synthesis.encodings import ETA, FUNCTIONS, NODES, Direct, Painter, activate, polynomial


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def test_each_node_has_its_own_function():
    sums = torch.tensor([[[-1.5, 0.3]] * 4])
    found = activate(sums, torch.arange(4).reshape(1, 4, 1))[0]
    z = np.array([-1.5, 0.3])
    wanted = {"sine": np.sin(z), "sigmoid": 1 / (1 + np.exp(-z)), "Gaussian": np.exp(-(z**2)), "linear": z}
    for row, name in zip(found, FUNCTIONS, strict=True):
        np.testing.assert_allclose(row, wanted[name], rtol=1e-5)


def test_a_painting_is_the_network_written_out():
    painter = Painter((3, 5, 7))
    genes = painter.draw(2, source())
    pictures = painter.render(genes)
    apply = (np.sin, lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-(z**2)), lambda z: z)
    for number, row, column in ((0, 0, 0), (1, 4, 2), (1, 2, 6)):
        own = genes[number].double().numpy()
        x, y = -1 + 2 * column / 6, -1 + 2 * row / 4
        values, begin = np.array([x, y, np.hypot(x, y), 1.0]), 0
        for layer, (size, width) in enumerate(((NODES, 4), (NODES, NODES), (3, NODES))):
            values = own[begin : begin + size * width].reshape(size, width) @ values
            begin += size * width
            if layer < 2:
                codes = own[painter.weights + layer * NODES :][:NODES].astype(int)
                values = np.array([apply[code](z) for code, z in zip(codes, values, strict=True)])
        wanted = np.round(255 / (1 + np.exp(-values)))
        np.testing.assert_allclose(pictures[number, :, row, column], wanted, atol=1)
    assert pictures.shape == (2, 3, 5, 7) and torch.equal(pictures, pictures.round())
    assert pictures.min() >= 0 and pictures.max() <= 255


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_weights_and_functions_change_as_often_as_is_said(rate):
    painter = Painter((1, 4, 4))
    genes = painter.draw(400, source())
    changed = painter.mutate(genes, source(1), rate, 0.6, 0)
    weights = (changed - genes)[:, : painter.weights]
    assert float((weights != 0).float().mean()) == pytest.approx(rate, rel=0.05)
    assert float(weights[weights != 0].std()) == pytest.approx(0.6, rel=0.05)
    switched = (changed != genes)[:, painter.weights :]
    assert float(switched.float().mean()) == pytest.approx(0.05 * 3 / 4, rel=0.2), "a fourth draw the same one again"
    assert set(changed[:, painter.weights :].unique().tolist()) == {0, 1, 2, 3}


def test_polynomial_mutation_has_the_spread_of_its_formula():
    drawn = polynomial(torch.rand(200_000, generator=source()))
    assert float(drawn.abs().mean()) == pytest.approx(1 / (ETA + 2), rel=0.02)
    assert abs(float(drawn.mean())) < 1e-3 and drawn.abs().max() <= 1
    assert polynomial(torch.tensor([0.0, 0.5])).tolist() == [-1, 0]


def test_values_of_the_direct_encoding_stay_gray_levels_and_change_half_as_often_later():
    direct = Direct((3, 20, 20))
    genes = direct.draw(20, source())
    assert genes.dtype == torch.uint8 and direct.render(genes).shape == (20, 3, 20, 20)
    assert torch.equal(direct.render(genes).reshape(20, -1), genes.float())
    shares = [
        float((direct.mutate(genes, source(1), 0.2, 1.0, generation) != genes).float().mean())
        for generation in (0, 999, 1000, 2000)
    ]
    assert shares[0] == shares[1] == pytest.approx(0.2, rel=0.1)
    assert shares[2] == pytest.approx(shares[0] / 2, rel=0.1) and shares[3] == pytest.approx(shares[0] / 4, rel=0.1)
