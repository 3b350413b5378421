"""What all runs of synthesis share: counting steps, moved hyper-parameters, curves, and going on from a saved state."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from xaiwidgets.core.knobs import knobs_of
from xaiwidgets.core.results import Exhibit, Synthesis
from xaiwidgets.errors import InvalidKnob, InvalidTarget
from xaiwidgets.model.digest import weights_digest

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.passes import Gradients
    from xaiwidgets.model.targets import Goal

#: A change of a live hyper-parameter: (first step made with it, name, old value, new value).
Event = tuple[int, str, Any, Any]


@dataclass(frozen=True, eq=False)
class Saved:
    """A run after ``step`` steps: plain arrays and numbers, safe to pickle.

    Attributes:
        method: id of the method. ``shape``: of the network's input. ``target``: what is made.
        weights: digits that stand for the network's weights: gradients that are kept are of no use to another.
        step: how many steps were done. ``stopped``: the run cannot go on.
        arrays: what the run keeps as tensors, by name. ``values``: what else it keeps.
        random: state of the run's private random numbers.
        curves: what was measured after every step; the objective is the first.
        notes, events: as in ``Synthesis``. ``knobs``: all hyper-parameters in force, by name.
    """

    method: str
    shape: tuple[int, ...]
    weights: str
    target: Goal
    step: int
    stopped: bool
    arrays: dict[str, NDArray[Any] | None]
    values: dict[str, Any]
    random: NDArray[np.uint8]
    curves: dict[str, NDArray[np.float32]]
    notes: tuple[str, ...]
    events: tuple[Event, ...]
    knobs: dict[str, Any]


@dataclass(frozen=True)
class Resumable:
    """What a method inherits whose runs can go on from a result's ``state``."""

    resume_from: Saved | None = field(default=None, repr=False, compare=False, kw_only=True)

    def resume(self, state: Saved) -> Self:
        """Return this method going on from a result's ``state``, bit for bit on the CPU.

        Live hyper-parameters may differ from those of the state, and ``iterations`` may be larger to go on past the
        end.
        """
        return dataclasses.replace(self, resume_from=state)


