"""What a method costs before it is run, and the settings that fit a budget.

A probe times one pass of each sort and counts its memory, once a network. A method's passes times the time of a pass is
what it will take; a method whose passes are heavier or lighter than those of its sort says so in ``effort``, or in
``effort_on(model, size)`` where that depends on the network. What a run of it has really taken corrects the next
estimate.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.cards import cards, resolve
from xaiwidgets.core.knobs import MethodName, Range, knobs_of
from xaiwidgets.errors import InvalidKnob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from xaiwidgets.model.model import Model

#: Families whose backward pass has rules: each sort of pass is probed with one of its methods.
RULED = {"backprop": "guided_backprop", "relevance": "lrp"}
#: The sorts of passes that are probed, in the order of ``Pace``.
SORTS = ("forward", "forwards", "gradient", "gradients", "exact", "smoothed", "smoothed gradient", *RULED)
#: Sharpness of the softplus that is probed; any takes the same time.
SHARPNESS = 10.0
#: Passes up to which a method runs them one picture at a time.
FEW = 2
#: How often a pass is timed; the least time counts.
ROUNDS = 3
#: Halvings of a count or doublings of a stride until a budget is met.
MOST_TRIES = 40


@dataclass(frozen=True)
class Pass:
    """One pass of a sort.

    Attributes:
        seconds: for one image. ``memory``: bytes held at its peak for one image.
        batch: how many images a pass takes at once.
    """

    seconds: float
    memory: int
    batch: int = 1


@dataclass(frozen=True)
class Pace:
    """The passes of a network: forward and gradient, alone and in batches, and with backward rules by family.

    ``smoothed`` are a forward and a gradient pass of the network with a softplus for each ReLU, where it has any.
    ``observed`` holds, by method id, how many times its estimate a run has really taken.
    """

    forward: Pass
    forwards: Pass
    gradient: Pass
    gradients: Pass
    exact: Pass
    ruled: tuple[tuple[str, Pass], ...] = ()
    smoothed: tuple[Pass, Pass] | None = None
    observed: dict[str, float] = field(default_factory=dict, compare=False)

    def of_family(self, family: str) -> Pass | None:
        """Return the pass with the backward rules of a family, or ``None`` if its methods have none."""
        return dict(self.ruled).get(family)


@dataclass(frozen=True)
class Cost:
    """What one explanation takes.

    Attributes:
        forward: passes of one image. ``backward``: the same.
        seconds: of this machine. ``memory``: bytes at the peak, beyond what the network's weights take.
    """

    forward: int
    backward: int
    seconds: float
    memory: int

    def __str__(self) -> str:
        passes_ = f"{self.forward:,} forward" + (f", {self.backward:,} backward" if self.backward else "")
        time_ = f"about {self.seconds:.1f}\u00a0s" if self.seconds >= 0.1 else "under 0.1\u00a0s"
        return f"{passes_} passes, {time_}, {self.memory / 2**20:.0f}\u00a0MiB"


def passes(method: Any, model: Model, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (forward, backward) passes of one image that ``method`` takes on a picture of this size (H, W).

    A method whose number of passes depends on the network, such as one for each channel of a layer, says so in
    ``cost_on(model, size)``; its ``cost(size)`` is then the most it can take.
    """
    on = getattr(method, "cost_on", None)
    found: tuple[int, int] = method.cost(size) if on is None else on(model, size)
    return found


def cost(model: Model, method: Any, **knobs: Any) -> Cost:
    """Predict what a method will take on a model, from a probe of one pass of each sort.

    Args:
        model: from ``load_model`` or ``Model(module)``.
        method: an explainer's id with hyper-parameters as keywords, or an object.
        **knobs: hyper-parameters.

    Raises:
        InvalidKnob, UnknownMethod: as for ``explain``.
    """
    return predict(model, resolve(method, **knobs), pace(model))


def pace(model: Model) -> Pace:
    """Return the passes of a network, probed once for these weights; see ``pace_steps``."""
    found = None
    for found in pace_steps(model):  # noqa: B007
        pass
    if found is None:
        raise RuntimeError("a probe must end with what it has found")
    return found


def known_pace(model: Model) -> Pace | None:
    """Return what a probe has found before for these weights, or ``None``."""
    return _finished(model, _parts(model))


def pace_steps(model: Model) -> Iterator[Pace | None]:
    """Probe a network, with a pause after every pass; the last item is what was found, the others ``None``.

    What has been probed is kept: a probe that was closed half way goes on where it stopped.
    """
    parts = _parts(model)
    for name in SORTS:
        if name not in parts:
            made = _trial(model, name)
            parts[name] = None
            if made is not None:
                del parts[name]
                yield from _probe(parts, name, *made)
    yield _finished(model, parts)


