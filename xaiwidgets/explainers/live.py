"""What explainers share whose hyper-parameters may be moved while they run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from xaiwidgets.core.knobs import knobs_of
from xaiwidgets.errors import InvalidKnob


class Live:
    """The hyper-parameters of a run in force, and what was changed on the way.

    Attributes:
        method: as it is now.
        events: changes, as (first step made with it, name, old value, new value).
    """

    def __init__(self, method: Any) -> None:
        self.method = method
        self.events: tuple[tuple[int, str, Any, Any], ...] = ()

    def adopt(self, sent: Any, step: int) -> None:
        """Use what was sent into the generator from this step on: new values by name, or a method that has them.

        Raises:
            InvalidKnob: no such hyper-parameter, a value outside its domain, or one that only a new run can change.
        """
        if sent is None:
            return
        if not isinstance(sent, Mapping):
            if type(sent) is not type(self.method):
                raise InvalidKnob(
                    f"what is sent to a running {self.method.card.id} must be a dict of its live hyper-parameters, "
                    f"or a {type(self.method).__name__}; got {sent!r}."
                )
            sent = {k.name: getattr(sent, k.name) for k in knobs_of(sent)}
        self.method.card.check_names(sent)
        changed = dataclasses.replace(self.method, **sent)
        moved = []
        for spec in knobs_of(changed):
            old, new = getattr(self.method, spec.name), getattr(changed, spec.name)
            if old == new:
                continue
            if not spec.live:
                live = ", ".join(k.name for k in knobs_of(changed) if k.live)
                raise InvalidKnob(
                    f"{spec.name} must stay {old!r} while a run goes on; got {new!r}. These may be moved: {live}. "
                    "Start a new run to change it."
                )
            moved.append((step, spec.name, old, new))
        self.method, self.events = changed, (*self.events, *moved)
