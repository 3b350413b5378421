"""Full gradients as a policy: the ordinary gradient is sent back, and the share of every constant is written down.

For any operation ``y = F(x)`` and upstream gradient ``u``, ``<u, y> = <u, J·x> + <u, F(x) − J·x>``: the first part goes
on to the inputs, the second is the operation's bias term. Added up over all operations, the input's gradient times the
input and the bias terms give the score, whatever the network is made of (Srinivas & Fleuret 2019, section 3; their
explicit biases are the case of affine operations, their implicit ones that of single non-linear units).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from xaiwidgets.errors import SurgeryError

from .constants import Call, constants, met
from .ledger import total
from .policy import Choice, Policy
from .trace import TraceMode

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from torch import Tensor

    from .ops import Op

#: Kinds that are two-dimensional by definition, for maps whose way from the picture could not be followed.
MAPS = frozenset({"conv", "conv_transpose", "batch_norm"})


@dataclass(frozen=True)
class Term:
    """The share of one operation's constants in the scores.

    Attributes:
        layer: path of the module that ran it. ``kind``: of operation.
        rule: ``bias`` of a layer that has one, ``constant`` added in the forward, or ``implicit bias``.
        total: ``(N,)``, the sum of the shares.
        map: what ``take`` made of the shares by unit, or ``None`` for units without a place.
    """

    layer: str
    kind: str
    rule: str
    total: Tensor
    map: Tensor | None


class FullGradPolicy(Policy):
    """The ordinary gradient everywhere, watched.

    Args:
        take: what to keep of the bias terms ``(N, C, h, w)`` of an operation with spatial output.
        simple: hand ``take`` the upstream gradients of layers with a bias of their own in place of bias terms.

    Attributes:
        name: what errors call it.
    """

    name = "full gradients"
    ordinary = True

    def __init__(self, take: Callable[[Tensor], Tensor], *, simple: bool = False) -> None:
        super().__init__()
        self._take, self._simple = take, simple
        self._trace: TraceMode | None = None
        self._path = ""
        self._call: Call | None = None
        self._found: dict[int, Term] = {}
        self._count = 0
        self._images = 1

    def finish(self) -> None:
        """Let go of tensors when the forward pass has ended."""
        super().finish()
        self._trace, self._call = None, None

    @property
    def key(self) -> Hashable:
        """The forward pass is the same for all."""
        return self.name

    @property
    def terms(self) -> list[Term]:
        """The bias terms that the backward pass met, in the order of the forward pass."""
        return [self._found[number] for number in sorted(self._found)]

    def start(self, image: Tensor) -> None:
        """Note the picture, from which rows and columns are followed."""
        self._trace = TraceMode(image, lambda: "")
        self._images = len(image)

    def choose(self, op: Op, path: str) -> Choice:
        """Return the ordinary gradient, and note what will be overwritten."""
        self._call, self._path = met(op), path
        return Choice(self._call.rule)

    def seen(self, op: Op, outputs: list[Tensor], again: Callable[[dict[int, Tensor]], Any]) -> None:
        """Find the constant part of the operation, and listen for the gradient of its result."""
        if self._trace is not None:
            self._trace.follow(op, outputs)
        call, path, kind = self._call, self._path, op.kind
        self._call = None
        if call is None or call.rule == "gradient" or not any(output.requires_grad for output in outputs):
            return
        rule = call.rule
        for output, constant in zip(outputs, constants(call, outputs, again), strict=True):
            if not output.requires_grad:
                continue
            if output.ndim == 0 or len(output) % self._images:
                raise SurgeryError(
                    f"full gradients are told apart by image; {kind} at {path or 'the model itself'} gives "
                    f"{tuple(output.shape)} for {self._images} images. Explain one image at a time"
                )
            number, dims = self._count, self._dims(op, output)
            self._count += 1

            def note(
                signal: Tensor,
                number: int = number,
                constant: Tensor = constant,
                dims: tuple[int, int] | None = dims,
                own: bool = rule == "bias",
            ) -> None:
                product = signal * constant
                kept = None
                if dims is not None and (own or not self._simple):
                    kept = self._take(self._as_maps(signal if self._simple else product, dims))
                self._found[number] = Term(path, kind, rule, total(product.reshape(self._images, -1)), kept)

            _listen(output, note, inplace=op.inplace)

    def _dims(self, op: Op, output: Tensor) -> tuple[int, int] | None:
        """Return the dimensions of rows and columns, or ``None`` for a result without places."""
        dims = None if self._trace is None else self._trace.dims_of(output)
        if dims is None and op.kind in MAPS and output.ndim == 4:
            dims = (2, 3)
        return dims if dims is not None and output.shape[dims[0]] * output.shape[dims[1]] > 1 else None

    def _as_maps(self, values: Tensor, dims: tuple[int, int]) -> Tensor:
        """Return ``(N, C, h, w)`` of values with rows and columns at ``dims``."""
        moved = values.permute(*(dim for dim in range(values.ndim) if dim not in dims), *dims)
        return moved.reshape(self._images, -1, *moved.shape[-2:])


def _listen(output: Tensor, note: Callable[[Tensor], None], *, inplace: bool) -> None:
    """Call ``note`` with the gradient of a result as it is now."""
    base = output._base if inplace else None
    if base is None:
        output.register_hook(note)  # type: ignore[no-untyped-call]
        return
    # what reads the whole tensor does not pass by the view through which a part of it was overwritten
    size, stride, offset = output.size(), output.stride(), output.storage_offset() - base.storage_offset()
    whole, steps = base.size(), base.stride()

    def read(signal: Tensor) -> None:
        note(torch.empty_strided(whole, steps, dtype=signal.dtype, device=signal.device).copy_(signal).as_strided(
            size, stride, offset
        ))  # fmt: skip

    base.register_hook(read)  # type: ignore[no-untyped-call]
