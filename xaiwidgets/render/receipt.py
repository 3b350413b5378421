"""What a map adds up to and where the rest went, in words and rows: the same for the app, the command and figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.render.numbers import interval, number, percent
from xaiwidgets.surgery.coverage import label

if TYPE_CHECKING:
    from xaiwidgets.core.results import Attribution

#: A gap above this share of what is explained is pointed out.
LIMIT = 0.01
#: Sums of float32 values are not more exact than this share of what is summed.
ROUNDING = 1e-6
#: Where relevance can end, in the order in which it is told.
ENDS = ("input", "bias", "epsilon", "dropped")
#: Numbers of one row of a receipt by layer.
COLUMNS = ("in", "out", "bias", "epsilon", "dropped")
#: What stands in the column of the rule for operations that had none, and what receipts have there.
PASSED = "plain gradient"
NO_RULE = ("", "gradient")


@dataclass(frozen=True)
class Balance:
    """The sum of a map's values against what they should explain.

    Attributes:
        total: the sum. ``explained``: the difference it should be, NaN if it is not known.
        gap: the completeness error, as the method gives it.
        stated: the method says what it explains; otherwise the target's score stands for it.
        noise: sums are not more exact than this.
    """

    total: float
    explained: float
    gap: float
    stated: bool
    noise: float

    @property
    def share(self) -> float | None:
        """The size of the gap as a share of what is explained; ``None`` where that is 0 or not known."""
        known = math.isfinite(self.explained) and self.explained != 0 and math.isfinite(self.gap)
        return abs(self.gap / self.explained) if known else None

    @property
    def off(self) -> bool:
        """Whether more than 1 % of what is explained is missing from the map, or too much in it."""
        if math.isnan(self.explained) or abs(self.gap) <= self.noise:
            return False
        return self.share is None or self.share > LIMIT


@dataclass(frozen=True)
class Flow:
    """One of the ends that relevance came to: an amount, and its share of the start (``None`` of a start of 0)."""

    name: str
    amount: float
    share: float | None


def balance(attribution: Attribution) -> Balance | None:
    """Return what the values add up to, or ``None`` for a method that does not say."""
    if attribution.gap is None:
        return None
    stated = _number(attribution.details.get("explained"))
    # some maps only show what adds up: then the sum is told apart from the values
    total = _number(attribution.details.get("accounted"))
    values = attribution.values if total is None else np.array([total])
    return Balance(
        total=float(values.sum(dtype=np.float64)),
        explained=attribution.score if stated is None else stated,
        gap=float(attribution.gap),
        stated=stated is not None,
        noise=ROUNDING * float(np.abs(values).sum(dtype=np.float64)),
    )


def summary(attribution: Attribution) -> str:
    """Return one line such as ``Sum 9.81 of 9.83 · gap −0.02 (0.2 %) · bias 5 %``, or an empty string.

    A result that is still refined says ``so far``; one with a standard error names its largest.
    """
    parts = []
    found = balance(attribution)
    if found is not None:
        whole = f" of {number(found.explained)}" if found.stated else ""
        of = "" if found.stated else " of the score"
        share = "" if found.share is None else f" ({percent(found.share)}{of})"
        parts += [f"Sum {number(found.total)}{whole}", f"gap {number(found.gap)}{share}"]
    lost = [flow for flow in flows(attribution) if flow.name != "input" and abs(flow.share or 0) > LIMIT]
    parts += [f"{flow.name} {percent(flow.share or 0)}" for flow in lost]
    error = attribution.details.get("standard_error")
    most = float(np.max(error)) if error is not None and np.size(error) else None
    # of a single sample there is none, and 0 would be a promise
    if most is not None and (most > 0 or attribution.progress >= 1):
        parts.append(f"standard error at most {number(most)}")
    if parts and attribution.progress < 1:
        parts.append("so far")
    line = " · ".join(parts)
    return line[:1].upper() + line[1:]


def warning(attribution: Attribution) -> str:
    """Return what is wrong with a finished map's sum, or an empty string."""
    found = balance(attribution)
    if found is None or attribution.progress < 1 or not found.off:
        return ""
    if not math.isfinite(found.gap):
        return "The values have no finite sum."
    if found.share is None:
        return "There is nothing to explain, and yet the values do not add up to 0."
    what = "difference" if found.stated else "score"
    if found.gap * found.explained < 0:
        return f"{percent(found.share)} of the {what} is missing from the map."
    return f"The map holds {percent(found.share)} of the {what} too much."


