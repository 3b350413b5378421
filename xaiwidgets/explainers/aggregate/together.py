"""What the methods share that bring several maps of one score together: members, normalization, and the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.cards import cards, resolve
from xaiwidgets.core.knobs import Choice, MethodNames, check_knobs, knob
from xaiwidgets.core.results import Attribution
from xaiwidgets.engine.alike import NORMALIZATIONS, alike
from xaiwidgets.engine.cost import passes
from xaiwidgets.errors import InvalidKnob, NotApplicable, did_you_mean
from xaiwidgets.explainers.onepass import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: Each other: a mean over means would count members twice. CLEAR and CCAM answer other questions.
NOT_MEMBERS = ("agg_mean", "agg_var", "disagreement", "clear", "ccam")
MEMBERS = "saliency,integrated_gradients,grad_cam,lrp,smoothgrad"
FEWEST = 2


def which_members() -> Any:
    """Return the knob for the methods that are brought together."""
    return knob(
        MEMBERS,
        MethodNames(exclude=NOT_MEMBERS),
        label="Members",
        help="At least two, each with its own defaults; hold Ctrl to choose several.",
    )


def which_normalization() -> Any:
    """Return the knob for how maps of different units are made alike."""
    return knob(
        "mass",
        Choice(NORMALIZATIONS),
        label="Made alike by",
        help="mass: absolute values sum to 1; range: from 0 to 1; signed mass: as mass, signs kept.",
    )


class Together:
    """Mixin: runs the members one after another; ``combine`` says what becomes of their maps."""

    members: str
    normalize: str

    def __post_init__(self) -> None:
        check_knobs(self)
        known = [card.id for card in cards("explainer") if card.id not in NOT_MEMBERS]
        for name in self.members.split(","):
            if name not in known:
                raise InvalidKnob(
                    f"members must be explainers, of {', '.join(known)}; got {name!r}.{did_you_mean(name, known)}"
                )

    def combine(self, maps: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return ``(H, W)`` from the members' maps in a common unit."""
        raise NotImplementedError

    @property
    def signed(self) -> bool:
        """Whether negative values mean evidence against."""
        return False

    def chosen(self, model: Model) -> list[Any]:
        """Return the members that apply to a model.

        Raises:
            NotApplicable: fewer than two do.
        """
        return self._sorted(model)[0]

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: all members'."""
        each = [resolve(name).cost(size) for name in self.members.split(",")]
        return sum(forward for forward, _ in each), sum(backward for _, backward in each)

    def cost_on(self, model: Model, size: tuple[int, int]) -> tuple[int, int]:
        """Return the passes on a network: of the members that apply to it."""
        each = [passes(member, model, size) for member in self.chosen(model)]
        return sum(forward for forward, _ in each), sum(backward for _, backward in each)

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield what the members have said so far, at every step of every member."""
        chosen, notes = self._sorted(model)
        size = size_of(image)
        shares = np.array([sum(passes(member, model, size)) or 1 for member in chosen], dtype=np.float64)
        ends = np.cumsum(shares) / shares.sum()
        finished: list[NDArray[np.float64]] = []
        names: list[str] = []
        for number, (member, end) in enumerate(zip(chosen, ends, strict=True)):
            card, start = type(member).card, 0.0 if number == 0 else float(ends[number - 1])
            last = None
            for found in member.steps(model, image, target):
                if last is None or found.progress > last.progress:
                    last = found
                    yield self._result(
                        [*finished, alike(found.heatmap(), self.normalize)],
                        [*names, card.title],
                        (*notes, *_remark(card.title, found)),
                        found.score,
                        size,
                        start + (float(end) - start) * found.progress if end < 1 or found.progress < 1 else 1.0,
                    )
            if last is not None:
                finished.append(alike(last.heatmap(), self.normalize))
                names.append(card.title)

    def _result(
        self,
        maps: Sequence[NDArray[np.float64]],
        names: Sequence[str],
        notes: tuple[str, ...],
        score: float,
        size: tuple[int, int],
        progress: float,
    ) -> Attribution:
        spread = np.std(maps, axis=0)
        return Attribution(
            values=self.combine(maps)[None].astype(np.float32),
            unit=self.unit,
            signed=self.signed,
            size=size,
            progress=progress,
            score=score,
            notes=(f"Of {len(names)}: {', '.join(names)}.", *notes),
            details={"members": tuple(names), "maps": np.array(maps, np.float32), "spread": spread.astype(np.float32)},
        )

    @property
    def unit(self) -> str:
        """What the values are measured in."""
        return "of the range" if self.normalize == "range" else "share of the evidence"

    def _sorted(self, model: Model) -> tuple[list[Any], tuple[str, ...]]:
        """Return the members that apply, and a sentence on each that does not."""
        from xaiwidgets.engine.run import missing

        kept, notes = [], []
        for name in self.members.split(","):
            member = resolve(name)
            lacks = missing(type(member).card, model)
            if lacks:
                notes.append(f"{type(member).card.title} is left out: it needs {lacks}.")
            else:
                kept.append(member)
        if len(kept) < FEWEST:
            raise NotApplicable(
                type(self).card.id,  # type: ignore[attr-defined]
                "at least two members that apply",
                f"{model.name} leaves {len(kept)} of {self.members}",
                [card.id for card in cards("explainer") if not missing(card, model)],
            )
        return kept, tuple(notes)


def _remark(title: str, found: Attribution) -> tuple[str, ...]:
    return (f"{title} shows no evidence.",) if found.progress == 1 and not found.values.any() else ()
