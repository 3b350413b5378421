"""Pictures with labels, as they come: pairs, data sets, the bundled digits, or the network's own answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import InvalidImage, InvalidTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from xaiwidgets.model.model import Model

WANTED = (
    "images must be pairs (picture, label), a data set or loader of such pairs, or pictures without labels (a folder, "
    "a list, or the name of a reference set), which the network itself then labels"
)


@dataclass(frozen=True, eq=False)
class Examples:
    """Pictures with what a network should answer.

    Attributes:
        count: how many. ``own``: the answers are those of the network that is looked at, not labels.
        read: returns the input ``(1, C, H, W)`` of one, by its number.
        labels: index of the right class of each, or ``None`` where the network is asked.
    """

    count: int
    read: Callable[[int], Tensor]
    labels: tuple[int, ...] | None = None

    @property
    def own(self) -> bool:
        """Whether the answers are the network's own."""
        return self.labels is None

    def inputs(self, numbers: Sequence[int]) -> Tensor:
        """Return the inputs ``(N, C, H, W)`` of some."""
        import torch

        return torch.cat([self.read(number) for number in numbers])

    def part(self, numbers: Sequence[int]) -> Examples:
        """Return some of them."""
        chosen = tuple(numbers)
        labels = None if self.labels is None else tuple(self.labels[number] for number in chosen)
        return Examples(len(chosen), lambda number: self.read(chosen[number]), labels)


def takes_digits(model: Model) -> bool:
    """Return whether a network has the shape of the bundled digit nets, and their classes."""
    return model.input_shape == (1, 48, 48) and [model.labels.short(i) for i in range(model.classes)] == list(
        "0123456789"
    )


def bundled(model: Model, split: str, count: int | None = None) -> Examples:
    """Return canvases with one digit each, of the training or the test split.

    Raises:
        InvalidImage: the network does not take them.
    """
    from xaiwidgets.data.digits import digits

    if not takes_digits(model):
        raise InvalidImage(f"{WANTED}; got none, and only networks of the bundled digits have data of their own.")
    found = digits("single", split, count)  # type: ignore[arg-type]
    return Examples(
        len(found), lambda number: model.from_pixels(found.images[number][..., None]), tuple(found.labels.tolist())
    )


def examples(model: Model, images: Any) -> Examples:
    """Return what was given as examples, see ``WANTED``.

    Raises:
        InvalidImage: it is something else, there are too few, or a picture cannot be read.
        InvalidTarget: a label is no class of the network.
    """
    from xaiwidgets.model.references import ReferenceSet, find_references, reference_sets, unnamed

    images = getattr(images, "dataset", images)  # a loader
    if isinstance(images, str) and images in {one.name for one in reference_sets()}:
        images = find_references(images, "images")
    elif isinstance(images, str) or hasattr(images, "__fspath__"):
        images = unnamed(images)
    if isinstance(images, ReferenceSet):
        if images.baselines:
            raise InvalidImage(f"{WANTED}; {images.name!r} holds plain baselines.")
        return Examples(len(images), lambda number: model.input(images.picture(number)))
    if not hasattr(images, "__len__") or not hasattr(images, "__getitem__") or len(images) < 2:
        few = "fewer than two" if hasattr(images, "__len__") else type(images).__name__
        raise InvalidImage(f"{WANTED}; got {few}.")
    if _is_pair(images[0]):
        labels = tuple(_label(model, images[number], number) for number in range(len(images)))
        return Examples(len(images), lambda number: _input(model, images[number][0], number), labels)
    return Examples(len(images), lambda number: _input(model, images[number], number))


def _is_pair(item: Any) -> bool:
    return isinstance(item, (tuple, list)) and len(item) == 2


def _label(model: Model, item: Any, number: int) -> int:
    if not _is_pair(item):
        raise InvalidImage(f"{WANTED}; number {number} is no pair.")
    label = item[1].item() if hasattr(item[1], "item") else item[1]
    try:
        return model.labels.index(label)
    except InvalidTarget as error:
        raise InvalidTarget(f"images[{number}]: {error}") from error


def _input(model: Model, picture: Any, number: int) -> Tensor:
    """Return the input of a picture; a tensor is taken for one that is normalized already."""
    import torch

    if not isinstance(picture, torch.Tensor):
        return model.input(picture)
    if picture.shape != model.input_shape:
        raise InvalidImage(
            f"images[{number}] must be an input of shape {model.input_shape}, since it is a tensor; got "
            f"{tuple(picture.shape)}. Other pictures are brought to size: paths, PIL images, arrays."
        )
    return picture[None].to(model.like)
