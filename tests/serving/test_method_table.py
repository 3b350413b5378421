"""The README's table of methods is the registry's."""

from __future__ import annotations

from pathlib import Path

import pytest

from xaiwidgets.core.cards import cards
from xaiwidgets.serving.method_table import END, START, insert, paper_url, table

README = Path(__file__).parents[2] / "README.md"


def test_readme_is_not_stale():
    text = README.read_text("utf-8")
    assert insert(text) == text, "run: python -m xaiwidgets.serving.method_table --write"


def test_every_method_has_a_row():
    rows = table().splitlines()[2:]
    assert len(rows) == len(cards())
    for of, row in zip(cards(), rows, strict=True):
        assert f"`{of.id}`" in row
        assert paper_url(of.paper) in row


def test_insert_keeps_what_stands_around():
    text = insert(f"before\n{START}\nstale row\n{END}\nafter\n")
    assert text.startswith(f"before\n{START}\n| Family")
    assert text.endswith(f"\n{END}\nafter\n")
    assert "stale row" not in text
    with pytest.raises(ValueError, match="must hold"):
        insert("no markers")


@pytest.mark.parametrize(
    ("paper", "url"),
    [
        ("arXiv:1610.02391", "https://arxiv.org/abs/1610.02391"),
        ("doi:10.1000/182", "https://doi.org/10.1000/182"),
        ("10.1000/182", "https://doi.org/10.1000/182"),
        ('"On maps"', "https://scholar.google.com/scholar?q=%22On%20maps%22"),
    ],
)
def test_papers_link_to_where_they_are(paper, url):
    assert paper_url(paper) == url
