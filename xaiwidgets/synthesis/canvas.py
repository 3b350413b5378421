"""The space a picture is synthesized in: gray levels of 0 to 255 less the mean color, and the ways in and out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidImage, InvalidKnob

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Generator, Tensor

    from xaiwidgets.model.model import Model

#: Standard deviation of the start ``noise``, in gray levels (Yosinski et al. 2015).
NOISE = 10.0
STARTS = ("noise", "mean", "zero", "photo")


class Canvas:
    """Pictures ``(1, C, H, W)`` of one model's input size, in gray levels less the mean color; no autograd here.

    They are kept in float32 or float64, also for a network with shorter numbers: a step may be smaller than the
    difference of two neighbors there, and sums of squares larger than all of them.
    """

    def __init__(self, model: Model) -> None:
        import torch

        self.network = model.like
        kind, device = torch.promote_types(model.like.dtype, torch.float32), model.like.device
        self.like = torch.empty(0, dtype=kind, device=device)
        self.shape = (1, *model.input_shape)
        preprocessing = model.preprocessing
        self.mean = torch.tensor(preprocessing.mean, dtype=kind, device=device).reshape(1, -1, 1, 1) * 255
        self.std = torch.tensor(preprocessing.std, dtype=kind, device=device).reshape(1, -1, 1, 1) * 255
        self.low, self.high = -self.mean, 255 - self.mean

    def start(self, name: str, photo: Tensor | None, random: Generator) -> Tensor:
        """Return the picture to start from; ``photo`` is a network input ``(1, C, H, W)``.

        Raises:
            InvalidKnob: a photo is wanted and none was given. InvalidImage: the photo has another shape.
        """
        import torch

        if name == "photo":
            if photo is None:
                options = ", ".join(s for s in STARTS if s != "photo")
                raise InvalidKnob(f"start='photo' needs a photo, and none was given: pass image=, or start={options}.")
            if tuple(photo.shape) != self.shape:
                raise InvalidImage(f"image must be a network input of shape {self.shape}; got {tuple(photo.shape)}.")
            return self.clip(_plain(photo.detach().to(self.like) * self.std))
        mean = torch.zeros(self.shape, dtype=self.like.dtype, device=self.like.device)
        if name == "zero":
            return mean + self.low
        return mean if name == "mean" else self.clip(NOISE * self.noise(random))

    def noise(self, random: Generator, shape: tuple[int, ...] | None = None) -> Tensor:
        """Return standard normal noise from a private generator, of the canvas' shape unless another is given."""
        import torch

        return torch.randn(shape or self.shape, generator=random).to(self.like)

    def clip(self, picture: Tensor) -> Tensor:
        """Return the picture with every value moved to a color that a screen can show."""
        return picture.clamp(self.low, self.high)

    def inputs(self, picture: Tensor) -> Tensor:
        """Return the network's input for a picture."""
        return (picture / self.std).to(self.network)

    def per_gray_level(self, gradient: Tensor) -> Tensor:
        """Return a derivative by the network's input as one by gray levels."""
        return _plain(gradient.to(self.like) / self.std)

    def pixels(self, picture: Tensor) -> NDArray[np.float32]:
        """Return the picture as float32 ``(H, W, 3)`` in [0, 1]; gray becomes three equal channels."""
        shown = ((picture[0] + self.mean[0]) / 255).clamp(0, 1).permute(1, 2, 0)
        return np.ascontiguousarray(shown.expand(-1, -1, 3).float().cpu().numpy())

    def array(self, picture: Tensor) -> NDArray[Any]:
        """Return a read-only array of the picture; it shares the memory, since pictures are never changed in place."""
        array: NDArray[Any] = picture.cpu().numpy().view()
        array.flags.writeable = False
        return array

    def tensor(self, array: NDArray[Any]) -> Tensor:
        """Return the picture that ``array`` came from."""
        import torch

        return torch.from_numpy(array.copy()).to(self.like)


def _plain(tensor: Tensor) -> Tensor:
    """Return a copy in row-major order: sums and convolutions round differently in other orders of memory."""
    return tensor.new_empty(tensor.shape).copy_(tensor)
