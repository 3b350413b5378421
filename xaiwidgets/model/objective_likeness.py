"""Objectives that compare: a picture with a photo, and the pictures of a batch with each other."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xaiwidgets.errors import InvalidTarget
from xaiwidgets.model.objective_algebra import Objective
from xaiwidgets.model.objective_terms import dot_cosine, spatial, with_channels
from xaiwidgets.model.objective_words import finite, number, word
from xaiwidgets.model.samples import find_sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.pictures import Picture


@dataclass(frozen=True)
class Activations:
    """A layer's output for a reference picture, as a value: it compares by its bytes."""

    shape: tuple[int, ...]
    data: bytes

    def like(self, tensor: Tensor) -> Tensor:
        """Return it as a batch of one, with the number type and device of a tensor."""
        import numpy as np
        import torch

        array: NDArray[np.float32] = np.frombuffer(self.data, np.float32).reshape(1, *self.shape)
        return torch.from_numpy(array.copy()).to(tensor)


@dataclass(frozen=True)
class Resemblance(Objective):
    """What a photo is to a layer, as a goal: to be matched, or to be exaggerated.

    ``caricature`` is ``<Phi, Phi0> * max(0.1, cos(Phi, Phi0)) ** power``, mean over places; ``match`` is
    ``-||Phi - Phi0||² / ||Phi0||²``, which is 0 at the photo and -1 where the layer is silent.

    Attributes:
        layer: its name. ``photo``: a sample's name, or what the picture was called. ``power``: of the cosine.
        reference: the layer's output for the photo, once bound. ``picture``: the photo, unless it is a sample.
    """

    layer: str
    photo: str
    how: str = "caricature"
    power: float = 1.0
    # not compared: on other machines the same photo gives it in other roundings
    reference: Activations | None = field(default=None, repr=False, compare=False)
    picture: Picture | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "power", finite("power of a caricature", self.power, 0.0, 10.0))

    @property
    def text(self) -> str:
        """``caricature(layer; photo)``; it can be read back where the photo is one of the samples."""
        power = "" if self.power == 1.0 else f"; power={number(self.power)}"
        return f"{self.how}({word(self.layer, numbered=True)}; {word(self.photo)}{power})"

    @property
    def unit(self) -> str:
        """Squared activations, of which ``match`` gives a share."""
        return "squared activation" if self.how == "caricature" else "relative squared error, negative"

    @property
    def layers(self) -> tuple[str, ...]:
        """The layer."""
        return (self.layer,)

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the resemblance of every picture."""
        if self.reference is None:
            raise InvalidTarget(f"{self.text} must be looked up in a model first: model.objective(it).")
        maps = spatial((records or {})[self.layer])
        wanted = spatial(self.reference.like(maps))
        if self.how == "caricature":
            return dot_cosine(maps, wanted, self.power).flatten(1).mean(dim=1)
        size = wanted.square().sum().clamp_min(1e-12)
        return -(maps - wanted).square().flatten(1).sum(dim=1) / size

    def bind(self, model: Model) -> Resemblance:
        """Check the layer, and pass the photo through the model."""
        layer = with_channels(model, self.layer)
        # a text may come from a browser: what it calls the photo is looked up among the samples, never opened as a path
        picture = find_sample(self.photo).path if self.picture is None else self.picture
        found = model.activations(model.input(picture), [layer.name])[layer.name][0].float().cpu().contiguous()
        seen = Activations(tuple(found.shape), found.numpy().tobytes())
        return dataclasses.replace(self, layer=layer.name, reference=seen)


@dataclass(frozen=True)
class Likeness(Objective):
    """How much each picture of a batch looks like the others to a layer: the sum of the cosines of Gram matrices.

    Subtract it for pictures that differ (Olah et al. 2017, "diversity"). Its mean over the batch is the penalty
    ``1/B * sum_b sum_{b' != b} <G_b, G_b'>`` with ``G = Phi Phi^T / ||Phi Phi^T||``; a single picture has 0.
    """

    layer: str

    @property
    def text(self) -> str:
        """``likeness(layer)``."""
        return f"likeness({word(self.layer, numbered=True)})"

    @property
    def unit(self) -> str:
        """A sum of cosines."""
        return "sum of cosines"

    @property
    def layers(self) -> tuple[str, ...]:
        """The layer."""
        return (self.layer,)

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the sum of cosines to the other pictures."""
        cosines = gram_cosines((records or {})[self.layer])
        return cosines.sum(dim=1) - cosines.diagonal()

    def bind(self, model: Model) -> Likeness:
        """Check the layer."""
        return Likeness(with_channels(model, self.layer).name)


def gram_cosines(activation: Tensor) -> Tensor:
    """Return the cosines ``(N, N)`` between the Gram matrices of channels of a batch; 0 where a layer is silent.

    With fewer places than channels, the products come from the smaller matrices of places:
    ``<A A^T, B B^T> = ||A^T B||²``.
    """
    flat = spatial(activation).flatten(2)
    count, channels, places = flat.shape
    if places < channels:
        wide = flat.transpose(1, 2).reshape(count * places, channels)
        products = (wide @ wide.T).square().reshape(count, places, count, places).sum(dim=(1, 3))
    else:
        grams = (flat @ flat.transpose(1, 2)).flatten(1)
        products = grams @ grams.T
    sizes = products.diagonal().clamp_min(1e-20).sqrt()
    cosines: Tensor = products / (sizes[:, None] * sizes[None, :])
    return cosines
