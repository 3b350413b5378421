"""The driver: runs a method's generator, counts its passes and seconds, and writes down what it takes to redo it."""

from __future__ import annotations

import dataclasses
import platform
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.cards import card, cards, resolve
from xaiwidgets.core.knobs import knobs_of
from xaiwidgets.core.results import Attribution, Provenance, Synthesis
from xaiwidgets.engine.replay import events_of, replayed
from xaiwidgets.errors import InvalidImage, InvalidModel, InvalidTarget, NotApplicable, UnknownMethod
from xaiwidgets.model.meter import CURRENT, Meter
from xaiwidgets.model.pictures import read_picture
from xaiwidgets.model.short_numbers import refusal

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal

#: What a method may need of a model, in words.
NEEDS = {
    "gradient": "a differentiable network",
    "relu": "ReLU-like activations throughout (ReLU, ReLU6, leaky ReLU)",
    "rectifier": "ReLU or ReLU6 activations",
    "spatial": "a layer that gives a spatial map",
    "max_pool": "max-pooling",
    "sizes": "a network that takes larger pictures, too",
    "gap_head": "a head of global average pooling and one linear layer",
}


@cache
def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    found = {"python": platform.python_version()}
    for package in ("xaiwidgets", "torch", "torchvision", "timm"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "source"
    return found


def missing(card: Any, model: Model) -> str:
    """Return what a card needs and the model lacks, in words, or an empty string."""
    return ", ".join(NEEDS.get(need, need) for need in card.needs if need not in model.offers)


def check_applicable(method: Any, model: Model) -> None:
    """Raise ``NotApplicable`` if the model lacks what the method needs; the message names methods that would work."""
    card = type(method).card
    lacks = missing(card, model)
    if lacks:
        works = [c.id for c in cards(card.kind) if not missing(c, model)]
        raise NotApplicable(
            card.id, lacks, f"{model.name} does not have that{_activations(card, model)}{_way_out(card, model)}", works
        )


def _activations(card: Any, model: Model) -> str:
    """Return the activations of a model in words, for a method that needs others."""
    from xaiwidgets.surgery.coverage import label
    from xaiwidgets.surgery.ops import ACTIVATIONS

    if "rectifier" not in card.needs:
        return ""
    found = sorted({label(kind) for kind in model.inspection.kinds & ACTIVATIONS}, key=str.lower)
    return f": its activations are {', '.join(found)}" if found else ": it has no activations"


def _way_out(card: Any, model: Model) -> str:
    """Return what to do about a head that is missing, in words."""
    if "gap_head" not in card.needs or "gap_head" in model.offers:
        return ""
    return (
        ": grad_cam explains it as it is, and xaiwidgets.with_pooling_head(model, labelled_pictures) makes a model "
        "with such a head"
    )


def drive(method: Any, model: Model, image: Tensor | None, target: Goal, name: str = "") -> Generator[Any, Any, None]:
    """Yield the method's results with their provenance filled in; what is sent in goes to the method's ``yield``.

    The meter is current only while the method computes, so closing the generator at any point leaves nothing behind.
    """
    meter, seconds, sent = Meter(steady=set()), 0.0, None
    token = CURRENT.set(meter)  # so that the weights are looked at once
    try:
        check_applicable(method, model)
    finally:
        CURRENT.reset(token)
    knobs = {k.name: getattr(method, k.name) for k in knobs_of(method)}
    base = Provenance(
        type(method).card.id,
        knobs,
        target.name,
        model.name,
        name,
        versions=versions(),
        preprocessing=model.preprocessing,
    )
    steps = method.steps(model, image, target)
    try:
        while True:
            token, start = CURRENT.set(meter), time.perf_counter()
            try:
                result = next(steps) if sent is None else steps.send(sent)
            except StopIteration:
                return
            except RuntimeError as error:
                if (refused := refusal(error, model.like)) is not None:
                    raise refused from error
                raise
            finally:
                CURRENT.reset(token)
                seconds += time.perf_counter() - start
            made = dataclasses.replace(base, passes=meter.passes, seconds=seconds, events=events_of(result))
            sent = yield result.replace(provenance=made)
    finally:
        steps.close()


def explain(
    model: Model,
    image: Any,
    method: Any = "grad_cam",
    *,
    target: Any = None,
    events: Sequence[Any] = (),
    **knobs: Any,
) -> Attribution:
    """Explain a model's score on a picture and return the finished attribution.

    Args:
        model: from ``load_model`` or ``Model(module)``.
        image: a sample's name, a path, a PIL image, or an array ``(H, W, 3)`` of uint8 or floats in [0, 1].
        method: an explainer's id with hyper-parameters as keywords, or an object such as ``Rise(samples=2000)``.
        target: class index, label, WordNet id, several of these, a ``Target``; ``None`` is the top-1 class.
        events: the ``provenance.events`` of a result whose hyper-parameters were moved while it ran, to make it again.
        **knobs: hyper-parameters.

    Raises:
        XaiError: one of its kinds, naming the argument and what would work.
    """
    return last(explain_steps(model, image, method, target=target, events=events, **knobs))  # type: ignore[no-any-return]


def explain_steps(
    model: Model,
    image: Any,
    method: Any = "grad_cam",
    *,
    target: Any = None,
    events: Sequence[Any] = (),
    **knobs: Any,
) -> Generator[Attribution, Any, None]:
    """Yield better and better attributions; see ``explain``. Closing the generator cancels the work.

    What is sent in, a dict of hyper-parameters that can be moved while the method runs, acts from the next step on;
    not while ``events`` are made again.
    """
    _check_model(model)
    made = _of_kind("explainer", resolve(method, **knobs))
    picture = read_picture(image)
    pixels = model.input(picture)
    run = drive(made, model, pixels, model.target(target, pixels), picture.name)
    yield from replayed(run, made, events) if events else run


def synthesize(
    model: Model,
    method: Any = "activation_maximization",
    *,
    target: Any = None,
    layer: str = "",
    unit: Any = None,
    image: Any = None,
    **knobs: Any,
) -> Synthesis:
    """Make a picture that excites a unit and return it when all steps are done.

    Args:
        model: from ``load_model`` or ``Model(module)``.
        method: a synthesizer's id with hyper-parameters as keywords, or an object.
        target: class index, label or WordNet id, or an objective (see ``xaiwidgets.objectives``); or give ``layer`` and
            ``unit``. Methods that make a picture for no class, such as inversions, take none.
        layer: name of a layer. With a layer that gives one score a class, ``unit`` may be a label. Without a unit, the
            ``layer`` of a method that looks at one, such as an inversion.
        unit: a channel of ``layer``.
        image: the photo to start from, or that is changed or made again, for methods that need one or can use one.
        **knobs: hyper-parameters.

    Raises:
        InvalidImage: a photo is missing, or one is given that the method would do nothing with, such as one that starts
            from noise. XaiError: one of its other kinds, naming the argument and what would work.
    """
    return last(  # type: ignore[no-any-return]
        synthesize_steps(model, method, target=target, layer=layer, unit=unit, image=image, **knobs)
    )


def synthesize_steps(
    model: Model,
    method: Any = "activation_maximization",
    *,
    target: Any = None,
    layer: str = "",
    unit: Any = None,
    image: Any = None,
    **knobs: Any,
) -> Iterator[Synthesis]:
    """Yield the picture as it grows; see ``synthesize``. Closing the generator cancels the work."""
    _check_model(model)
    if layer and unit is None and isinstance(method, str) and any(k.name == "layer" for k in card(method).knobs):
        knobs, layer = {**knobs, "layer": layer}, ""  # of a method that looks at a layer, not at a unit of it
    made = _of_kind("synthesizer", resolve(method, **knobs))
    asks = type(made).card.asks
    if target is None and not layer and unit is None and "target" not in asks:
        from xaiwidgets.model.targets import NOTHING

        goal: Goal = NOTHING
    else:
        goal = _goal(model, target, layer, unit)
    if image is None and "photo" in asks:
        raise InvalidImage(f"image must be given for {type(made).card.id}: a photo's name, a path, or an array.")
    check_photo(made, image)
    picture = None if image is None else read_picture(image)
    start = None if picture is None else model.input(picture)
    yield from drive(made, model, start, goal, picture.name if picture else "")


def check_photo(method: Any, image: Any) -> None:
    """Refuse a photo that a synthesizer would do nothing with: who gives one expects to see it in the picture.

    Raises:
        InvalidImage: naming what would use it.
    """
    made = type(method).card
    if image is None or made.uses_photo({k.name: getattr(method, k.name) for k in knobs_of(method)}):
        return
    if made.starts_from_photo:
        raise InvalidImage(
            f"image must be left out for {made.id} with start={method.start!r}, which makes nothing of a photo; "
            "start='photo' begins with it."
        )
    others = [one for one in cards("synthesizer") if one.id != made.id]
    always = ", ".join(one.id for one in others if one.uses_photo({}))
    begin = ", ".join(one.id for one in others if one.starts_from_photo and not one.uses_photo({}))
    raise InvalidImage(
        f"image must be left out for {made.id}, which makes nothing of a photo. These use one: {always}; and with "
        f"start='photo': {begin}."
    )


def last(results: Iterator[Any]) -> Any:
    """Return the last item of a generator of results."""
    found = None
    for found in results:  # noqa: B007
        pass
    return found


def _check_model(model: Any) -> None:
    from xaiwidgets.model.model import Model

    if not isinstance(model, Model):
        raise InvalidModel(
            f"model must be a Model, from load_model() or Model(module); got {type(model).__name__}. "
            "A torch.nn.Module works as Model(module)."
        )


def _goal(model: Model, target: Any, layer: str, unit: Any) -> Goal:
    if (target is not None) + (bool(layer) or unit is not None) != 1:
        raise InvalidTarget("give either target=, a class, or layer= with unit=, one of its channels.")
    if target is not None:
        return model.objective(target)
    if unit is None or not layer:
        raise InvalidTarget(f"layer and unit go together; got layer={layer!r} and unit={unit!r}.")
    return model.unit(layer, unit)


def _of_kind(kind: str, method: Any) -> Any:
    card = type(method).card
    if card.kind != kind:
        ids = ", ".join(c.id for c in cards(kind))
        raise UnknownMethod(f"method must be one of the {kind}s: {ids}; {card.id} is one of the {card.kind}s.")
    return method
