"""Tables of words, for a shell and for a notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def text(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines of aligned columns; the first is the head, and the last column is as long as it is."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = ["  ".join((*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1])) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def html(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a table of HTML; the first is the head, and no cell is markup."""
    head, *rest = rows
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rest)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
