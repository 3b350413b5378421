"""Objectives: what a picture is made for, built from classes, channels, layers and directions with + - and *.

    from xaiwidgets import objectives
    wanted = objectives.channel("blocks.4", 12) + 0.5 * objectives.label("espresso")
    xaiwidgets.synthesize(model, target=wanted)

Objectives are values: they compare, pickle, and print as text that ``parse_objective`` reads back. Sums written in
another order are other values. ``model.objective(wanted)`` looks classes and layers up; until then only numbers are
checked. Definitions follow the objectives of Lucid (Olah et al. 2017); here more is always better, and a weight scales
its own term only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidTarget
from xaiwidgets.model.objective_algebra import Objective
from xaiwidgets.model.objective_likeness import Likeness, Resemblance
from xaiwidgets.model.objective_terms import Channel, Direction, Label, Layer
from xaiwidgets.model.objective_text import parse_objective
from xaiwidgets.model.pictures import read_picture
from xaiwidgets.model.samples import GALLERY

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Objective",
    "caricature",
    "channel",
    "direction",
    "dream",
    "label",
    "likeness",
    "match",
    "neuron",
    "norm",
    "parse_objective",
]


def label(wanted: Any, output: str = "logit") -> Objective:
    """A class, by index, name or WordNet id: its ``logit``, ``probability`` or ``log_probability``."""
    return Label(wanted, output)


def channel(layer: str, channel: Any, position: str | tuple[int, int] = "mean") -> Objective:
    """A channel of a layer: the ``mean`` or ``max`` of its map, its ``center``, or one place ``(row, column)``."""
    return Channel(layer, channel, position)


def neuron(layer: str, channel: Any, position: str | tuple[int, int] = "center") -> Objective:
    """One place of a channel; by default the center, of an even size the lower right of the middle ones."""
    return Channel(layer, channel, position)


def dream(layer: str) -> Objective:
    """A whole layer: the mean of its squared activations, as in DeepDream (Mordvintsev et al. 2015)."""
    return Layer(layer, "dream")


def norm(layer: str) -> Objective:
    """The Euclidean norm of a layer; to be subtracted, or to be asked for."""
    return Layer(layer, "norm")


def direction(
    layer: str,
    weights: Mapping[int, float] | Sequence[float],
    power: float = 1.0,
    position: str | tuple[int, int] = "mean",
) -> Objective:
    """A direction in a layer's channels: ``<Phi, v> * max(0.1, cos(Phi, v)) ** power``.

    Args:
        layer: its name.
        weights: by channel, or one for each channel.
        power: 0 is the plain dot product; larger values ask more for the direction and less for size.
        position: ``mean``, ``center`` or ``(row, column)``.
    """
    if isinstance(weights, Mapping):
        return Direction(layer, tuple(weights.items()), power, position)
    vector = np.asarray(weights, dtype=object)
    if vector.ndim != 1:
        raise InvalidTarget(f"weights must be one number a channel, or a dict by channel; got shape {vector.shape}.")
    return Direction(layer, tuple(enumerate(vector.tolist())), power, position, len(vector))


def caricature(layer: str, image: Any, power: float = 1.0) -> Objective:
    """What a layer sees in a photo, exaggerated: ``<Phi, Phi0> * max(0.1, cos) ** power``, mean over places."""
    return _resemblance(layer, image, "caricature", power)


def match(layer: str, image: Any) -> Objective:
    """What a layer sees in a photo, as it is: ``-||Phi - Phi0||² / ||Phi0||²``, at most 0."""
    return _resemblance(layer, image, "match", 1.0)


def likeness(layer: str) -> Objective:
    """How much each picture of a batch looks like the others to a layer; subtract it for pictures that differ."""
    return Likeness(layer)


def _resemblance(layer: str, image: Any, how: str, power: float) -> Objective:
    if isinstance(image, str) and image in {sample.name for sample in GALLERY}:
        return Resemblance(layer, image, how, power)
    picture = read_picture(image)
    return Resemblance(layer, picture.name, how, power, picture=picture)