def start(attribution: Attribution) -> float | None:
    """Return the relevance that a propagation began with, or ``None`` without a receipt."""
    receipt = attribution.details.get("receipt")
    if not receipt:
        return None
    begun = _number(receipt.get("start"))
    stated = _number(attribution.details.get("explained"))
    return next((value for value in (begun, stated) if value is not None), attribution.score)


def flows(attribution: Attribution) -> tuple[Flow, ...]:
    """Return where the relevance went; nothing for a method without a receipt."""
    receipt = attribution.details.get("receipt") or {}
    begun = start(attribution)
    names = [*(name for name in ENDS if name in receipt), *sorted(set(receipt) - {"start", *ENDS})]
    found = []
    for name in names:
        amount = _number(receipt[name])
        if amount is not None and begun is not None:
            share = amount / begun if begun and math.isfinite(amount / begun) else None
            found.append(Flow(str(name), amount, share))
    return tuple(found)


def layer_rows(attribution: Attribution) -> tuple[dict[str, Any], ...]:
    """Return the receipt by layer: ``layer``, ``kind`` and ``rule`` in words, and those of ``COLUMNS`` that it has."""
    rows = attribution.details.get("receipt_layers") or ()
    return tuple({**_named(row), **{c: v for c in COLUMNS if (v := _number(row.get(c))) is not None}} for row in rows)


def coverage_rows(attribution: Attribution) -> tuple[dict[str, Any], ...]:
    """Return what was ruled and what passed: ``layer``, ``kind`` and ``rule`` in words, and the ``count``."""
    rows = attribution.details.get("coverage") or ()
    return tuple({**_named(row), "count": int(row.get("count", 1))} for row in rows)


def coverage_words(attribution: Attribution) -> str:
    """Return the coverage in one line: ``13 of 19 operations ruled: 13 conv2d by zplus; 6 ReLU as plain gradient``."""
    rows = coverage_rows(attribution)
    if not rows:
        return ""
    groups: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row["kind"], row["rule"])
        groups[key] = groups.get(key, 0) + row["count"]
    ruled = sum(count for (_, rule), count in groups.items() if rule != PASSED)
    parts = [f"{n} {kind} {'as ' if rule == PASSED else 'by '}{rule}" for (kind, rule), n in groups.items()]
    parts.sort(key=lambda part: part.endswith(PASSED))
    every = sum(groups.values())
    return f"{ruled} of {every} operation{'s' if every != 1 else ''} ruled: {'; '.join(parts)}"


def lines(attribution: Attribution) -> list[str]:
    """Return the receipt as lines of text, without the rows of single layers; empty for a method that has none."""
    found = [summary(attribution)]
    if warning(attribution):
        found.append(f"Warning: {warning(attribution)}")
    ends = flows(attribution)
    if ends:
        told = (
            f"{f.name} {number(f.amount)}" + (f" ({percent(f.share)})" if f.share is not None else "") for f in ends
        )
        found.append(f"Relevance: start {number(start(attribution) or 0)} → {', '.join(told)}")
    found.append(coverage_words(attribution))
    return [line for line in found if line]


def brief(attribution: Attribution) -> str:
    """Return an attribution in one line: who explains what, the shape, the range, what it adds up to."""
    made = attribution.provenance
    what = f"{made.method or 'map'} for {made.target or 'the target'}"
    where = f" at {attribution.layer}" if attribution.layer else ""
    done = f"{attribution.progress:.0%} done" if attribution.progress < 1 else ""
    low_high = interval(*attribution.range, attribution.unit) if attribution.values.size else ""
    parts = (what + where, f"{attribution.values.shape}", low_high, summary(attribution), done)
    return f"Attribution({', '.join(filter(None, parts))})"


def _named(row: Any) -> dict[str, str]:
    rule = str(row.get("rule") or "")
    return {
        "layer": str(row.get("layer") or "the model itself"),
        "kind": label(str(row.get("kind") or "operation")),
        "rule": PASSED if rule in NO_RULE else rule,
    }


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
