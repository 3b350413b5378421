"""Tensors that a backward pass will need, kept as they are now: copied only if something is about to overwrite them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.errors import SurgeryError

if TYPE_CHECKING:
    from torch import Tensor


class Box:
    """One kept tensor."""

    __slots__ = ("_value", "_version")

    def __init__(self, value: Tensor) -> None:
        # detached: a result kept by the node that made it would keep the whole graph alive in a circle
        self._value, self._version = value.detach(), value._version

    def copy(self) -> None:
        """Part from the tensor that was kept."""
        self._value = self._value.clone()
        self._version = self._value._version

    def renew(self) -> None:
        """Take the tensor as it is now: marking a result as changed in place counts as one more change."""
        self._version = self._value._version

    def open(self) -> Tensor:
        """Return the tensor as it was when it was kept.

        Raises:
            SurgeryError: it was overwritten unseen.
        """
        if self._value._version != self._version:
            raise SurgeryError(
                "the network overwrites an intermediate result in a way that cannot be followed (an out= argument or "
                "an operation of its own); write it out of place to explain it with rules"
            )
        return self._value


class Keeper:
    """The boxes of one forward pass, by the memory that they share with the network's tensors."""

    def __init__(self) -> None:
        self._boxes: dict[int, list[Box]] = {}

    def keep(self, value: Tensor) -> Box:
        """Return a box with this tensor."""
        box = Box(value)
        self._boxes.setdefault(value.untyped_storage().data_ptr(), []).append(box)
        return box

    def overwrite(self, value: Tensor) -> None:
        """Copy what shares memory with a tensor that is about to be overwritten."""
        for box in self._boxes.pop(value.untyped_storage().data_ptr(), ()):
            box.copy()

    def overwritten(self, value: Tensor) -> None:
        """Take the boxes made by an operation in place as they are now that it has ended."""
        for box in self._boxes.get(value.untyped_storage().data_ptr(), ()):
            box.renew()

    def forget(self) -> None:
        """Stop watching; the boxes stay with those who hold them."""
        self._boxes.clear()
