"""Painting networks that grow: what they paint, what may become of them, and how often."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xaiwidgets.synthesis import growing
from xaiwidgets.synthesis.encodings import FUNCTIONS, INPUTS
from xaiwidgets.synthesis.growing import EMPTY, ROOM, Growing

APPLY = (np.sin, lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-(z**2)), lambda z: z)


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def parts(maker, genes):
    """Return the weights ``(given, taken)`` and the functions of one network."""
    return genes[: maker.weights].reshape(maker.given, maker.taken).numpy(), genes[maker.weights :].numpy()


def grown(maker, count=30, generations=40):
    genes, random = maker.draw(count, source()), source(1)
    for generation in range(generations):
        genes = maker.mutate(genes, random, 0.15, 0.6, generation)
    return genes


def test_it_begins_without_hidden_nodes():
    maker = Growing((3, 5, 7))
    genes = maker.draw(4, source())
    assert genes.shape == (4, maker.genes)
    assert maker.told(genes[0]) == {"nodes": 0.0, "connections": 3.0 * INPUTS}


def test_a_painting_is_the_network_written_out():
    maker = Growing((3, 5, 7))
    genes = grown(maker, 6)
    pictures = maker.render(genes)
    assert max(maker.told(one)["nodes"] for one in genes) > 4
    for number, one in enumerate(genes):
        table, codes = parts(maker, one)
        for row, column in ((0, 0), (4, 2), (2, 6)):
            x, y = -1 + 2 * column / 6, -1 + 2 * row / 4
            values = np.zeros(INPUTS + ROOM)
            values[:INPUTS] = x, y, np.hypot(x, y), 1.0
            for node in range(ROOM):
                if codes[node] != EMPTY:
                    values[INPUTS + node] = APPLY[int(codes[node])](table[node].astype(float) @ values)
            wanted = np.round(255 / (1 + np.exp(-(table[ROOM:].astype(float) @ values))))
            np.testing.assert_allclose(pictures[number, :, row, column], wanted, atol=1)
    assert pictures.shape == (6, 3, 5, 7)
    assert torch.equal(pictures, pictures.round().clamp(0, 255))


def test_no_structure_goes_in_circles_or_hangs_on_nodes_that_are_not_there():
    maker = Growing((2, 4, 4))
    genes = grown(maker, 40, 120)
    for one in genes:
        table, codes = parts(maker, one)
        to, source_of = np.nonzero(table)
        hidden = source_of[(source_of >= INPUTS)] - INPUTS
        assert (codes[hidden] != EMPTY).all()
        assert (codes[to[to < ROOM]] != EMPTY).all()
        inner = (to < ROOM) & (source_of >= INPUTS)
        assert (source_of[inner] - INPUTS < to[inner]).all()
        assert table[ROOM:].any()
        assert set(codes.tolist()) <= {EMPTY, *map(float, range(len(FUNCTIONS)))}
    sizes = [maker.told(one)["nodes"] for one in genes]
    assert 3 < np.mean(sizes) < ROOM
    assert max(sizes) <= ROOM


def only(monkeypatch, **rates):
    """Let no other structural change happen than these."""
    for name in ("ADD_CONNECTION", "DROP_CONNECTION", "MOVE_CONNECTION", "ADD_NODE", "DROP_NODE", "SWITCHED"):
        monkeypatch.setattr(growing, name, rates.get(name, 0.0))


def test_a_new_node_of_the_linear_function_changes_no_picture(monkeypatch):
    maker = Growing((3, 6, 6))
    genes = grown(maker, 20, 10)
    only(monkeypatch, ADD_NODE=1.0)
    monkeypatch.setattr(growing, "FUNCTIONS", ("linear",))
    changed = maker.mutate(genes, source(3), 0.0, 1.0, 0)
    changed[:, maker.weights :] = torch.where(
        (changed[:, maker.weights :] == 0) & (genes[:, maker.weights :] == EMPTY), 3.0, changed[:, maker.weights :]
    )
    for one, other in zip(genes, changed, strict=True):
        assert maker.told(other)["nodes"] == maker.told(one)["nodes"] + 1
        assert maker.told(other)["connections"] == maker.told(one)["connections"] + 1
    assert float((maker.render(genes) - maker.render(changed)).abs().max()) <= 1


@pytest.mark.parametrize(
    "name, nodes, connections",
    [("ADD_CONNECTION", 0, 1), ("DROP_CONNECTION", 0, -1), ("MOVE_CONNECTION", 0, 0), ("ADD_NODE", 1, 1)],
)
def test_each_change_is_as_often_as_is_said(monkeypatch, name, nodes, connections):
    maker, rate = Growing((3, 4, 4)), getattr(growing, name)
    genes = grown(maker, 400, 5)
    only(monkeypatch, **{name: rate})
    changed = maker.mutate(genes, source(7), 0.0, 1.0, 0)
    moved = (changed != genes).any(dim=1)
    assert float(moved.float().mean()) == pytest.approx(rate, abs=0.07)
    for one, other in zip(genes[moved], changed[moved], strict=True):
        before, after = maker.told(one), maker.told(other)
        assert (after["nodes"] - before["nodes"], after["connections"] - before["connections"]) == (nodes, connections)


def test_a_node_that_goes_takes_its_connections_with_it(monkeypatch):
    maker = Growing((3, 4, 4))
    genes = grown(maker, 100, 30)
    only(monkeypatch, DROP_NODE=1.0)
    changed = maker.mutate(genes, source(7), 0.0, 1.0, 0)
    fewer = [maker.told(a)["nodes"] - maker.told(b)["nodes"] for a, b in zip(genes, changed, strict=True)]
    assert np.mean(fewer) > 0.9
    for one in changed:
        table, codes = parts(maker, one)
        gone = np.flatnonzero(codes == EMPTY)
        assert not table[gone].any()
        assert not table[:, INPUTS + gone].any()


def test_a_full_network_and_a_bare_one_can_be_changed():
    maker = Growing((1, 3, 3))
    full = torch.zeros(8, maker.genes)
    full[:, : maker.weights] = torch.from_numpy(maker._open).float().flatten()
    bare = torch.cat([torch.zeros(8, maker.weights), torch.full((8, ROOM), EMPTY)], dim=1)
    bare[:, ROOM * maker.taken] = 1.0  # the one color comes from the column only
    random = source()
    for _ in range(20):
        full, bare = (maker.mutate(genes, random, 0.2, 0.5, 0) for genes in (full, bare))
        for genes in (full, bare):
            assert torch.isfinite(maker.render(genes)).all()
            assert genes[:, : maker.weights].reshape(8, maker.given, -1)[:, ROOM:].ne(0).any(dim=2).all()


def test_genes_that_are_given_stay_as_they_are_and_the_same_source_gives_the_same():
    maker = Growing((3, 4, 4))
    genes = grown(maker, 10)
    kept = genes.clone()
    one, other = (maker.mutate(genes, source(5), 0.3, 0.6, 0) for _ in range(2))
    assert torch.equal(genes, kept)
    assert torch.equal(one, other)
