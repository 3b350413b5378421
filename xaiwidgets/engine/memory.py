"""How much memory a pass takes at its peak, counted while it runs."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that operations of this thread have made and that are still held.

    Attributes:
        now: bytes held at this moment. ``peak``: the most there were.

    What was there before, such as weights, does not count; nor does scratch memory inside an operation.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._held: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and count what it has made."""
        kwargs = kwargs or {}
        given = {s for tensor in _tensors((*args, *kwargs.values())) if (s := _key(tensor)) is not None}
        output = func(*args, **kwargs)
        for tensor in _tensors(output):
            key = _key(tensor)
            if key is None or key in given or key in self._held:  # a view, or written in place
                continue
            storage = tensor.untyped_storage()
            size = storage.nbytes()
            self._held.add(key)
            self.now += size
            weakref.finalize(storage, self._gone, key, size)
        self.peak = max(self.peak, self.now)
        return output

    def _gone(self, key: int, size: int) -> None:
        self._held.discard(key)
        self.now -= size


def peak_of(run: Callable[[], Any]) -> int:
    """Return the bytes that a call holds at its peak, beyond what was there before."""
    with Live() as live:
        run()
    return int(live.peak)


def _tensors(values: Any) -> list[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        return [values]
    if isinstance(values, (tuple, list)):
        return [tensor for value in values for tensor in _tensors(value)]
    return []


def _key(tensor: torch.Tensor) -> int | None:
    try:
        return int(tensor.untyped_storage()._cdata)
    except (RuntimeError, NotImplementedError):  # a layout without a storage of its own
        return None
