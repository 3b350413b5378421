"""Named activations: inert hooks on the private skeleton that act only while a tape asks for their module.

Which module is running, and what it gives, is kept on a ``ContextVar`` tape, so two threads on one skeleton never see
each other's activations, and nothing is left behind when a pass raises.
"""

from __future__ import annotations

from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

_TAPE: ContextVar[Tape | None] = ContextVar("xaiwidgets_tape", default=None)


@dataclass
class Tape:
    """What one pass records.

    Attributes:
        wanted: names of the layer calls to keep (``name`` or, from a module's second call on, ``name#2``).
        differentiable: keep tensors that a gradient can be taken of.
        on_output: called with (name, output) after every module call; used once, when a model is traced.
        records: what was kept, by name.
    """

    wanted: frozenset[str] = frozenset()
    differentiable: bool = False
    on_output: Callable[[str, Any], None] | None = None
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
        if call not in self.wanted or not isinstance(output, torch.Tensor):
            return None
        if self.differentiable and not output.requires_grad:
            # nothing before this layer needs a gradient, so the graph starts here
            output = output.detach().requires_grad_()
        self.records[call] = output
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


def install(skeleton: nn.Module) -> None:
    """Put one inert pair of hooks on every named module of a private skeleton."""
    for name, module in _named(skeleton):
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
