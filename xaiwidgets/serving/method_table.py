"""The README's table of methods, made from the cards: ``python -m xaiwidgets.serving.method_table --write``.

In a checkout only; ``--check`` says whether it is stale.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import quote

from xaiwidgets.core.cards import FAMILIES, cards

#: In the checkout that it is run from; the README is no part of the installed package.
README = Path("README.md")
START, END = "<!-- methods -->", "<!-- /methods -->"


def table() -> str:
    """Return the table in Markdown, one row a method, by family."""
    lines = ["| Family | Method | id | What it does | Source |", "|---|---|---|---|---|"]
    for of in cards():
        cells = (FAMILIES[of.family], of.title, f"`{of.id}`", of.idea, f"[{of.cite}]({paper_url(of.paper)})")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def paper_url(paper: str) -> str:
    """Return the address of an arXiv id (``arXiv:1610.02391``) or a DOI, or of a search for a title in quotes."""
    if paper.startswith('"'):
        return f"https://scholar.google.com/scholar?q={quote(paper)}"
    scheme, _, number = paper.partition(":")
    if scheme.lower() == "arxiv":
        return f"https://arxiv.org/abs/{number}"
    return f"https://doi.org/{number if scheme.lower() == 'doi' else paper}"


def insert(text: str) -> str:
    """Return a README with the table between its markers."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"the README must hold the lines {START} and {END}.")
    return f"{before}{START}\n{table()}\n{END}{after}"


def main() -> int:
    """Write the table into the README with ``--write``, compare it with ``--check``; else print it."""
    options = sys.argv[1:]
    if "--check" in options:
        old = README.read_text("utf-8")
        stale = insert(old) != old
        sys.stderr.write("README.md is stale: python -m xaiwidgets.serving.method_table --write\n" * stale)
        return int(stale)
    if "--write" in options:
        README.write_text(insert(README.read_text("utf-8")), "utf-8")
    else:
        sys.stdout.write(table() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