class Run(ABC):
    """A run in progress; private to the generator that drives it. Tensors are replaced, never changed in place.

    A method makes a subclass with ``begin``, ``advance`` and ``pixels``, and names in ``ARRAYS`` and ``VALUES`` all
    that it keeps from one step to the next.

    Attributes:
        method: the hyper-parameters in force. ``step``: how many steps were done.
        photo: network input ``(1, C, H, W)`` of the photo, if one was given.
        random: private random numbers; whatever is drawn comes from here.
    """

    #: Names of attributes that hold a tensor or ``None``, and of those that hold numbers, words or tuples of them.
    ARRAYS: ClassVar[tuple[str, ...]] = ()
    VALUES: ClassVar[tuple[str, ...]] = ()
    #: Hyper-parameters that are not live and may differ all the same when a run goes on.
    FREE: ClassVar[tuple[str, ...]] = ("iterations",)

    def __init__(self, method: Any, model: Model, target: Goal, photo: Tensor | None = None) -> None:
        import torch

        self.method, self.model, self.target, self.photo = method, model, target, photo
        self.random = torch.Generator().manual_seed(int(getattr(method, "seed", 0)))
        self.step, self.stopped = 0, False
        self.notes: tuple[str, ...] = ()
        self.events: tuple[Event, ...] = ()
        self._curves: dict[str, list[float]] = {}

    @abstractmethod
    def begin(self) -> None:
        """Set all that is kept to what it is before the first step."""

    @abstractmethod
    def advance(self) -> None:
        """Do one step, and ``log`` what was measured; or ``stop``."""

    @abstractmethod
    def pixels(self) -> NDArray[np.float32]:
        """Return the picture as ``(H, W, 3)`` in [0, 1]."""

    @property
    def unit(self) -> str:
        """What the objective is measured in."""
        return self.target.unit

    def terms(self) -> dict[str, float]:
        """Return what is known of this step beside what was logged, by name."""
        return {}

    def beside(self) -> tuple[Exhibit, ...]:
        """Return the pictures that stand beside this one."""
        return ()

    def adopted(self, old: Any) -> None:  # noqa: B027 - most have nothing to do
        """Do what must be done when live hyper-parameters differ from those of ``old``; nothing by default."""

    @property
    def planned(self) -> int:
        """How many steps there are to be."""
        return int(self.method.iterations)

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do."""
        return self.stopped or self.step >= self.planned

    def log(self, objective: float, **measured: float) -> None:
        """Count a step, and keep what was measured after it. Every step of a run logs the same names."""
        self.step += 1
        for name, value in {"objective": objective, **measured}.items():
            self._curves.setdefault(name, []).append(float(value))

    @property
    def measures(self) -> dict[str, float]:
        """What was measured after the last step, by name; empty before the first."""
        return {name: values[-1] for name, values in self._curves.items()}

    def note(self, words: str) -> None:
        """Add a note, unless it was made before."""
        self.notes += () if words in self.notes else (words,)

    def stop(self, words: str) -> None:
        """End the run here, and say why and what would work."""
        self.stopped = True
        self.note(f"Stopped after {self.step} steps: {words}.")

    def ask(self, images: Tensor, target: Goal | None = None, **options: Any) -> Gradients:
        """Return score and gradient of network inputs ``(N, C, H, W)``; the pass ends where the score is read."""
        wanted = target or self.target
        whole = getattr(wanted, "whole", False)
        early = (
            bool(wanted.layers)
            and not whole
            and all(self.model.layer(n).shape != (self.model.classes,) for n in wanted.layers)
        )
        return self.model.gradient(images, wanted, early=early, **options)

    def adopt(self, method: Any) -> None:
        """Use these live hyper-parameters from the next step on, and log what changed.

        Raises:
            InvalidKnob: not a method of this kind, or a hyper-parameter differs that only a new run can change.
        """
        if type(method) is not type(self.method):
            raise InvalidKnob(
                f"what is sent to a running synthesis must be a {type(self.method).__name__}; got {method!r}."
            )
        old, self.method = self.method, method
        self._log_changes({k.name: getattr(old, k.name) for k in knobs_of(old)})
        self.adopted(old)

    def result(self) -> Synthesis:
        """Return the picture and all that is known of it; nothing in it changes when the run goes on."""
        curves = self.curves()
        terms = self.measures | self.terms()
        return Synthesis(
            image=self.pixels(),
            score=terms.get("objective", math.nan),
            unit=self.unit,
            curve=curves.get("objective", np.zeros(0, np.float32)),
            step=self.step,
            progress=1.0 if self.over else self.step / self.planned,
            terms=terms,
            events=self.events,
            notes=self.notes,
            state=self.save(),
            curves={name: curve for name, curve in curves.items() if name != "objective"},
            beside=self.beside(),
        )

    def curves(self) -> dict[str, NDArray[np.float32]]:
        """Return what was measured after every step, by name; the objective is the first."""
        return {name: np.asarray(values, np.float32) for name, values in self._curves.items()}

    def save(self) -> Saved:
        """Return what it takes to go on from here."""
        return Saved(
            method=type(self.method).card.id,
            shape=self.model.input_shape,
            weights=weights_digest(self.model),
            target=self.target,
            step=self.step,
            stopped=self.stopped,
            arrays={name: _array(getattr(self, name)) for name in self.ARRAYS},
            values={name: getattr(self, name) for name in self.VALUES},
            random=self.random.get_state().numpy(),
            curves=self.curves(),
            notes=self.notes,
            events=self.events,
            knobs={k.name: getattr(self.method, k.name) for k in knobs_of(self.method)},
        )

    def array_names(self) -> tuple[str, ...]:
        """Return the names of all arrays that a state of this run has."""
        return self.ARRAYS

    def restore(self, saved: Saved) -> None:
        """Go on as it was; live hyper-parameters may differ, and ``iterations`` too.

        Raises:
            InvalidTarget: the state belongs to another target.
            InvalidKnob: it is none, or of another method, network or version, or a fixed hyper-parameter differs.
        """
        import torch

        _check(saved, type(self.method).card.id, self.target, self.model)
        self._check_names(saved)
        like = self.model.like
        for name in self.ARRAYS:
            array = saved.arrays[name]
            setattr(self, name, None if array is None else torch.from_numpy(array.copy()).to(like.device))
        for name in self.VALUES:
            setattr(self, name, saved.values[name])
        self.random.set_state(torch.from_numpy(saved.random.copy()))
        self.step, self.stopped, self.notes, self.events = saved.step, saved.stopped, saved.notes, saved.events
        self._curves = {name: [float(v) for v in curve] for name, curve in saved.curves.items()}
        self._log_changes(saved.knobs, free=self.FREE)

    def go_on(self, saved: Saved) -> None:
        """Restore a state, and do what must be done when live hyper-parameters differ: as if they had been sent."""
        self.restore(saved)
        old = dataclasses.replace(self.method, **saved.knobs)
        if any(knob.live and getattr(old, knob.name) != getattr(self.method, knob.name) for knob in knobs_of(old)):
            self.adopted(old)

    def _check_names(self, saved: Saved) -> None:
        """Raise unless a state, which may come from a file, has all that this version keeps, and no more."""
        odd = set(self.array_names()) ^ set(saved.arrays)
        odd |= set(self.VALUES) ^ set(saved.values)
        odd |= {knob.name for knob in knobs_of(self.method)} ^ set(saved.knobs)
        if odd:
            raise InvalidKnob(
                f"state must be of this version of {saved.method}; {', '.join(sorted(odd))} differ. Start a new run, "
                "from its picture with start='photo' where the method has it."
            )

    def _log_changes(self, old: dict[str, Any], free: tuple[str, ...] = ()) -> None:
        """Log what differs from ``old``; only live hyper-parameters and those in ``free`` may."""
        for knob in knobs_of(self.method):
            before, now = old[knob.name], getattr(self.method, knob.name)
            if before == now or (not knob.live and knob.name in free):
                continue
            if not knob.live:
                raise InvalidKnob(
                    f"{knob.name} must stay {before!r} while a run goes on; got {now!r}. Start a new run to change it."
                )
            self.events += ((self.step + 1, knob.name, before, now),)


def play(
    kind: type[Run], method: Any, model: Model, target: Goal, photo: Tensor | None = None
) -> Generator[Synthesis, Any, None]:
    """Yield a run's result after every step; live hyper-parameters of a method that is sent in act from the next on."""
    run = kind(method, model, target, photo)
    if method.resume_from is None:
        run.begin()
    else:
        run.go_on(method.resume_from)
    if run.over:
        yield run.result()
    while not run.over:
        run.advance()
        sent = yield run.result()
        if sent is not None:
            run.adopt(sent)


def _array(tensor: Tensor | None) -> NDArray[Any] | None:
    """Return a read-only array that shares the memory, since a run's tensors are never changed in place."""
    if tensor is None:
        return None
    array: NDArray[Any] = tensor.detach().cpu().numpy().view()
    array.flags.writeable = False
    return array


def _check(saved: Any, method: str, target: Goal, model: Model) -> None:
    if not isinstance(saved, Saved):
        raise InvalidKnob(f"state must be the .state of an earlier result; got {type(saved).__name__}.")
    if saved.method != method:
        raise InvalidKnob(f"state must be that of a run of {method}; got one of {saved.method}.")
    if saved.shape != model.input_shape:
        raise InvalidKnob(
            f"state must hold pictures of shape {model.input_shape}; got {saved.shape}, of another network."
        )
    if saved.weights != weights_digest(model):
        raise InvalidKnob(
            f"state must be that of a run on {model.name} with the weights it has now; got one of other weights. To go "
            "on from its picture, start a new run with start='photo' and the picture as image=."
        )
    if target != saved.target:
        raise InvalidTarget(
            f"target must be that of the saved run, {saved.target.name!r}; got {target.name!r}. To go on from its "
            "picture with another target, start a new run with start='photo' and the picture as image=."
        )
