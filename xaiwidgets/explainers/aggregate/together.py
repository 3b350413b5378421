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
        help="The methods that are brought together: at least two, each with its own defaults.",
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
        chosen, told = self._sorted(model)
        size, notes = size_of(image), list(told)
        shares = np.array([sum(passes(member, model, size)) or 1 for member in chosen], dtype=np.float64)
        ends = np.cumsum(shares) / shares.sum()
        finished: list[NDArray[np.float64]] = []
        names: list[str] = []
        score, progress = float("nan"), 0.0
        for number, (member, end) in enumerate(zip(chosen, ends, strict=True)):
            title, start = type(member).card.title, 0.0 if number == 0 else float(ends[number - 1])
            last, refusals = None, len(notes)
            for found in _unless_refused(member.steps(model, image, target), title, notes):
                if last is None or found.progress > last.progress:
                    last, score = found, found.score
                    done = number == len(chosen) - 1 and found.progress == 1
                    progress = 1.0 if done else start + (float(end) - start) * found.progress
                    maps = [*finished, alike(found.heatmap(), self.normalize)]
                    remarks = (*notes, *_remark(title, found))
                    yield self._result(maps, [*names, title], remarks, score, size, progress)
            if last is not None and len(notes) == refusals:
                finished.append(maps[-1])
                names.append(title)
                notes.extend(_remark(title, last))
            elif len(finished) + len(chosen) - number - 1 < FEWEST:
                raise self._too_few(model, notes)
        if progress < 1:  # the last member has refused
            yield self._result(finished, names, tuple(notes), score, size, 1.0)

    def _result(
        self,
        maps: Sequence[NDArray[np.float64]],
        names: Sequence[str],
        notes: tuple[str, ...],
        score: float,
        size: tuple[int, int],
        progress: float,
    ) -> Attribution:
        return Attribution(
            values=self.combine(maps)[None].astype(np.float32),
            unit=self.unit,
            signed=self.signed,
            size=size,
            progress=progress,
            score=score,
            notes=(f"Of {len(names)}: {', '.join(names)}.", *notes),
            details={
                "members": tuple(names),
                "maps": np.array(maps, np.float32),
                "spread": deviation(maps).astype(np.float32),
            },
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
            raise self._too_few(model, notes)
        return kept, tuple(notes)

    def _too_few(self, model: Model, notes: Sequence[str]) -> NotApplicable:
        from xaiwidgets.engine.run import missing

        works = [card.id for card in cards("explainer") if not missing(card, model)]
        found = f"on {model.name}, of {self.members.replace(',', ', ')}: {' '.join(notes).removesuffix('.')}"
        name: str = type(self).card.id  # type: ignore[attr-defined]
        return NotApplicable(name, "at least two members that apply", found, works)


def deviation(maps: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the standard deviation over maps, pixel by pixel; exactly 0 where they are all equal."""
    found: NDArray[np.float64] = np.std([one - maps[0] for one in maps], axis=0)
    return found


def _unless_refused(steps: Iterator[Attribution], title: str, notes: list[str]) -> Iterator[Attribution]:
    """Yield what a member yields; one that refuses the network or the target ends, and ``notes`` say why."""
    while True:
        try:
            found = next(steps)
        except StopIteration:
            return
        except NotApplicable as error:
            notes.append(f"{title} is left out: it needs {error.needs}; {error.found}.")
            return
        yield found


def _remark(title: str, found: Attribution) -> tuple[str, ...]:
    return (f"{title} shows no evidence.",) if found.progress == 1 and not found.values.any() else ()
