"""Named activations: inert hooks on the private skeleton that act only while a tape asks for their module.

Which module is running, and what it gives, is kept on a ``ContextVar`` tape, so two threads on one skeleton never see
each other's activations, and nothing is left behind when a pass raises. What is to be around the calls themselves, so
as to answer in their place, is kept in the same way.
"""

from __future__ import annotations

import weakref
from collections import Counter
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor, nn

_TAPE: ContextVar[Tape | None] = ContextVar("xaiwidgets_tape", default=None)
#: Called with (name, what runs the call) for every module call, in its place.
_AROUND: ContextVar[Callable[[str, Callable[[], Any]], Any] | None] = ContextVar("xaiwidgets_around", default=None)


class Reached(Exception):  # noqa: N818 - not an error
    """All that is wanted was recorded; what comes after need not be computed."""


@dataclass
class Tape:
    """What one pass records.

    Attributes:
        wanted: names of the layer calls to keep (``name`` or, from a module's second call on, ``name#2``).
        differentiable: keep tensors that a gradient can be taken of.
        on_output: called with (name, output) after every module call; used once, when a model is traced.
        replaced: outputs that take the place of a layer call's own, by name.
        early: end the pass with ``Reached`` once all that is wanted was kept.
        records: what was kept, by name.
    """

    wanted: frozenset[str] = frozenset()
    differentiable: bool = False
    on_output: Callable[[str, Any], None] | None = None
    replaced: Mapping[str, Tensor] = field(default_factory=dict)
    early: bool = False
    records: dict[str, Tensor] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    path: list[str] = field(default_factory=list)

    def where(self) -> str:
        """Return the dotted name of the module that is running, or an empty string for the root."""
        return self.path[-1] if self.path else ""

    def leave(self, name: str, output: Any) -> Any:
        """Note that a module call has ended; return its replacement output, or ``None`` to keep it."""
        # what a caught exception has left behind goes, too
        while self.path and self.path.pop() != name:
            pass
        self.calls[name] += 1
        call = name if self.calls[name] == 1 else f"{name}#{self.calls[name]}"
        if self.on_output is not None:
            self.on_output(call, output)
        if call in self.replaced:
            return self.replaced[call].clone()  # what comes next may work in place
        if call not in self.wanted or not isinstance(output, torch.Tensor):
            return None
        if self.differentiable and not output.requires_grad:
            # nothing before this layer needs a gradient, so the graph starts here
            output = output.detach().requires_grad_()
        self.records[call] = output
        if self.early and self.records.keys() >= self.wanted:
            raise Reached
        # the next operation may work in place: it gets its own copy, the record stays as the layer gave it
        return output.clone()


class recording:  # noqa: N801
    """Context in which passes of the current thread write to ``tape``."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape

    def __enter__(self) -> Tape:
        self.token = _TAPE.set(self.tape)
        return self.tape

    def __exit__(self, *_: object) -> None:
        _TAPE.reset(self.token)


@contextmanager
def around_calls(run: Callable[[str, Callable[[], Any]], Any]) -> Iterator[None]:
    """Context in which module calls of the current thread are ``run(name, call)``: its result is taken as theirs."""
    token = _AROUND.set(run)
    try:
        yield
    finally:
        _AROUND.reset(token)


def install(skeleton: nn.Module) -> None:
    """Put one inert pair of hooks on every named module of a private skeleton, and one inert way around its calls."""
    for name, module in _named(skeleton):
        # hooks are inside: one that a user put there has done its work in what a call has given
        module.__dict__["_call_impl"] = _around(name, module)
        module.register_forward_pre_hook(_enter(name))
        module.register_forward_hook(_leave(name))


def _named(skeleton: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    inner = {
        f"{name}.{part}"
        for name, module in skeleton.named_modules()
        if getattr(module, "whole", False)
        for part, _ in module.named_modules()
        if part
    }
    return ((name, module) for name, module in skeleton.named_modules() if name and name not in inner)


def _around(name: str, module: nn.Module) -> Callable[..., Any]:
    me = weakref.ref(module)  # else the module would be kept by itself, and its weights with it

    def call(*args: Any, **kwargs: Any) -> Any:
        found: Any = me()
        plain = type(found)._call_impl
        run = _AROUND.get()
        if run is None:
            return plain(found, *args, **kwargs)
        return run(name, lambda: plain(found, *args, **kwargs))

    return call


def _enter(name: str) -> Callable[[nn.Module, Any], None]:
    def hook(_module: nn.Module, _inputs: Any) -> None:
        tape = _TAPE.get()
        if tape is not None:
            tape.path.append(name)

    return hook


def _leave(name: str) -> Callable[[nn.Module, Any, Any], Any]:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        tape = _TAPE.get()
        return None if tape is None else tape.leave(name, output)

    return hook
