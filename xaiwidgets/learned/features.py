"""What a picture can be made again from: a layer's output, or a hand-made feature that has no gradient."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import NotApplicable, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model

#: Features that need no network: oriented gradients (Dalal and Triggs 2005), local binary patterns (Ojala et al. 2002).
HAND_MADE = ("hog", "lbp")
#: Of oriented gradients: directions, pixels of a cell's side, cells of a block's side.
DIRECTIONS, CELL, BLOCK = 9, 8, 2
#: Of local binary patterns: neighbors, their distance, pixels of a cell's side.
NEIGHBORS, RADIUS, PATTERN_CELL = 8, 1, 4
#: Least side of a picture that has one block of oriented gradients.
LEAST_SIDE = CELL * BLOCK


def feature_name(model: Model, wanted: str) -> str:
    """Return the name of a feature of this model's inputs: ``hog``, ``lbp``, or a layer ('' is the last stage).

    Raises:
        InvalidLayer: no such layer. NotApplicable: the pictures are too small for the hand-made feature.
    """
    if wanted not in HAND_MADE:
        return model.layer(wanted).name
    if min(model.input_shape[1:]) < LEAST_SIDE:
        needs = f"pictures of at least {LEAST_SIDE} × {LEAST_SIDE} px"
        raise NotApplicable(wanted, needs, f"those of {model.name} are {model.input_shape[1]} × {model.input_shape[2]}")
    return wanted


def features(model: Model, name: str, inputs: Tensor) -> Tensor:
    """Return features ``(N, …)`` of network inputs ``(N, C, H, W)``, without a graph."""
    import torch

    if name not in HAND_MADE:
        return model.activations(inputs, [name])[name].detach().float()
    made = oriented_gradients if name == "hog" else binary_patterns
    rows = [made(_gray(model.to_pixels(inputs[number : number + 1]))) for number in range(len(inputs))]
    return torch.from_numpy(np.stack(rows)).to(device=inputs.device)


def _gray(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    gray: NDArray[np.float64] = pixels.astype(np.float64).mean(axis=2).clip(0, 1)
    return gray


def oriented_gradients(gray: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the histograms of oriented gradients of a picture ``(H, W)``, a vector: 9 bins, 8 × 8 px, 2 × 2 cells."""
    from skimage.feature import hog

    found = hog(gray, DIRECTIONS, (CELL, CELL), (BLOCK, BLOCK), block_norm="L2-Hys")
    return np.asarray(found, np.float32)


def binary_patterns(gray: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the histograms of uniform local binary patterns in cells of 4 × 4 px of a picture ``(H, W)``, a vector."""
    from skimage.feature import local_binary_pattern

    levels = (gray * 255).round().astype(np.uint8)
    codes = local_binary_pattern(levels, NEIGHBORS, RADIUS, "uniform").astype(np.int64)
    rows, columns = (side // PATTERN_CELL for side in codes.shape)
    cells = codes[: rows * PATTERN_CELL, : columns * PATTERN_CELL]
    cells = cells.reshape(rows, PATTERN_CELL, columns, PATTERN_CELL).swapaxes(1, 2).reshape(rows, columns, -1)
    share: NDArray[np.float64] = (cells[..., None] == np.arange(NEIGHBORS + 2)).mean(axis=2)
    return np.asarray(share.ravel(), np.float32)


def signature(model: Model, name: str) -> str:
    """Return what tells a feature from all others: of the weights, the layer, and how photos become inputs.

    Hand-made features depend on no weights.
    """
    seen = model.preprocessing
    how: Any = (model.input_shape, seen.mean, seen.std, name)
    if name in HAND_MADE:
        how = (*how, DIRECTIONS, CELL, BLOCK, NEIGHBORS, RADIUS, PATTERN_CELL)
        return hashlib.sha256(repr(how).encode()).hexdigest()
    how = (*how, seen.crop, seen.interpolation)
    return hashlib.sha256(repr(how).encode() + weights_digest(model)).hexdigest()


def weights_digest(model: Model) -> bytes:
    """Return a digest of a network's weights and of what it is built of; kept for these weights."""
    import torch

    def make() -> bytes:
        digest = hashlib.sha256(repr(model.module).encode())
        for key, value in model.module.state_dict().items():
            digest.update(f"{key} {tuple(value.shape)} {value.dtype}".encode())
            # as bytes: numpy has no bfloat16
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.digest()

    found: bytes = model.remember("weights and build", make)
    return found


def code_layer(model: Model, wanted: str, values: Tensor | None = None) -> str:
    """Return the layer whose output is a code: a vector that is never negative; '' is the last such one.

    Args:
        model: whose layer it is.
        wanted: name of a layer, or ''.
        values: network inputs to see whether a code is never negative.

    Raises:
        InvalidLayer: no such layer. NotApplicable: it gives no such vector, or none does.
    """
    vectors = [layer.name for layer in model.layers if len(layer.shape) == 1 and layer.shape != (model.classes,)]
    names = [model.layer(wanted).name] if wanted else vectors[::-1]
    for name in names:
        if name in vectors and (values is None or float(features(model, name, values).min()) >= 0):
            return name
    needs = "a layer that gives a vector which is never negative, such as a ReLU behind a fully connected layer"
    found = f"{wanted!r} gives {model.layer(wanted).shape}" if wanted else f"no layer of {model.name} does"
    raise NotApplicable("a generator", needs, f"{found}{did_you_mean(wanted, vectors) if wanted else ''}")
