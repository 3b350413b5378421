"""The space in which a photo is changed: gray levels of 0 to 255, in which a photo of 8 bits is whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.errors import InvalidImage

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model

#: A level that is nearer than this to a whole number is one: the way through normalization cost it that much.
SNAP = 1e-3


class GrayLevels:
    """Pictures ``(N, C, H, W)`` of one model's input size in gray levels; no autograd here.

    Changes by whole levels are exact here, and so are black and white, which they would not be in normalized values.
    """

    def __init__(self, model: Model) -> None:
        import torch

        self.network = model.like
        # finer than short numbers of a network are: levels are whole, and squares are summed
        kind, device = torch.promote_types(model.like.dtype, torch.float32), model.like.device
        self.like = torch.empty(0, dtype=kind, device=device)
        self.shape = (1, *model.input_shape)
        preprocessing = model.preprocessing
        self.mean = torch.tensor(preprocessing.mean, dtype=kind, device=device).reshape(1, -1, 1, 1) * 255
        self.std = torch.tensor(preprocessing.std, dtype=kind, device=device).reshape(1, -1, 1, 1) * 255

    def of(self, photo: Tensor) -> Tensor:
        """Return the levels of a network input ``(1, C, H, W)``.

        Raises:
            InvalidImage: it has another shape.
        """
        if tuple(photo.shape) != self.shape:
            raise InvalidImage(f"image must be a network input of shape {self.shape}; got {tuple(photo.shape)}.")
        levels = plain(photo.detach().to(self.like) * self.std + self.mean).clamp(0, 255)
        whole = levels.round()
        return whole.where((levels - whole).abs() < SNAP, levels)

    def inputs(self, levels: Tensor) -> Tensor:
        """Return the network's inputs for pictures."""
        return ((levels - self.mean) / self.std).to(self.network)

    def per_level(self, gradient: Tensor) -> Tensor:
        """Return a derivative by the network's input as one by gray levels."""
        return plain(gradient.to(self.like) / self.std)

    def pixels(self, levels: Tensor) -> NDArray[np.float32]:
        """Return the first picture as float32 ``(H, W, 3)`` in [0, 1]; gray becomes three equal channels."""
        shown = (levels[0] / 255).clamp(0, 1).permute(1, 2, 0)
        return np.ascontiguousarray(shown.expand(-1, -1, 3).float().cpu().numpy())


def plain(tensor: Tensor) -> Tensor:
    """Return a copy in row-major order: sums and convolutions round differently in other orders of memory."""
    return tensor.new_empty(tensor.shape).copy_(tensor)
