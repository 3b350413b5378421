"""DeepLIFT's multipliers of a smoothed network as a function of the picture that can be differentiated again.

A backward pass by rules has no derivative of its own: what a rule sends back is not the derivative of what went
forward, and autograd would follow the rules once more where it should follow the network. So there are two passes. The
first is the smoothed network itself on pictures and references, and keeps what went into every operation with a rule.
The second is a chain on the pictures alone whose multipliers are functions of what the first has kept: differentiating
them leads into the first pass, with its true derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from xaiwidgets.errors import NotApplicable

from .again import Again
from .deeplift import ELEMENTWISE, POOLING, DeepLiftPolicy
from .differences import first, halves
from .ops import TELLING, Op, classify, tensors_of
from .policy import substituted
from .smooth import RECTIFIERS, saving_hooks, slope, smooth

__all__ = ["multipliers"]

#: From a multiplier of what an operation gives to those of its live inputs, for the pictures.
Back = Callable[[Tensor], "tuple[Tensor | None, ...]"]


@dataclass(frozen=True)
class _Step:
    """An operation of the first pass.

    Attributes:
        name: of the operation. ``back``: how multipliers pass it; ``None`` is as a gradient does.
        smoothed: what stands for the output of a ReLU, on pictures and references.
    """

    name: str
    back: Back | None = None
    smoothed: Tensor | None = None


def multipliers(
    run: Callable[[Tensor], Tensor], images: Tensor, references: Tensor, beta: float, gates: str = "split"
) -> Tensor:
    """Return DeepLIFT's multipliers (Rescale) ``(N, C, H, W)`` of scores, with a graph back to the images.

    ReLUs are softplus_beta (Ghorbani et al. 2019, section 2), other activations as they are. Where an activation's
    input has hardly moved, its slope halfway is taken, which is exact to second order and has the right derivative.

    Args:
        run: from inputs ``(N, C, H, W)`` to scores ``(N,)``; called twice, the first time with images and references.
        images: inputs ``(N, C, H, W)``.
        references: as many.
        beta: sharpness of the softplus.
        gates: as in ``DeepLiftPolicy``.

    Raises:
        NotApplicable: an operation has no rule, or one that cannot be differentiated.
    """
    with torch.inference_mode(False), torch.enable_grad():
        batch = torch.cat([images, references])
        batch = batch if batch.requires_grad else batch.requires_grad_()
        with _First(beta, gates) as seen:
            seen.policy.start(batch)
            run(batch)
        leaf = images.detach().requires_grad_()
        with _Second(seen.steps):
            scores = run(leaf)
        if not scores.requires_grad:
            return torch.zeros_like(images)
        (found,) = torch.autograd.grad(scores.sum(), leaf, create_graph=True, allow_unused=True)
        return torch.zeros_like(images) if found is None else found


class _Mode(TorchFunctionMode):
    def __enter__(self) -> Any:
        self._hooks = saving_hooks()
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        op = None if func in TELLING else classify(func, args, kwargs)
        if op is None:
            return func(*args, **kwargs)
        if op.kind in RECTIFIERS and (not torch.is_grad_enabled() or saving_hooks() != self._hooks):
            raise _lacking(f"a {op.name} inside a checkpoint, an autograd.Function or no_grad")
        if not any(tensor.requires_grad for tensor in op.inputs):
            return func(*args, **kwargs)
        return self.live(op, func, args, kwargs)

    def live(self, op: Op, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run an operation that depends on the picture."""
        raise NotImplementedError


