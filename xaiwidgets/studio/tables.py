"""The review's tables as an app shows them: rows that grow, its verdicts beside ours, and why they differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.cards import card
from xaiwidgets.errors import UnknownMethod
from xaiwidgets.render.numbers import percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from xaiwidgets.evaluation.table1_rows import Table1Row

#: Scenes that the page takes for Table 1, and how many: photos with pasted objects, and shapes.
SCENES, COUNT = ("composites", "shapes"), 12
#: Boxes that need no explanation, and rows that the table has of them and of each method, for each set of scenes.
TRIVIAL, ROWS = 5, 2


@dataclass(frozen=True)
class Table:
    """A table as far as it has come.

    Attributes:
        name: key of ``TABLES``. ``title``, ``about``: what it is, in words.
        header, rows: texts. ``progress``: share done, in [0, 1].
    """

    name: str
    title: str
    about: str
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    progress: float = 0.0


@dataclass(frozen=True)
class Maker:
    """How a table is made.

    Attributes:
        name, title, about: as of the table.
        steps: yields it as it grows; a run that is not closed can go on.
    """

    name: str
    title: str
    about: str
    tables: Callable[[Maker], Iterator[Table]]

    def empty(self, **parts: Any) -> Table:
        """Return the table, with nothing in it or with these parts."""
        return Table(self.name, self.title, self.about, **parts)

    def steps(self) -> Iterator[Table]:
        """Yield the table after each piece of work."""
        return self.tables(self)


def _table3(maker: Maker) -> Iterator[Table]:
    from xaiwidgets.evaluation.table3 import table3_steps

    for found in table3_steps():
        yield maker.empty(header=found.header, rows=found.rows, progress=found.progress)


def _table1(maker: Maker) -> Iterator[Table]:
    from xaiwidgets.evaluation.table1 import PRINTED, table1_steps

    planned = len(SCENES) * ROWS * (TRIVIAL + len(PRINTED))
    found: list[Table1Row] = []
    for row in table1_steps(methods=list(PRINTED), data=SCENES, count=COUNT):
        if row is not None:
            found.append(row)
        yield maker.empty(header=HEADER, rows=table1_words(found), progress=min(len(found) / planned, 0.999))
    yield maker.empty(header=HEADER, rows=table1_words(found), progress=1.0)


HEADER = ("method", "pictures", "error by 95 % of the energy", "error, tuned threshold", "review", "why they differ")


def table1_words(rows: Iterable[Table1Row]) -> tuple[tuple[str, ...], ...]:
    """Return a line for each method and set of pictures: both errors, the printed one, and why they differ."""
    pairs: dict[tuple[str, str], dict[str, Table1Row]] = {}
    for row in rows:
        pairs.setdefault((row.data, row.method), {})[row.protocol] = row
    return tuple(_line(pair) for pair in pairs.values() if "review" in pair)


def _line(pair: dict[str, Table1Row]) -> tuple[str, ...]:
    review, tuned = pair["review"], pair.get("tuned")
    try:
        name = review.method if review.trivial else card(review.method).title
    except UnknownMethod:
        name = review.method
    printed = "none" if math.isnan(review.printed) else percent(review.printed)
    pictures = f"{review.count or COUNT} {review.data}"
    return name, pictures, _error(review), "" if tuned is None else _error(tuned), printed, why(review, tuned)


def _error(row: Table1Row) -> str:
    if math.isnan(row.error):
        return "not applicable"
    return f"{percent(row.error)} ({percent(row.low)} to {percent(row.high)})"


def why(review: Table1Row, tuned: Table1Row | None) -> str:
    """Return what explains how an error differs from the one that the review prints, one or two sentences."""
    if review.note:
        return review.note
    if review.trivial:
        return "It knows nothing of the network and stands here as a yardstick; the review prints none."
    if math.isnan(review.printed):
        return ""
    if review.low <= review.printed <= review.high:
        return f"No difference that {review.count} pictures could show: the printed error lies in our 95 % interval."
    side = "Lower" if review.error < review.printed else "Higher"
    told = (
        f"{side}: {review.count} {review.data} and {review.model} here, 50,000 photos of ImageNet and GoogLeNet there."
    )
    if tuned is None or math.isnan(tuned.error):
        return told
    if abs(tuned.error - review.printed) < abs(review.error - review.printed):
        return (
            f"{told} The threshold explains part of it: tuned, as in the original papers, it is {percent(tuned.error)}."
        )
    return f"{told} The threshold does not explain it: tuned, it is {percent(tuned.error)}."


TABLES = {
    "table3": Maker(
        "table3",
        "Table 3: sanity checks",
        "Which methods notice that weights, labels or the input have changed, on the bundled networks: means with 95 % "
        "intervals, borderline where the threshold is inside. The review's verdict is in brackets; where ours differs, "
        "the last column says why.",
        _table3,
    ),
    "table1": Maker(
        "table1",
        "Table 1: localization errors",
        "How often the box around the map misses the object: by the review's one threshold for all, and by a threshold "
        "tuned on other pictures, with 95 % intervals.",
        _table1,
    ),
}
