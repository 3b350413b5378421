"""Doing a run again whose live hyper-parameters were moved: at the same steps, by the same values."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.knobs import knobs_of
from xaiwidgets.core.results import Synthesis
from xaiwidgets.errors import InvalidKnob

if TYPE_CHECKING:
    from collections.abc import Generator

#: More changes than this were not made by a person.
MOST_EVENTS = 10_000


def events_of(result: Any) -> tuple[tuple[int, str, Any, Any], ...]:
    """Return the changes of live hyper-parameters up to a result, each (first step made with it, name, old, new)."""
    found = result.events if isinstance(result, Synthesis) else result.details.get("events", ())
    return tuple(tuple(event) for event in found)


def steps_of(result: Any) -> int:
    """Return how many steps of a run a result has behind it; 0 of a method that does not count them."""
    return int(result.step if isinstance(result, Synthesis) else result.details.get("step", 0))


def replayed(run: Generator[Any, Any, None], method: Any, events: Any) -> Generator[Any, Any, None]:
    """Yield what a run of ``method`` gives when its hyper-parameters are moved as ``events`` say.

    Args:
        run: the method's results, at their beginning.
        method: as it began.
        events: as in ``Provenance.events``, or as JSON gives them back.

    Raises:
        InvalidKnob: no such events, or not of such a run.
    """
    waiting, sent, done = planned(method, events), None, 0
    latest = waiting[-1][0] if waiting else 0
    try:
        while True:
            try:
                result = next(run) if sent is None else run.send(sent)
            except StopIteration:
                break
            yield result
            sent, done = None, steps_of(result)
            while waiting and waiting[0][0] <= done + 1:
                sent = waiting.pop(0)[1]
        if latest > done:
            raise InvalidKnob(f"events must lie within the run: there is one at step {latest}, and it had {done}.")
    finally:
        run.close()


def planned(method: Any, events: Any) -> list[tuple[int, Any]]:
    """Return (step, the method from then on) for each change, in the order of the steps.

    Raises:
        InvalidKnob: they are no changes of live hyper-parameters of a run that began as ``method``.
    """
    live = [k.name for k in knobs_of(method) if k.live]
    found = []
    for event in _listed(events):
        step, name, old, new = event
        if name not in live:
            can = f"these can: {', '.join(live)}" if live else "none of its hyper-parameters can"
            raise InvalidKnob(
                f"events must move what can be moved while {method.card.id} runs; {name!r} cannot, {can}."
            )
        if getattr(method, name) != old:
            raise InvalidKnob(
                f"events must go on from the settings of their run: at step {step}, {name} was {old!r}; it is "
                f"{getattr(method, name)!r}. Pass the hyper-parameters of the same result."
            )
        method = dataclasses.replace(method, **{name: new})
        found.append((step, method))
    return found


def _listed(events: Any) -> list[tuple[int, str, Any, Any]]:
    """Return events with their parts checked for their kind, or raise ``InvalidKnob``."""
    expected = "events must be those of a result's provenance, each (step, name, old value, new value), by step"
    if not isinstance(events, (list, tuple)) or len(events) > MOST_EVENTS:
        raise InvalidKnob(f"{expected}; got {type(events).__name__}.")
    found: list[tuple[int, str, Any, Any]] = []
    for event in events:
        fits = isinstance(event, (list, tuple)) and len(event) == 4 and isinstance(event[1], str)
        if not fits or isinstance(event[0], bool) or not isinstance(event[0], int) or event[0] < 1:
            raise InvalidKnob(f"{expected}; got {str(event)[:80]!r}.")
        if found and event[0] < found[-1][0]:
            raise InvalidKnob(f"{expected}; step {event[0]} comes after step {found[-1][0]}.")
        found.append((event[0], event[1], event[2], event[3]))
    return found
