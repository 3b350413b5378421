"""What it takes to redo a map, in words, as JSON, and with the numbers in one file."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.render.numbers import number
from xaiwidgets.render.receipt import summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from xaiwidgets.core.results import Attribution


def plain(value: Any) -> Any:
    """Return ``value`` as JSON can hold it: numbers that JSON lacks become ``null``, unknown objects their ``repr``."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if hasattr(value, "items"):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    return repr(value)


def _storable(value: Any) -> bool:
    """Return whether ``value`` is an array that ``.npz`` holds without pickle."""
    return isinstance(value, np.ndarray) and not value.dtype.hasobject


def record(attribution: Attribution) -> dict[str, Any]:
    """Return all of an attribution except its arrays, ready for JSON."""
    fields = {f.name: getattr(attribution, f.name) for f in dataclasses.fields(attribution) if f.name != "values"}
    fields["details"] = {k: v for k, v in attribution.details.items() if not _storable(v)}
    return {k: plain(v) for k, v in fields.items()}


def record_json(attribution: Attribution) -> str:
    """Return ``record`` as one line of JSON with sorted keys."""
    import json

    return json.dumps(record(attribution), sort_keys=True, ensure_ascii=False, allow_nan=False)


def save_numbers(attribution: Attribution, path: Path) -> None:
    """Write ``values``, the arrays of ``details`` (``details.<name>``) and the JSON ``provenance`` as ``.npz``."""
    arrays: dict[str, Any] = {f"details.{k}": v for k, v in attribution.details.items() if _storable(v)}
    arrays |= {"values": attribution.values, "provenance": np.array(record_json(attribution))}
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _listing(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={number(v) if isinstance(v, float) else v}" for k, v in values.items())


def moved_words(events: Iterable[tuple[int, str, Any, Any]]) -> str:
    """Return what was moved while a method ran, or an empty string: ``moved: sparsity 0.0003 → 0.01 at step 34``."""
    told = [f"{name} {brief_value(old)} → {brief_value(new)} at step {step}" for step, name, old, new in events]
    return f"moved: {', '.join(told)}" if told else ""


def brief_value(value: Any) -> str:
    """Return a hyper-parameter's value as a person would write it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def provenance_line(attribution: Attribution) -> str:
    """Return one line under a figure: model, picture, knobs, cost, versions; what is not known is left out."""
    made = attribution.provenance
    forward, backward = made.passes
    cost = f"{forward} + {backward} passes" if forward or backward else ""
    parts = (
        made.model,
        f"picture {made.image}" if made.image else "",
        _listing(made.knobs),
        moved_words(made.events),
        f"score {number(attribution.score)}" if math.isfinite(attribution.score) else "",
        summary(attribution),
        cost,
        f"{number(made.seconds)} s" if made.seconds else "",
        " ".join(f"{k} {v}" for k, v in made.versions.items()),
    )
    return " · ".join(filter(None, parts))
