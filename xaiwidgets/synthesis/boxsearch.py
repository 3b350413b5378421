"""One run of box-constrained L-BFGS, a pass at a time, within a bisection for the weight of the change."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.core.results import Exhibit
from xaiwidgets.synthesis.deception import Deception
from xaiwidgets.synthesis.quasinewton import curved, descent, free, shorter

if TYPE_CHECKING:
    from torch import Tensor

    from xaiwidgets.synthesis.adversarial_lbfgs import AdversarialLbfgs

#: How many pairs L-BFGS keeps. Each is an array of its own, which saved states share as long as it is kept.
MEMORY = 5
CHANGES = tuple(f"change{number}" for number in range(MEMORY))
BENDS = tuple(f"bend{number}" for number in range(MEMORY))
#: Standard deviation of the noise that each search starts from, in gray levels (1e-4 of the range).
START = 255e-4
#: Between these the weight is looked for.
LEAST, MOST = 1e-3, 100.0
#: The length of the first step of a search, in gray levels: 1 where pixels go from 0 to 1.
FIRST = 255.0
#: A step must gain this share of what the slope promises (Armijo); a line is given up after so many tries.
GAIN, TRIES = 1e-4, 12


class BoxSearch(Deception):
    """A run in progress; the picture that is shown is the best one, ``at`` is where the search is.

    Attributes:
        base, base_slope: where each search starts, and the slope of the loss there; ``base_loss`` is the loss.
        at, slope: where this search is, and the slope of the loss there; ``loss_now`` is the loss.
        line: direction that is being tried. ``length``: how far along it. ``tries``: how often it was cut.
        pairs: how many of the kept pairs are in use.
        trial: searches that were ended. ``spent``: passes of this one. ``weight``: its c.
        low, high: the largest weight that deceived and the smallest that did not. ``won``: the largest that did, or 0.
        best: RMS of the best picture. ``kept``: whether it deceives when it is rounded.
    """

    ARRAYS: ClassVar[tuple[str, ...]] = (
        *Deception.ARRAYS, "base", "base_slope", "at", "slope", "line", "trying", *CHANGES, *BENDS,
    )  # fmt: skip
    VALUES: ClassVar[tuple[str, ...]] = (
        *Deception.VALUES, "base_loss", "loss_now", "length", "tries", "pairs", "trial", "spent", "weight", "low",
        "high", "won", "best", "kept",
    )  # fmt: skip
    method: AdversarialLbfgs
    base: Tensor
    base_slope: Tensor
    at: Tensor
    slope: Tensor
    line: Tensor | None
    trying: Tensor
    base_loss: float
    loss_now: float
    length: float
    tries: int
    pairs: int
    trial: int
    spent: int
    weight: float
    low: float
    high: float
    won: float
    best: float
    kept: bool

    def begin(self) -> None:
        """Ask what the photo is taken for, choose the class, and start the first search."""
        import torch

        super().begin()
        if self.wanted is None:
            self.wanted = self.rival(self.before)
        noise = torch.randn(self.levels.shape, generator=self.random).to(self.levels.like)
        self.base = (self.original + START * noise).clamp(0, 255)
        found = self.loss(self.base)
        self.base_loss, self.base_slope = -float(found.score[0]), -self.levels.per_level(found.input)
        self.low, self.high, self.won, self.best, self.kept = LEAST, MOST, 0.0, math.inf, False
        self.trial, self.weight = 0, self.method.weight
        self._restart()

    @property
    def searches(self) -> int:
        """How many weights are tried."""
        return 1 + int(self.method.bisections)

    @property
    def planned(self) -> int:
        """How many passes there are to be at most."""
        return max(self.searches * int(self.method.passes), self.step + 1)

    @property
    def over(self) -> bool:
        """Whether all weights were tried."""
        return self.stopped or self.trial >= self.searches

    def adopted(self, old: Any) -> None:
        """Try the weight that was moved from here on; the bisection begins anew around it."""
        if self.method.weight != old.weight:
            self.weight, self.low, self.high = self.method.weight, LEAST, MOST
            self._forget()

    def advance(self) -> None:
        """Do one pass: try a place on the line, and go there or try a nearer one; at the end, choose another weight."""
        flat = not self.step and not self.base_slope.any()
        if flat or (self.line is None and not self._aim()):
            self.stop(
                "the gradient of the loss is exactly zero or not finite, so no pixel is known to change the answer. "
                "Choose another photo or target"
            )
            return
        assert self.line is not None
        tried = (self.at + self.length * self.line).clamp(0, 255)
        found = self.loss(tried)
        self.spent += 1
        loss, slope = -float(found.score[0]), -self.levels.per_level(found.input)
        before, after = self._cost(self.at, self.loss_now), self._cost(tried, loss)
        promised = float((self._steep(self.at, self.slope) * (tried - self.at)).sum())
        stuck = False
        if promised < 0 and after <= before + GAIN * promised:
            self._remember(tried - self.at, self._steep(tried, slope) - self._steep(self.at, self.slope))
            self.at, self.slope, self.loss_now, self.line = tried, slope, loss, None
            self.trying = found.outputs[0].to(self.levels.like)
        else:
            self.tries += 1
            self.length = shorter(self.length, promised / self.length, before, after)
            stuck = self.tries >= TRIES or not promised
        self._compare(tried, found.outputs[0])
        self.tell(self._cost(self.at, self.loss_now), loss=self.loss_now, weight=self.weight)
        if stuck or self.spent >= self.method.passes or (self.line is None and not self._aim()):
            self._next()

    def terms(self) -> dict[str, float]:
        """Return the largest weight that deceived, 0 if none did, and how many weights were tried."""
        return {**super().terms(), "weight_found": self.won, "weights_tried": float(self.trial)}

    def beside(self) -> tuple[Exhibit, ...]:
        """Return the photo, the change, and what is being tried where that is another picture."""
        if self.over or self.best == math.inf or self.at.equal(self.picture):
            return super().beside()
        words = f"Being tried, c = {self.weight:.3g}: {self.said(self.trying)}"
        return (*super().beside(), Exhibit(self.levels.pixels(self.at), words))

    def verdict(self) -> str:
        """Return in a sentence whether the network is deceived, and with what weight."""
        if self.over and not self.won:
            return f"{super().verdict()} No c down to {self.weight:.2g} sufficed: allow more passes, or lower c."
        weight = f" The largest c that did was {self.won:.3g}." if self.over else ""
        return super().verdict() + weight

    def _cost(self, picture: Tensor, loss: float) -> float:
        size = float((picture - self.original).norm()) / 255
        cost = loss + self.weight * (size if self.method.norm == "l2" else size**2)
        return cost if math.isfinite(cost) else math.inf

    def _steep(self, picture: Tensor, slope: Tensor) -> Tensor:
        """Return the slope of the whole cost by gray levels."""
        change = picture - self.original
        pull = change / change.norm().clamp_min(1e-12) if self.method.norm == "l2" else change * (2 / 255)
        steep: Tensor = slope + (self.weight / 255) * pull
        return steep

    def _aim(self) -> bool:
        """Choose the next line; return whether there is a way down."""
        slope = self._steep(self.at, self.slope)
        if not slope.isfinite().all() or not slope.any():
            return False
        among = free(self.at, slope, 0, 255)
        line = descent(slope, among, [(getattr(self, c), getattr(self, b)) for c, b in self._kept_pairs()])
        if float((line * slope).sum()) >= 0:
            self._forget()
            line = descent(slope, among, [])
        if not line.any():
            return False
        self.line, self.tries = line, 0
        self.length = 1.0 if self.pairs else FIRST / float(line.norm())
        return True

    def _kept_pairs(self) -> list[tuple[str, str]]:
        return list(zip(CHANGES, BENDS, strict=True))[MEMORY - self.pairs :]

    def _remember(self, change: Tensor, bend: Tensor) -> None:
        if not curved(change, bend):
            return
        for names, latest in ((CHANGES, change), (BENDS, bend)):
            kept = [*(getattr(self, name) for name in names[1:]), latest]
            for name, tensor in zip(names, kept, strict=True):
                setattr(self, name, tensor)
        self.pairs = min(self.pairs + 1, MEMORY)

    def _forget(self) -> None:
        for name in (*CHANGES, *BENDS):
            setattr(self, name, None)
        self.pairs, self.tries, self.length, self.line = 0, 0, 0.0, None

    def _restart(self) -> None:
        self.at, self.slope, self.loss_now, self.spent = self.base, self.base_slope, self.base_loss, 0
        self.trying = self.before
        self._forget()

    def _compare(self, tried: Tensor, scores: Tensor) -> None:
        """Show what was tried if it is the best so far; as long as nothing deceives, show the latest."""
        size = float((tried - self.original).square().mean().sqrt())
        if not self.taken(scores):
            if self.best == math.inf:
                self.judge(tried, scores)
            return
        if size >= self.best and self.kept:
            return
        shown = self.picture, self.after, self.rounded
        self.judge(tried, scores)
        survives = self.taken(self.rounded)
        if survives or (not self.kept and size < self.best):
            self.best, self.kept = size, survives
        else:
            self.picture, self.after, self.rounded = shown

    def _next(self) -> None:
        """End this search, and choose the weight of the next one."""
        if self.taken(self.trying):
            self.low, self.won = self.weight, max(self.won, self.weight)
            self.high = max(self.high, self.weight)
        else:
            self.high = self.weight
            self.low = min(self.low, self.weight)
        self.trial += 1
        if not self.over:
            self.weight = math.sqrt(self.low * self.high)
            self._restart()
