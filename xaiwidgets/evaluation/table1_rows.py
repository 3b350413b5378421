"""Rows of the table of localization errors, and the file that keeps them."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import InvalidKnob

if TYPE_CHECKING:
    from os import PathLike


@dataclass(frozen=True)
class Table1Row:
    """The localization error of one method on one set of scenes by one protocol.

    Attributes:
        data, model, method: names; ``knobs``: of the method. ``trivial``: it is no explanation.
        protocol: ``review`` (95 % of the energy) or ``tuned``.
        error: share of missed objects, NaN where there is none; ``low``, ``high``: its 95 % interval.
        count, held_out: scenes for the error and for the threshold.
        rule, level: the threshold. ``tuned_error``: error on the held-out scenes.
        overlap: mean intersection over union.
        printed: what the review's Table 1 prints, NaN if nothing.
        forward, backward, seconds: what all maps took; 0 for the second row of the same maps.
        seed: of the scenes. ``note``: why there is no error.
    """

    data: str
    model: str
    method: str
    protocol: str
    knobs: dict[str, Any] = field(default_factory=dict)
    trivial: bool = False
    error: float = math.nan
    low: float = math.nan
    high: float = math.nan
    count: int = 0
    held_out: int = 0
    rule: str = ""
    level: float = math.nan
    tuned_error: float = math.nan
    overlap: float = math.nan
    printed: float = math.nan
    forward: int = 0
    backward: int = 0
    seconds: float = 0.0
    seed: int = 0
    note: str = ""


class KeptRows:
    """Groups of rows in a file of JSON lines; a group is written whole, and a line that was cut off is dropped."""

    def __init__(self, path: str | PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)
        self.rows: dict[str, list[Table1Row]] = {}
        if self.path is None or not self.path.exists():
            return
        whole, _, last = self.path.read_text("utf-8").rpartition("\n")
        for number, line in enumerate(filter(None, whole.split("\n"))):
            try:
                found = json.loads(line)
                self.rows[found["key"]] = [Table1Row(**row) for row in found["rows"]]
            except (ValueError, KeyError, TypeError) as error:
                raise InvalidKnob(f"path must be a file that table1 has written; line {number + 1} is none.") from error
        if last:
            self.path.write_text(f"{whole}\n" if whole else "", "utf-8")

    def add(self, key: str, rows: list[Table1Row]) -> None:
        """Keep a group of rows, and write it."""
        self.rows[key] = rows
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "rows": [asdict(row) for row in rows]}, default=str) + "\n")