def _parts(model: Model) -> dict[str, Pass | None]:
    found: dict[str, Pass | None] = model.remember(("pace",), dict)
    return found


def _finished(model: Model, parts: dict[str, Pass | None]) -> Pace | None:
    if set(parts) != set(SORTS):
        return None
    made: Pace = model.remember(("pace", "made"), lambda: _made(parts))
    return made


def _made(parts: dict[str, Pass | None]) -> Pace:
    plain = {name: part for name, part in parts.items() if name not in RULED and part is not None}
    ruled = tuple((name, part) for name, part in parts.items() if name in RULED and part is not None)
    smoothed = (plain["smoothed"], plain["smoothed gradient"]) if "smoothed gradient" in plain else None
    return Pace(
        plain["forward"],
        plain["forwards"],
        plain["gradient"],
        plain["gradients"],
        plain["exact"],
        ruled=ruled,
        smoothed=smoothed,
    )


def _trial(model: Model, name: str) -> tuple[int, Callable[[int], None]] | None:
    """Return how many images a pass of this sort takes, and what runs one; ``None`` where there is no such pass."""
    from xaiwidgets.engine.batching import batch_size
    from xaiwidgets.engine.run import missing
    from xaiwidgets.errors import XaiError
    from xaiwidgets.model.inspection import probe_like
    from xaiwidgets.surgery.smooth import Smoothing

    target = model.target(0)

    def images(count: int) -> Tensor:
        return probe_like(model.input_shape, count, model.like)

    if name in RULED:
        made = next(card for card in cards("explainer") if card.id == RULED[name])
        method = made.make()

        def explain(count: int) -> None:
            for _ in method.steps(model, images(count), target):
                pass

        try:
            if missing(made, model):
                return None
            explain(1)
        except XaiError:  # the rules refuse an operation of this network, and so will every method of the family
            return None
        return 1, explain
    if name.startswith("smoothed"):
        if "rectifier" not in model.offers:
            return None
        view = model.transformed(Smoothing(SHARPNESS), "with softplus for ReLU")
        if name == "smoothed":
            return 1, lambda count: _drop(view.logits(images(count)))
        return 1, lambda count: _drop(view.gradient(images(count), target))
    if name.startswith("forward"):
        return batch_size(model) if name == "forwards" else 1, lambda count: _drop(model.logits(images(count)))
    view = model.exactly() if name == "exact" else model
    count = batch_size(model, gradient=True) if name == "gradients" else 1
    return count, lambda count: _drop(view.gradient(images(count), target))


def _drop(_result: object) -> None:
    """Let go of what a probe has computed."""


def _probe(parts: dict[str, Pass | None], name: str, count: int, run: Callable[[int], None]) -> Iterator[None]:
    """Time a pass of ``count`` images round after round, count the memory of one, and write both down."""
    from xaiwidgets.engine.memory import peak_of
    from xaiwidgets.model.meter import uncounted

    times = []
    for number in range(ROUNDS + 1):
        with uncounted():
            start = time.perf_counter()
            run(count)
            times += [time.perf_counter() - start] * (number > 0)  # the first touches new memory
        yield
    with uncounted():
        memory = peak_of(lambda: run(1))
    parts[name] = Pass(min(times) / count, memory, count)
    yield


def predict(model: Model, method: Any, found: Pace) -> Cost:
    """Return what a method will take, given the network's passes."""
    size = model.input_shape[1:]
    forward, backward = passes(method, model, size)
    if hasattr(method, "chosen"):  # several methods, one after another
        each = [predict(model, one, found) for one in method.chosen(model)]
        seconds, memory = sum(one.seconds for one in each), max((one.memory for one in each), default=0)
        return Cost(forward, backward, seconds * found.observed.get(type(method).card.id, 1.0), memory)
    if hasattr(method, "softplus") and found.smoothed is not None:
        made = _smoothed(model, method, found, found.smoothed)
        return replace(made, seconds=made.seconds * found.observed.get(type(method).card.id, 1.0))
    base = _innermost(method)
    rules = found.of_family(type(base).card.family)
    if backward == 0:
        one = found.forward if forward <= FEW else found.forwards
        seconds, memory = forward * one.seconds, one.memory * one.batch
    elif rules is not None:  # a probe of the family is one forward and one backward pass with its rules
        more = max(forward - backward, 0)
        seconds, memory = backward * rules.seconds + more * found.forward.seconds, rules.memory
    else:
        alone = backward <= FEW or getattr(method, "alone", False)
        one = (found.exact if getattr(method, "exact", False) else found.gradient) if alone else found.gradients
        more = max(forward - backward, 0)  # a few are for a score each, many are batched
        ahead = found.forward if more <= FEW else found.forwards
        seconds = backward * one.seconds + more * ahead.seconds
        memory = max(one.memory * min(one.batch, max(backward, 1)), ahead.memory * min(ahead.batch, more))
    effort_on = getattr(method, "effort_on", None)
    seconds *= getattr(method, "effort", 1.0) if effort_on is None else effort_on(model, size)
    return Cost(forward, backward, seconds * found.observed.get(type(method).card.id, 1.0), memory)


