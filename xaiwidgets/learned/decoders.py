"""Trained inversions: networks that make pictures from features, saved with what tells their features from others."""

from __future__ import annotations

from dataclasses import dataclass
from os import fspath
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidKnob
from xaiwidgets.learned.features import features, signature

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.learned.upconv import UpConv
    from xaiwidgets.model.model import Model

#: What a file of a decoder says it is.
FORMAT = "xaiwidgets decoder 1"


@dataclass(frozen=True, eq=False)
class Decoder:
    """A network from features to pictures; never changed once it is trained.

    Attributes:
        feature: a layer's name, ``hog`` or ``lbp``. ``shape``: of the feature of one picture.
        signature: of the features that it was trained on, see ``features.signature``. ``trained_on``: name of their
            network.
        network: from features ``(N, *shape)`` to pixels ``(N, C, H, W)``.
        code_mean, code_sd: of each number of the feature over the training pictures, ``shape``.
        error: mean distance on held-out pictures, relative to that of two random ones. ``mean_error``: the same for
            the mean picture. ``nearest_error``: for the training picture of the nearest features.
        is_generator: trained with a feature loss on a code that is never negative, so that it can be a prior.
    """

    feature: str
    shape: tuple[int, ...]
    signature: str
    trained_on: str
    network: UpConv
    code_mean: Tensor
    code_sd: Tensor
    error: float
    mean_error: float
    nearest_error: float
    is_generator: bool = False

    @property
    def kind(self) -> str:
        """What a hyper-parameter that names it asks for."""
        return "generator" if self.is_generator else "decoder"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its pictures in pixels."""
        return self.network.size

    def digest(self) -> str:
        """Return what tells its weights from others, for a run that goes on."""
        import hashlib

        digest = hashlib.sha256(self.signature.encode())
        for value in self.network.state_dict().values():
            digest.update(np.ascontiguousarray(value.cpu().numpy()).tobytes())
        return digest.hexdigest()[:16]

    def fits(self, model: Model) -> bool:
        """Return whether this model gives the very features that it was trained on."""
        return self.feature in _features_of(model) and signature(model, self.feature) == self.signature

    def check(self, model: Model) -> None:
        """Refuse a model whose features are not those that it was trained on.

        Raises:
            InvalidKnob: weights, layer or preprocessing differ.
        """
        if not self.fits(model):
            raise InvalidKnob(
                f"the decoder must be one for {model.name}; it was trained on {self.feature} of {self.trained_on}, "
                "with other weights or another preprocessing, whose features mean something else. Train one with "
                "xaiwidgets.train_decoder(model, pictures) or train_generator."
            )

    def decode(self, values: Tensor) -> Tensor:
        """Return pixels ``(N, C, H, W)``, not clipped, of features ``(N, *shape)``; without a graph.

        Raises:
            InvalidKnob: features of another shape.
        """
        import torch

        if tuple(values.shape[1:]) != self.shape:
            raise InvalidKnob(f"features must be of shape (N, *{self.shape}); got {tuple(values.shape)}.")
        with torch.no_grad():
            found: Tensor = self.network(values.to(self.code_mean))
        return found

    def reconstruct(self, model: Model, inputs: Tensor) -> Tensor:
        """Return pixels ``(N, C, H, W)`` in [0, 1] made from the features of network inputs ``(N, C, H, W)``.

        Raises:
            InvalidKnob: the model is not the one that it was trained for.
        """
        self.check(model)
        return self.decode(features(model, self.feature, inputs)).clamp(0, 1)

    def save(self, path: str | PathLike[str]) -> None:
        """Write it to a file."""
        import torch

        torch.save({"format": FORMAT, **self.record()}, fspath(path))

    def record(self) -> dict[str, Any]:
        """Return all that it is, as tensors, numbers and words."""
        kept = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "network"}
        return {**kept, "network": self.network.state_dict()}


def load_decoder(path: str | PathLike[str]) -> Decoder:
    """Return a decoder from a file that ``Decoder.save`` wrote; nothing in the file is run.

    Raises:
        InvalidKnob: the file is none, or damaged.
    """
    import pickle

    import torch

    from xaiwidgets.learned.upconv import fresh

    where = fspath(path)
    try:
        found = torch.load(where, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InvalidKnob(f"path must be a file written by Decoder.save; {where!r} cannot be read: {error}") from error
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
        raise InvalidKnob(f"path must be a file written by Decoder.save; {where!r} is something else.")
    weights = found.pop("network")
    shape = tuple(found.pop("shape"))
    network = fresh(shape, weights["mean"], weights["center"], weights["scale"], 0)
    network.load_state_dict(weights)
    return Decoder(shape=shape, network=network.eval().requires_grad_(False), **found)


def shown(pixels: Tensor) -> NDArray[np.float32]:
    """Return the first of pixels ``(N, C, H, W)`` as ``(H, W, 3)`` in [0, 1]."""
    picture = pixels[0].detach().clamp(0, 1).permute(1, 2, 0).expand(-1, -1, 3).float().cpu().numpy()
    return np.ascontiguousarray(picture)


def as_inputs(model: Model, pixels: Tensor) -> Tensor:
    """Return network inputs for pixels ``(N, C, h, w)``, brought to the network's size; can be differentiated."""
    import torch

    size = model.preprocessing.size
    if tuple(pixels.shape[-2:]) != tuple(size):
        pixels = torch.nn.functional.interpolate(pixels, size=tuple(size), mode="bilinear", align_corners=False)
    mean, std = (
        torch.tensor(v).to(pixels).reshape(1, -1, 1, 1) for v in (model.preprocessing.mean, model.preprocessing.std)
    )
    found: Tensor = (pixels - mean) / std
    return found


def _features_of(model: Model) -> set[str]:
    from xaiwidgets.learned.features import HAND_MADE

    return {layer.name for layer in model.layers} | set(HAND_MADE)
