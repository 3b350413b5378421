"""Noise on photos and on weights, drawn sample by sample, and the level of weight noise that fits a network."""

from __future__ import annotations

import warnings
import zlib
from typing import TYPE_CHECKING, Any

import torch

from xaiwidgets.engine.batching import batch_size
from xaiwidgets.errors import InvalidImage, InvalidKnob, InvalidTarget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from xaiwidgets.model.model import Model

#: With fewer labeled photos than this, one photo more or less moves the accuracy too much.
ENOUGH = 200
#: Halvings of the interval of noise levels from 0 to 1.
HALVINGS = 10


def noisy_copies(image: Tensor, numbers: range, level: float, seed: int) -> Tensor:
    """Return copies of an input ``(1, C, H, W)`` with Gaussian noise on every value, ``(n, C, H, W)``.

    Args:
        image: normalized input.
        numbers: of the copies; each has noise of its own, whatever the others are.
        level: standard deviation as a share of the image's range of values.
        seed: of the method.
    """
    if level == 0:
        return image.expand(len(numbers), -1, -1, -1)
    spread = level * float(image.max() - image.min())
    copies = []
    for number in numbers:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        copies.append(torch.randn(image.shape[1:], generator=generator))
    return image + spread * torch.stack(copies).to(image)


def noisy_network(model: Model, level: float, seed: int, number: int) -> Model:
    """Return a Model whose parameters are multiplied by N(1, ``level``²); at level 0, the model itself.

    All learnable parameters are: biases, scale and shift of normalizations too. Running statistics stay. Each parameter
    of each network has a generator of its own, so the same seed and number give the same network.
    """
    if level == 0:
        return model
    learnable = {name for name, _ in model.module.named_parameters()}

    def change(name: str, value: Tensor) -> Tensor:
        if name not in learnable or not value.is_floating_point():
            return value
        # PyTorch's generator looks at the last 32 bits of a seed only
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {number} {name}".encode()))
        return value.mul_(torch.randn(value.shape, generator=generator).mul_(level).add_(1).to(value))

    return model.with_weights(change, quick=True)


def is_calibrated(model: Model, level: float) -> bool:
    """Return whether this level was found by ``calibrate_noise`` for these weights."""
    return level in _levels(model)


def calibrate_noise(
    model: Model,
    images: Any,
    labels: Sequence[Any],
    drop: float = 0.05,
    *,
    networks: int = 3,
    seed: int = 0,
) -> float:
    """Return the level of weight noise at which a network loses ``drop`` of its accuracy, by bisection.

    The accuracy lost is 1 − (A(σ) − 1/K) / (A(0) − 1/K), with A the accuracy averaged over noisy networks and K the
    number of classes, so that 1 means chance (Bykov et al. 2022). The model remembers the level as calibrated for its
    weights. Takes about ``10 * networks`` forward passes an image.

    Args:
        model: under study.
        images: at least 200 are recommended; a sequence of photos (whatever ``explain`` takes), or inputs
            ``(N, C, H, W)``.
        labels: the right class of each image: indices, names or WordNet ids.
        drop: share of the accuracy above chance that may be lost.
        networks: how many noisy networks the accuracy is averaged over; the same draws at every level.
        seed: of the draws.

    Raises:
        InvalidImage: there are no images.
        InvalidKnob: ``drop`` is not between 0 and 1.
        InvalidTarget: not one label for each image, or labels that the network gets right no better than chance.
    """
    if not 0 < drop < 1:
        raise InvalidKnob(f"drop must be a number between 0 and 1, both excluded; got {drop!r}.")
    wanted = torch.tensor([model.labels.index(label) for label in labels])
    inputs = images if isinstance(images, torch.Tensor) else [model.input(image) for image in images]
    if len(inputs) == 0:
        raise InvalidImage("images must hold at least one photo, better 200; got none.")
    if len(inputs) != len(wanted):
        raise InvalidTarget(f"labels must name one class for each of {len(inputs)} images; got {len(wanted)}.")
    if len(inputs) < ENOUGH:
        warnings.warn(
            f"{len(inputs)} images are few to calibrate a noise level with; {ENOUGH} or more are recommended.",
            stacklevel=2,
        )
    inputs = inputs if isinstance(inputs, torch.Tensor) else torch.cat(inputs)
    above = _accuracy(model, inputs, wanted) - 1 / model.classes
    if above <= 0:
        raise InvalidTarget(
            f"labels must be what the network mostly says; it does on {above + 1 / model.classes:.0%} of the images, "
            f"which is no better than chance (1 in {model.classes})."
        )
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        level = (low + high) / 2
        found = [_accuracy(noisy_network(model, level, seed, n), inputs, wanted) for n in range(networks)]
        lost = 1 - (sum(found) / networks - 1 / model.classes) / above
        low, high = (level, high) if lost <= drop else (low, level)
    _levels(model).add(low)
    return low


def _levels(model: Model) -> set[float]:
    return model.remember("calibrated noise levels", set)  # type: ignore[no-any-return]


def _accuracy(model: Model, inputs: Tensor, wanted: Tensor) -> float:
    size = batch_size(model)
    right = 0
    for start in range(0, len(inputs), size):
        part = slice(start, start + size)
        right += int((model.logits(inputs[part]).argmax(dim=1).cpu() == wanted[part]).sum())
    return right / len(inputs)