def _smoothed(model: Model, method: Any, found: Pace, smooth: tuple[Pass, Pass]) -> Cost:
    """Return what a base takes on the network with a softplus for each ReLU.

    Its own passes, and what rounding off adds to each: forward, a softplus at every activation, which no batch makes
    cheaper; backward, its slope. With the gradient alone smoothed, that is no more than a backward rule.
    """
    size = model.input_shape[1:]
    forward, backward = passes(method, model, size)
    base = predict(model, resolve(method.base), found)
    if method.softplus.gradient_only:
        return Cost(forward, backward, base.seconds * method.effort, base.memory)
    ahead, there_and_back = smooth
    added = ahead.seconds - found.forward.seconds
    returned = there_and_back.seconds - found.exact.seconds - added
    seconds = base.seconds + base.forward * added + base.backward * returned
    seconds += (forward - base.forward) / 2 * (found.forward.seconds + ahead.seconds)  # the scores before and after
    plain, other = (found.exact, there_and_back) if base.backward else (found.forward, ahead)
    return Cost(forward, backward, max(seconds, base.seconds), round(base.memory * other.memory / plain.memory))


def observe(model: Model, method: Any, seconds: float) -> None:
    """Correct later estimates for this method by what a finished run of it took on this model."""
    found = known_pace(model)
    if found is not None and seconds > 0:
        name = type(method).card.id
        found.observed[name] = seconds * found.observed.get(name, 1.0) / predict(model, method, found).seconds


def _innermost(method: Any) -> Any:
    """Return what a wrapper explains with in the end, or the method itself."""
    names = [knob.name for knob in knobs_of(method) if isinstance(knob.domain, MethodName)]
    return _innermost(resolve(getattr(method, names[0]))) if names else method


def within(model: Model, method: Any, seconds: float, **knobs: Any) -> Any:
    """Return a method with its counts lowered, or its strides widened, so that it takes at most ``seconds``.

    What is asked for stays where it already fits. Where not even the least does, that is returned.

    Args:
        model: from ``load_model`` or ``Model(module)``.
        method: an explainer's id or an object.
        seconds: the budget.
        **knobs: hyper-parameters to start from.

    Raises:
        InvalidKnob: ``seconds`` is not a positive number.
    """
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 < seconds < float("inf"):
        raise InvalidKnob(f"seconds must be a positive number; got {seconds!r}. 10 is a good start.")
    return fit(model, resolve(method, **knobs), seconds, pace(model))


def fit(model: Model, method: Any, seconds: float, found: Pace) -> Any:
    """Return what ``within`` does, given the network's passes."""
    made = method
    for _ in range(MOST_TRIES):
        if predict(model, made, found).seconds <= seconds:
            break
        smaller = _smaller(made, model)
        if smaller is None:
            break
        made = smaller
    return made


def _smaller(method: Any, model: Model) -> Any | None:
    """Return the method with one step less work, or ``None`` if there is none."""
    size = model.input_shape[1:]
    before = sum(passes(method, model, size))
    changes: dict[str, Any] = {}
    for knob in knobs_of(method):
        domain, value = knob.domain, getattr(method, knob.name)
        if not isinstance(domain, Range) or not domain.integer:
            continue
        if domain.log and value > domain.low:
            changes[knob.name] = max(int(domain.low), int(value * 0.8))
        elif knob.name.startswith("stride") and value < min(domain.high, *size):
            changes[knob.name] = min(int(domain.high), *size, max(value + 1, round(value * 1.25)))
    tries = [{name: value} for name, value in changes.items() if not name.startswith("stride")]
    strides = {name: value for name, value in changes.items() if name.startswith("stride")}
    best, least = None, before
    for change in [*tries, *([strides] if strides else [])]:
        try:
            other = replace(method, **change)
            spent = sum(passes(other, model, size))
        except InvalidKnob:
            continue
        if spent < least:
            best, least = other, spent
    return best
