"""Where the relevance went: what each operation was given and handed on, and what it kept."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

CAUSES = ("bias", "epsilon", "dropped")
"""What relevance can be lost to on its way to the picture."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation's account, each number a tensor ``(N,)``: ``given`` = ``handed`` + bias + epsilon + dropped."""

    layer: str
    kind: str
    rule: str
    given: Tensor
    handed: Tensor
    bias: Tensor
    epsilon: Tensor

    @property
    def dropped(self) -> Tensor:
        """What arrived where nothing could take it, for instance at a unit whose inputs are all zero."""
        return self.given - self.handed - self.bias - self.epsilon


def total(values: Tensor) -> Tensor:
    """Return the sums over all but the first dimension in double precision."""
    values = values.detach()
    if values.ndim < 2:
        return values.reshape(-1).double()
    return values.sum(dim=tuple(range(1, values.ndim)), dtype=torch.float64)


def by_picture(amounts: Tensor, pictures: int) -> Tensor:
    """Return ``(N,)`` from amounts of a tensor whose first dimension may count more than pictures.

    Several rows a picture, as after ``view(N * T, …)``, are added up; NaN where rows cannot be told apart.
    """
    if len(amounts) == pictures:
        return amounts
    if pictures == 1:
        return amounts.sum(dim=0, keepdim=True)
    if len(amounts) % pictures:
        return amounts.new_full((pictures,), float("nan"))
    return amounts.reshape(pictures, -1).sum(dim=1)


@dataclass
class Ledger:
    """The accounts of one propagation, from the score down to the picture."""

    entries: list[Entry] = field(default_factory=list)

    def receipt(self, start: float, arrived: float, index: int = 0) -> dict[str, float]:
        """Return the account of one picture: ``start``, ``input`` (what arrived), ``bias``, ``epsilon``, ``dropped``.

        The five add up: what no operation accounts for (relevance that ended in a constant) counts as dropped.
        """
        sums = {"start": start, "input": arrived}
        for cause in ("bias", "epsilon"):
            sums[cause] = sum(float(getattr(entry, cause)[index]) for entry in self.entries)
        sums["dropped"] = start - arrived - sums["bias"] - sums["epsilon"]
        return sums

    def layers(self, index: int = 0) -> tuple[dict[str, Any], ...]:
        """Return one row for each layer, kind and rule, in the order of the propagation."""
        rows: dict[tuple[str, str, str], dict[str, float]] = {}
        for entry in self.entries:
            row = rows.setdefault((entry.layer, entry.kind, entry.rule), defaultdict(float))
            row["in"] += float(entry.given[index])
            row["out"] += float(entry.handed[index])
            for cause in CAUSES:
                row[cause] += float(getattr(entry, cause)[index])
        return tuple({"layer": layer, "kind": kind, "rule": rule, **row} for (layer, kind, rule), row in rows.items())
