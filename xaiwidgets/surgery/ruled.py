"""The one autograd function that runs any operation as it is and hands its backward pass to a rule."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from xaiwidgets.errors import SurgeryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .keeper import Keeper
    from .ops import Op
    from .rules import Rule

#: Arguments before the tensors.
OWN = 5


class Ruled(torch.autograd.Function):
    """``output = run()`` forward; ``rule.backward(op, kept, upstream)`` backward."""

    @staticmethod
    def forward(
        ctx: Any,
        rule: Rule,
        op: Op,
        run: Callable[[], Any],
        running: Callable[[], bool],
        keeper: Keeper | None,
        *inputs: Tensor,
    ) -> Any:
        """Run the original call and keep what the rule wants of it, watched by a keeper if there is one."""
        ctx.set_materialize_grads(False)
        before = _before(op, inputs) if rule.inputs else ()
        output = run()
        if op.inplace:
            ctx.mark_dirty(inputs[0])
        outputs = output if isinstance(output, tuple) else (output,)
        indices = [tensor for tensor in outputs if isinstance(tensor, Tensor) and not tensor.is_floating_point()]
        if indices:
            ctx.mark_non_differentiable(*indices)
        kept = (rule.keep(op, outputs[0]), *before)
        ctx.boxes = None
        if keeper is None:
            ctx.save_for_backward(*kept)
        else:
            ctx.boxes = [None if tensor is None else keeper.keep(tensor) for tensor in kept]
        # without its inputs: an in-place op's input is its output, which would keep the whole graph alive in a circle
        ctx.rule, ctx.op, ctx.running, ctx.count = rule, replace(op, inputs=()), running, len(inputs)
        return output

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        """Apply the rule that was chosen in the forward pass."""
        if ctx.running():
            raise SurgeryError(
                "a gradient was asked for while the forward pass with backward rules is still running; "
                "leave the SurgeryMode first, then call torch.autograd.grad"
            )
        if upstream[0] is None:  # nothing reaches this operation
            return (None,) * (OWN + int(ctx.count))
        if ctx.boxes is None:
            kept, *inputs = ctx.saved_tensors
        else:
            kept, *inputs = (None if box is None else box.open() for box in ctx.boxes)
        op: Op = replace(ctx.op, inputs=tuple(inputs))
        gradients = ctx.rule.backward(op, kept, upstream[0])
        if len(gradients) != ctx.count:
            raise SurgeryError(
                f"the rule for {op.kind} returned {len(gradients)} gradients; "
                f"it must return one for each of its {ctx.count} inputs"
            )
        return (*(None,) * OWN, *gradients)


def _before(op: Op, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if not op.inplace:
        return inputs
    return (inputs[0].clone(), *inputs[1:])
