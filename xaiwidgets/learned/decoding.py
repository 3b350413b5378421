"""Training a network from features to pictures: with a live curve, a panel of held-out pictures, and checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.knobs import Range
from xaiwidgets.learned.features import LEAST_SIDE, code_layer, feature_name
from xaiwidgets.learned.teaching import MOST_CROPS, find_pictures, floats

if TYPE_CHECKING:
    from collections.abc import Generator
    from os import PathLike

    from xaiwidgets.core.results import Exhibit
    from xaiwidgets.learned.decoders import Decoder
    from xaiwidgets.model.model import Model

#: Largest side of the pictures that are made, unless another is asked for.
SIDE = 64


@dataclass(frozen=True, eq=False)
class DecoderTraining:
    """A decoder in training.

    Attributes:
        progress: share of the planned epochs, in (0, 1]. ``epoch``: passes done over the training pictures.
        losses: mean squared error of the pixels (for generators with that of the features) after each epoch.
        errors: mean distance on held-out pictures, relative to that of two random ones, after each epoch.
        mean_error: the same for the mean picture. ``nearest_error``: for the training picture of the nearest features.
        panel: up to eight held-out pictures, each above what is made from its features.
        seconds: of computing so far.
        decoder: at the end, else ``None``. ``name``: under which it is kept.
    """

    progress: float
    epoch: int
    losses: tuple[float, ...] = ()
    errors: tuple[float, ...] = ()
    mean_error: float = math.nan
    nearest_error: float = math.nan
    panel: tuple[Exhibit, ...] = ()
    seconds: float = 0.0
    decoder: Decoder | None = field(default=None, repr=False)
    name: str = ""


def train_decoder_steps(
    model: Model,
    pictures: Any = None,
    *,
    feature: str = "",
    size: int | None = None,
    epochs: int = 25,
    rate: float = 1e-3,
    seed: int = 0,
    crops: int = 0,
    checkpoint: str | PathLike[str] | None = None,
    name: str = "",
) -> Generator[DecoderTraining | None, Any, None]:
    """Train a network that makes pictures from features (Dosovitskiy and Brox 2016), yielding after each epoch.

    It minimizes the squared error of the pixels, so what it makes is the mean of all pictures with these features:
    blurred where they leave something open. ``None`` comes several times a second, for whoever may want to cancel by
    closing the generator; ``{"rate": …}``, sent in, is the learning rate from the next batch on. The features need no
    gradient. Other than in the paper, features are centered and scaled, and the network learns what is to be added to
    the mean picture.

    Args:
        model: the network whose features are inverted; it is only read.
        pictures: a folder, a list, the name of a reference set, an array ``(N, H, W, C)``; at least 300. ``None``: the
            bundled ones, for networks that take them.
        feature: a layer's name ('' is the last stage), ``hog`` or ``lbp``.
        size: side of the pictures that are made; by default the network's, at most 64.
        epochs: passes over the pictures.
        rate: of Adam; it falls to zero as half a cosine.
        seed: of the start, of the order, and of what is held out.
        crops: learn from so many random crops of each picture, half of them mirrored, so that a few photos are enough;
            those that are held out come from photos of their own. 0 takes the pictures as they are.
        checkpoint: a file that is written after each epoch. If it is there, the training goes on from it, and ends as
            if it had never been interrupted.
        name: to keep it under; by default made of the network's and the feature's.

    Raises:
        InvalidImage: there are too few pictures, or they do not fit.
        InvalidLayer, NotApplicable: no such feature.
        InvalidKnob: a number out of range, or a checkpoint of another training.
    """
    named = feature_name(model, feature)
    options = {"feature": named, "size": size, "epochs": epochs, "rate": rate, "seed": seed}
    yield from _train(model, pictures, options, crops, checkpoint, name or f"{named} of {model.name}")


def train_generator_steps(
    model: Model,
    pictures: Any = None,
    *,
    layer: str = "",
    size: int | None = None,
    epochs: int = 30,
    rate: float = 1e-3,
    feature_weight: float = 0.02,
    feature_after: float = 0.0,
    adversarial_weight: float = 0.0,
    seed: int = 0,
    crops: int = 0,
    checkpoint: str | PathLike[str] | None = None,
    name: str = "",
) -> Generator[DecoderTraining | None, Any, None]:
    """Train a generator for ``dgn_am`` (Nguyen et al. 2016): it inverts a code layer of this network.

    As ``train_decoder_steps``, and its loss also has the squared error of the code of the pictures it makes, in units
    of the code's variance, and if asked for the adversarial one of the paper: a critic of picture and code learns to
    tell what is made from what is real, and waits where it is far ahead (Dosovitskiy and Brox 2016, "Generating images
    with perceptual similarity metrics based on deep networks"). Without it, as by default, pictures are softer.

    Args:
        model: the encoder; what is maximized later may be another network.
        pictures: as for ``train_decoder_steps``.
        layer: gives a vector that is never negative; '' is the last such one.
        size: side of the pictures that are made; by default the network's, at most 64.
        epochs: passes over the pictures.
        rate: of Adam; it falls to zero as half a cosine.
        feature_weight: of the error of the code.
        feature_after: share of the epochs that learn pixels only. The error of the code takes passes of the network
            and at first says little, so with a large network 0.9 comes further in the same time.
        adversarial_weight: of −log D, D being the critic's probability that a picture is real; begins where the error
            of the code does. 0 trains no critic.
        seed: the same.
        crops: the same.
        checkpoint: as for ``train_decoder_steps``.
        name: the same.

    Raises:
        NotApplicable: no layer gives such a code. InvalidImage, InvalidLayer, InvalidKnob: as above.
    """
    Range(0.0, 10.0).check("feature_weight", feature_weight)
    Range(0.0, 1.0).check("feature_after", feature_after)
    Range(0.0, 10.0).check("adversarial_weight", adversarial_weight)
    named = code_layer(model, layer)
    options = {
        "feature": named, "size": size, "epochs": epochs, "rate": rate, "seed": seed, "weight": float(feature_weight),
    }  # fmt: skip
    if feature_after:
        options["after"] = float(feature_after)
    if adversarial_weight:
        options["adversarial"] = float(adversarial_weight)
    called = name or f"generator of {model.name}"
    yield from _train(model, pictures, options, crops, checkpoint, called, chosen=bool(layer))


def train_decoder(model: Model, pictures: Any = None, **options: Any) -> Decoder:
    """Return a trained decoder, and keep it for ``learned_inversion``; see ``train_decoder_steps``."""
    return _last(train_decoder_steps(model, pictures, **options))


def train_generator(model: Model, pictures: Any = None, **options: Any) -> Decoder:
    """Return a trained generator, and keep it for ``dgn_am``; see ``train_generator_steps``."""
    return _last(train_generator_steps(model, pictures, **options))


def _last(steps: Generator[DecoderTraining | None, Any, None]) -> Decoder:
    found = None
    for state in steps:
        found = state or found
    if found is None or found.decoder is None:
        raise RuntimeError("a finished training must hold its decoder")
    return found.decoder


def _train(
    model: Model,
    pictures: Any,
    options: dict[str, Any],
    crops: int,
    checkpoint: Any,
    name: str,
    *,
    chosen: bool = True,
) -> Generator[DecoderTraining | None, Any, None]:
    from xaiwidgets.learned.fitting import Fitting

    Range(1, 10_000).check("epochs", options["epochs"])
    Range(1e-6, 0.1).check("rate", options["rate"])
    Range(0, 2**31 - 1).check("seed", options["seed"])
    if options["size"] is None:
        options["size"] = min(SIDE, *model.input_shape[1:])
    Range(8, 256).check("size", options["size"])
    Range(0, MOST_CROPS).check("crops", crops)
    found = yield from find_pictures(model, pictures, options["seed"], crops)
    if "weight" in options:
        some = found.train[:: max(1, len(found.train) // LEAST_SIDE)]
        inputs = _inputs(model, some)
        options["feature"] = code_layer(model, options["feature"] if chosen else "", inputs)
    yield from Fitting(model, found, options, checkpoint, name).run()


def _inputs(model: Model, images: Any) -> Any:
    import torch

    return torch.cat([model.from_pixels(image) for image in floats(images)])
