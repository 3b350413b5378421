"""An explanation under way: it can be paused and go on, and live hyper-parameters can be moved while it runs."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.cards import card
from xaiwidgets.core.knobs import knobs_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.studio.lens import Lens

#: Of a method that is watched, pictures are shown at most this often a second; the last one always is.
FRAMES_A_SECOND = 15


class Going:
    """One run of a method.

    Attributes:
        turn: the question it answers. ``target``: in words.
        lens: what is asked by now: that of the beginning, with what was moved since.
        method: the hyper-parameters that were last given to the run.
        paused: a person wants it to rest. ``resting``: it does, and nobody works on it. ``over``: there is no more.
        result: the newest one.
    """

    def __init__(self, turn: int, lens: Lens, target: str, steps: Generator[Any, Any, None], method: Any) -> None:
        self.turn, self.lens, self.target, self.method = turn, lens, target, method
        self.live = frozenset(k.name for k in knobs_of(method) if k.live)
        self.paused = self.resting = self.over = False
        self.result: Attribution | None = None
        self._steps = steps
        self._due = 0.0

    def advance(self) -> Attribution | None:
        """Do one step with what is asked by now; return its result, or ``None`` at the end."""
        wanted = self.lens.make() if self.live and self.result is not None else self.method
        sent, self.method = (None if wanted == self.method else wanted), wanted
        try:
            self.result = next(self._steps) if sent is None else self._steps.send(sent)
        except StopIteration:
            self.over = True
            return None
        return self.result

    def takes(self, lens: Lens) -> bool:
        """Return whether this run can go over to another lens without beginning anew."""
        one, other = self.lens, lens
        if self.over or (one.image, one.asked, one.method) != (other.image, other.asked, other.method):
            return False
        return all(one.knob(k.name) == other.knob(k.name) for k in card(one.method).knobs if k.name not in self.live)

    @property
    def waiting(self) -> tuple[tuple[str, Any], ...]:
        """What was moved and acts from the next step on, as (name, value)."""
        wanted = self.lens.make()
        return tuple(
            (n, getattr(wanted, n)) for n in sorted(self.live) if getattr(wanted, n) != getattr(self.method, n)
        )

    def arrived(self) -> bool:
        """Return whether the result was made with what is asked by now; what is moved after the last step is late."""
        if self.result is None:
            return True
        made = self.result.provenance
        force = {**made.knobs, **{name: new for _, name, _, new in made.events}}
        return all(force[k.name] == self.lens.knob(k.name) for k in card(self.lens.method).knobs)

    def due(self) -> bool:
        """Return whether the newest picture is to be shown; steps in quick succession are thinned out."""
        now = time.monotonic()
        if self.live and now < self._due and self.result is not None and self.result.progress < 1:
            return False
        period = 1 / FRAMES_A_SECOND
        self._due = max(self._due, now - period) + period
        return True

    def close(self) -> None:
        """End the run; a step under way is ended by who does it."""
        self.over = True
        with contextlib.suppress(ValueError):
            self._steps.close()
