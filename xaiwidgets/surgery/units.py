"""Gates and filters at the outputs of all rectifiers: a thread-local mode that changes nothing on the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from xaiwidgets.errors import NotApplicable

from .ops import classify
from .smooth import RECTIFIERS, saving_hooks

__all__ = ["UnitMode", "Units"]


@dataclass(eq=False)
class Units:
    """What is done at the rectifiers of a network in each forward pass, and what the last pass showed there.

    Rectifiers are ReLU and ReLU6 however they are written, counted in the order in which they run.

    Attributes:
        gates: what each rectifier's output is multiplied by, or none. Constants: nothing is differentiated by them.
        bounds: for each rectifier a map; a gradient passes only where the output lies between 0 and it.
        outputs: of the rectifiers in the last differentiated pass, before gates.
        signals: the score's derivative by what each rectifier hands on, behind its gate, after the backward pass;
            ``None`` where none came back.
    """

    gates: Sequence[Tensor] = ()
    bounds: Sequence[Tensor] = ()
    outputs: list[Tensor] = field(default_factory=list)
    signals: list[Tensor | None] = field(default_factory=list)

    def __call__(self) -> UnitMode:
        """Return the mode of one forward pass."""
        return UnitMode(self)


class UnitMode(TorchFunctionMode):
    """Runs each rectifier as it is, then applies the gates and filters of ``Units``.

    Raises:
        NotApplicable: a rectifier runs where gates would be forgotten on the way back: inside a checkpoint, an own
            ``autograd.Function`` or ``no_grad``.
    """

    def __init__(self, units: Units) -> None:
        super().__init__()
        self.units = units
        self._count = 0

    def __enter__(self) -> UnitMode:
        self._differentiable, self._hooks = torch.is_grad_enabled(), saving_hooks()
        if torch.is_grad_enabled():
            self.units.outputs, self.units.signals = [], []
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation; at a rectifier, do what the units ask for."""
        kwargs = kwargs or {}
        op = classify(func, args, kwargs)
        if op is None or op.kind not in RECTIFIERS:
            return func(*args, **kwargs)
        if self._differentiable and (not torch.is_grad_enabled() or saving_hooks() != self._hooks):
            raise NotApplicable(
                "feedback_cnn",
                "every ReLU in the open: no checkpointing, no own autograd.Function, no no_grad inside the forward",
                f"the model hides a {op.name}",
                ("saliency", "grad_cam", "integrated_gradients"),
            )
        (data,), high = op.inputs, float(op.parameters.get("high", math.inf))
        written = data if op.inplace else op.parameters.get("out")
        data = data.clone() if isinstance(written, Tensor) else data  # its value is about to be written over
        output = functional.relu(data) if math.isinf(high) else functional.hardtanh(data, 0.0, high)
        result = self._treated(output)
        return written.copy_(result) if isinstance(written, Tensor) else result

    def _treated(self, output: Tensor) -> Tensor:
        units, number = self.units, self._count
        self._count += 1
        if output.requires_grad:
            if number < len(units.bounds):
                bound = units.bounds[number]
                inside = torch.ge(output.detach(), 0, out=torch.empty_like(output)) * (output.detach() <= bound)
                output.register_hook(lambda signal: signal * inside)  # type: ignore[no-untyped-call]
            units.outputs.append(output.detach())
            units.signals.append(None)
        result = output * units.gates[number] if number < len(units.gates) else output
        if output.requires_grad:
            if result is output:
                result = output.view_as(output)  # its own place in the graph: the filter acts behind it
            place = len(units.signals) - 1

            def note(signal: Tensor) -> None:
                units.signals[place] = signal.detach()

            result.register_hook(note)  # type: ignore[no-untyped-call]
        return result
