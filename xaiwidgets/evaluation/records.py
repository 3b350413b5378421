"""Scores of many explanations as rows that are written once each, read again, and summed up."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.scores import mean_and_interval
from xaiwidgets.errors import InvalidKnob

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

#: What a row is told apart by: a change in any of these is another question.
ASKED = ("model", "weights", "digest", "asked", "method", "method_knobs", "metric", "metric_knobs", "seed")


@dataclass(frozen=True)
class Row:
    """One score of one explanation.

    Attributes:
        model, weights: name of the network, and the digest of its weights.
        image, digest: name of the picture, and the digest of its pixels.
        asked: the target as it was asked for; empty for the picture's own class.
        target: the one it turned out to be.
        method, method_knobs, metric, metric_knobs, seed: what was run.
        value, unit, direction, verdict: the score; the value is NaN where it is not defined.
        controls: the same number for maps that know nothing.
        forward, backward, seconds: what it cost.
        note: why there is no value, or what a reader should know.
    """

    model: str
    weights: str
    image: str
    digest: str
    asked: str
    method: str
    method_knobs: dict[str, Any]
    metric: str
    metric_knobs: dict[str, Any]
    seed: int
    target: str = ""
    value: float = math.nan
    unit: str = ""
    direction: str = ""
    verdict: str = "unjudged"
    controls: dict[str, float] | None = None
    forward: int = 0
    backward: int = 0
    seconds: float = 0.0
    note: str = ""

    @property
    def key(self) -> str:
        """A digest of the question, the same in another process."""
        asked = {name: getattr(self, name) for name in ASKED}
        return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:24]

    def json(self) -> str:
        """Return the row as a line of JSON; NaN becomes null."""
        found = asdict(self) | {"key": self.key}
        return json.dumps(_plain(found), sort_keys=True, allow_nan=False)


class RowFile:
    """Rows in a file of JSON lines: each is added whole, and none is added twice.

    A run that ended in the middle of a line leaves a line that is not read again, and is written anew.

    Args:
        path: of the file, made when the first row comes; ``None`` keeps the rows in memory only.

    Raises:
        InvalidKnob: the file is not one of these.
    """

    def __init__(self, path: str | PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)
        self.rows: dict[str, Row] = {}
        if self.path is not None and self.path.exists():
            self._read(self.path)

    def _read(self, path: Path) -> None:
        text = path.read_text("utf-8")
        lines = text.split("\n")
        whole, last = lines[:-1], lines[-1]
        for number, line in enumerate(filter(None, whole)):
            row = _row(line)
            if row is None:
                raise InvalidKnob(
                    f"path must be a new file, or one that a benchmark has written; line {number + 1} of {path} is "
                    "no row of one."
                )
            self.rows[row.key] = row
        if last:  # cut off in the middle
            path.write_text("".join(f"{line}\n" for line in whole), "utf-8")

    def add(self, row: Row) -> None:
        """Keep a row, and write it; one that is there already is left as it is."""
        if row.key in self.rows:
            return
        self.rows[row.key] = row
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(row.json() + "\n")


class Benchmark:
    """The rows of a benchmark, in the order they were asked for.

    ``summary`` sums up over pictures, ``records`` gives plain dictionaries, ``frame`` a pandas data frame.
    """

    def __init__(self, rows: Iterable[Row], planned: int, reused: int = 0) -> None:
        self.rows, self.planned, self.reused = tuple(rows), planned, reused

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def progress(self) -> float:
        """Share of the planned rows that are there."""
        return len(self.rows) / self.planned if self.planned else 1.0

    def records(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries."""
        return [asdict(row) for row in self.rows]

    def summary(self, seed: int = 0) -> list[dict[str, Any]]:
        """Return for each method and metric the mean with its 95 % bootstrap interval, the median, and what it cost.

        ``count`` pictures have a value, ``missing`` have none; ``random`` is the mean of a random map.
        """
        groups: dict[tuple[str, str, str, str], list[Row]] = {}
        for row in self.rows:
            knobs = (
                json.dumps(_plain(row.method_knobs), sort_keys=True),
                json.dumps(_plain(row.metric_knobs), sort_keys=True),
            )
            groups.setdefault((row.method, row.metric, *knobs), []).append(row)
        found = []
        for (method, metric, *_), rows in groups.items():
            values = np.array([row.value for row in rows])
            there = values[np.isfinite(values)]
            mean, interval = mean_and_interval(values, seed=seed)
            random = [row.controls["random"] for row in rows if row.controls and "random" in row.controls]
            found.append(
                {
                    "method": method,
                    "metric": metric,
                    "direction": rows[0].direction,
                    "mean": mean,
                    "low": math.nan if interval is None else interval[0],
                    "high": math.nan if interval is None else interval[1],
                    "median": float(np.median(there)) if len(there) else math.nan,
                    "count": len(there),
                    "missing": len(rows) - len(there),
                    "random": float(np.mean(random)) if random else math.nan,
                    "seconds": sum(row.seconds for row in rows),
                    "method_knobs": rows[0].method_knobs,
                    "metric_knobs": rows[0].metric_knobs,
                }
            )
        return found

    def frame(self) -> Any:
        """Return the rows as a pandas data frame.

        Raises:
            ImportError: pandas is not installed; ``records`` works without.
        """
        import pandas

        return pandas.DataFrame(self.records())

    def save(self, path: str | PathLike[str]) -> None:
        """Write all rows as ``.csv`` or as JSON lines (``.jsonl``), by the ending of ``path``.

        Raises:
            InvalidKnob: another ending.
        """
        import csv

        target = Path(path)
        if target.suffix == ".jsonl":
            target.write_text("".join(f"{row.json()}\n" for row in self.rows), "utf-8")
        elif target.suffix == ".csv":
            with target.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                names = list(Row.__dataclass_fields__)
                writer.writerow(names)
                for row in self.rows:
                    writer.writerow([_cell(getattr(row, name)) for name in names])
        else:
            raise InvalidKnob(f"path must end in .csv or .jsonl; got {target.name!r}.")

    def __repr__(self) -> str:
        head = ("method", "metric", "better", "mean", "95 % interval", "median", "random", "pictures", "seconds")
        rows = [head, *(_words(line) for line in self.summary())]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _words(line: dict[str, Any]) -> tuple[str, ...]:
    interval = "" if math.isnan(line["low"]) else f"{line['low']:.3g} to {line['high']:.3g}"
    missing = f" ({line['missing']} without)" if line["missing"] else ""
    numbers = ("" if math.isnan(line[name]) else f"{line[name]:.3g}" for name in ("mean", "median", "random"))
    mean, median, random = numbers
    return (
        line["method"], line["metric"], line["direction"] or "–", mean, interval, median, random,
        f"{line['count']}{missing}", f"{line['seconds']:.1f}",
    )  # fmt: skip


def _cell(value: Any) -> Any:
    return json.dumps(_plain(value), sort_keys=True) if isinstance(value, dict) else value


def _plain(value: Any) -> Any:
    """Return what JSON can hold: numbers that are not finite become null, tuples lists, anything else its text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.integer, np.floating)):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (str, int, bool)) or value is None else str(value)


def _row(line: str) -> Row | None:
    try:
        found = json.loads(line)
        known = {name: found[name] for name in Row.__dataclass_fields__}
    except (ValueError, KeyError, TypeError):
        return None
    if known["value"] is None:
        known["value"] = math.nan
    if known["controls"] is not None:
        known["controls"] = {k: math.nan if v is None else v for k, v in known["controls"].items()}
    return Row(**known)
