"""Where cells stand: every method, target and layer once, and titles that say which."""

from __future__ import annotations

from itertools import product

import pytest

from xaiwidgets.engine.arrange import ACROSS, Cell, arranged, headings

NAMES = (["M0", "M1", "M2"], ["T0", "T1"], ["L0", "L1"])


@pytest.mark.parametrize("across", ACROSS)
@pytest.mark.parametrize("counts", [(1, 1, 1), (3, 2, 1), (3, 2, 2), (1, 4, 3)])
def test_every_combination_stands_once_in_a_full_rectangle(across, counts):
    found = arranged(across, counts)
    assert sorted(found.values()) == [Cell(*at) for at in product(*map(range, counts))]
    columns = counts[ACROSS.index(across)]
    rows = counts[0] * counts[1] * counts[2] // columns
    assert list(found) == list(product(range(rows), range(columns)))


@pytest.mark.parametrize("across", ACROSS)
def test_titles_belong_to_their_cells(across):
    columns, rows = headings(across, NAMES)
    for (row, column), cell in arranged(across, (3, 2, 2)).items():
        words = f"{columns[column]} {rows[row]}"
        names = [NAMES[0][cell.method], NAMES[1][cell.target], NAMES[2][cell.layer]]
        assert all(name in words for name in names)


def test_without_layers_nothing_is_said_of_them():
    assert headings("methods", (["M"], ["T"], [])) == (["M"], ["T"])
    assert headings("classes", (["M"], ["T"], [])) == (["T"], ["M"])
    assert headings("layers", (["M"], ["T"], [])) == (["layer of the method's choice"], ["M for T"])