class _First(_Mode):
    """The smoothed network on pictures and references; keeps the steps."""

    def __init__(self, beta: float, gates: str) -> None:
        super().__init__()
        self.beta = beta
        self.policy = DeepLiftPolicy(gates=gates)
        self.steps: list[_Step] = []

    def __exit__(self, *reason: Any) -> None:
        super().__exit__(*reason)  # type: ignore[no-untyped-call]
        self.policy.finish()

    def live(self, op: Op, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Note how multipliers pass an operation, then run it."""
        self.policy.again = again = Again(func, args, kwargs, op.inputs)
        choice = self.policy.choose(op, "")
        step = _Step(op.name, *self._back(op, choice.label, again))
        self.steps.append(step)
        # a softplus takes as long as a convolution, so it is kept; what comes later may work in place
        output = func(*args, **kwargs) if step.smoothed is None else written(op, step.smoothed.clone())
        results = [op.inputs[0]] if op.kind == "setitem" else list(tensors_of(output))
        self.policy.seen(op, results, lambda new: func(*substituted(args, new), **substituted(kwargs, new)))
        return output

    def _back(self, op: Op, label: str | None, again: Again) -> tuple[Back | None, Tensor | None]:
        detached = op.kind == "identity" and op.name in {"detach", "detach_", "data"}
        if label in {"linear", "route"} and not detached:
            return None, None
        # its own copy: what comes later may work in place
        kept = [tensor.clone() for tensor in op.inputs]
        if label == "rescale" and op.kind in RECTIFIERS:
            return self._rectifier(kept[0], float(op.parameters.get("high", math.inf)))
        if label == "rescale" and len(kept) == 1 and op.kind in {"softmax", "log_softmax"}:
            dim, logarithm = int(op.parameters["dim"]), op.kind == "log_softmax"
            return lambda signal: (_softmax(kept[0], dim, signal, logarithm=logarithm),), None
        if label == "rescale" and len(kept) == 1 and op.kind in (ELEMENTWISE | {"pointwise", "div"}):
            return _element(kept[0], again), None
        if label == "cross-maximum" and op.kind in POOLING:
            return lambda signal: (_cross_maximum(again, kept[0], signal),), None
        if label in {"split", "gate constant"} and op.kind in {"mul", "matmul"}:
            gate = self.policy.gate_of(op) if label == "gate constant" else None
            return lambda signal: _split(torch.mul if op.kind == "mul" else torch.matmul, kept, signal, gate), None
        raise _lacking(op.name)

    def _rectifier(self, data: Tensor, high: float) -> tuple[Back, Tensor]:
        beta, output = self.beta, smooth(data, self.beta, high)

        def back(signal: Tensor) -> tuple[Tensor]:
            return (signal * _quotient(output, data, lambda u: slope(u, beta, high), beta),)

        return back, output


class _Second(_Mode):
    """The pictures alone; multipliers pass by the steps of the first pass."""

    def __init__(self, steps: Sequence[_Step]) -> None:
        super().__init__()
        self._steps = iter(steps)

    def live(self, op: Op, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run an operation, with the step that was kept of it for the way back."""
        step = next(self._steps, None)
        if step is None or step.name != op.name:
            raise _lacking("a forward pass that is another one for another picture")
        if step.back is None:
            return func(*args, **kwargs)
        made: list[type] = []

        def run() -> Any:
            if step.smoothed is not None:
                return halves(step.smoothed.detach())[0].clone()
            # in place or not, the network's own tensor is written by ``written``
            copies = {id(tensor): tensor.detach().clone() for tensor in op.inputs}
            found = func(*substituted(args, copies), **substituted(kwargs, copies))
            made.append(type(found))
            return found

        output = _Passed.apply(step.back, run, *op.inputs)  # type: ignore[no-untyped-call]
        return made[0](output) if isinstance(output, tuple) else written(op, output)


class _Passed(torch.autograd.Function):
    """``run()`` forward; backward what the step of the first pass says, a function that can be differentiated."""

    @staticmethod
    def forward(ctx: Any, back: Back, run: Callable[[], Any], *inputs: Tensor) -> Any:
        """Run the call; nothing of it is needed for the way back."""
        ctx.back, ctx.count = back, len(inputs)
        output = run()
        outputs = output if isinstance(output, tuple) else (output,)
        ctx.mark_non_differentiable(*(tensor for tensor in outputs if not tensor.is_floating_point()))
        return output

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the multipliers of the inputs."""
        return (None, None, *ctx.back(upstream[0]))


def written(op: Op, output: Tensor) -> Tensor:
    """Return the result, written to where the call would have written it."""
    place = op.inputs[0] if op.inplace else op.parameters.get("out")
    return place.copy_(output) if isinstance(place, Tensor) else output


def _element(data: Tensor, again: Again) -> Back:
    def run(values: Tensor) -> Tensor:
        return first(again(values.clone()))

    def sloping(values: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(run(values).sum(), values, create_graph=True)
        return found

    return lambda signal: (signal * _quotient(run(data), data, sloping, 1.0),)


def _quotient(output: Tensor, data: Tensor, sloping: Callable[[Tensor], Tensor], sharpness: float) -> Tensor:
    (here, there), (after, before) = halves(data), halves(output)
    change = here - there
    # below this, the slope halfway is nearer to the quotient, and to its derivative, than rounding leaves the quotient
    lost = change.abs() * sharpness < torch.finfo(change.dtype).eps ** 0.25
    return torch.where(lost, sloping((here + there) / 2), (after - before) / torch.where(lost, 1.0, change))


def _cross_maximum(again: Again, data: Tensor, signal: Tensor) -> Tensor:
    here, there = halves(data)
    leaf = data.detach().requires_grad_()
    winners = first(again(leaf))
    after, before = halves(first(again(data)))
    highest = torch.maximum(after, before)
    shares = torch.cat([signal * (highest - before), signal * (after - highest)])
    given = sum(halves(torch.autograd.grad(winners, leaf, shares, create_graph=True)[0]))
    still = here == there
    return torch.where(still, 0.0, given / torch.where(still, 1.0, here - there))


def _split(
    run: Callable[[Tensor, Tensor], Tensor], factors: Sequence[Tensor], signal: Tensor, gate: int | None
) -> tuple[Tensor | None, ...]:
    middles = [torch.lerp(*halves(tensor), 0.5) for tensor in factors]
    found = torch.autograd.grad(run(*middles), middles, signal, create_graph=True)
    return tuple(None if index == gate else part for index, part in enumerate(found))


def _softmax(data: Tensor, dim: int, signal: Tensor, *, logarithm: bool) -> Tensor:
    """Return what ``differences.softmax_multipliers`` does, as a function that can be differentiated."""
    logs = data.log_softmax(dim)
    means = _quotient(logs.exp(), logs, torch.exp, 1.0)
    weights = means / means.sum(dim=dim, keepdim=True)
    given = signal if logarithm else signal * means
    return given - weights * given.sum(dim=dim, keepdim=True)


def _lacking(what: str) -> NotApplicable:
    return NotApplicable("deeplift_rescale", "operations whose multipliers can be differentiated", f"it has {what}")
