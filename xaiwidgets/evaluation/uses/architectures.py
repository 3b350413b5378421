"""Which of two architectures? What their first layers keep, which units are dead, and what they get right."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.scores import Curve, Score
from xaiwidgets.evaluation.uses.common import labelled, last_of, pixels_of, report
from xaiwidgets.model.first_layer import FirstLayer, first_filters, first_layer, power

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from xaiwidgets.data.scenes import Scene
    from xaiwidgets.model.model import Model

BINS = 16
#: Differences below this are shown as none.
SAME = 1e-9


def diagnose_architectures(one: Model, other: Model, scenes: Sequence[Scene] = (), **options: Any) -> Score:
    """Return two networks' first layers side by side; see ``diagnose_architectures_steps``."""
    return last_of(diagnose_architectures_steps(one, other, scenes, **options))  # type: ignore[no-any-return]


@report
def diagnose_architectures_steps(
    one: Model, other: Model, scenes: Sequence[Scene] = (), *, other_scenes: Sequence[Scene] | None = None
) -> Iterator[Score | None]:
    """Yield a report on two networks; ``None`` between pieces of work.

    Zeiler and Fergus 2014 (section 4.1) saw filters of extreme frequencies and aliasing in a first layer of 11 × 11
    filters at stride 4, and got better results with 7 × 7 at stride 2; here the same is measured. ``rows``: indicators
    of both, and an arrow towards the larger; swapping the networks mirrors them. ``notes``: measured facts in words, no
    advice beyond them. The value is the first network's aliasing less the second's. ``curves``: the mean spectrum of
    the first layers.

    Args:
        one: a network.
        other: another one.
        scenes: labelled pictures, for accuracy and for dead units; without them, only weights are compared.
        other_scenes: the same for the second network, where its input has another size.

    Raises:
        InvalidLayer: a network has no convolution.
    """
    models = one, other
    layers = first_layer(one), first_layer(other)
    numbers: list[dict[str, float]] = [_numbers(model, layer) for model, layer in zip(models, layers, strict=True)]
    curves = tuple(_spectrum(model, name) for model, name in zip(models, ("first", "second"), strict=True))
    yield _report(models, layers, numbers, curves, 0.5 if len(scenes) else 1.0)
    if not len(scenes):
        return
    for number, (model, given) in enumerate(zip(models, (scenes, other_scenes or scenes), strict=True)):
        numbers[number] |= yield from _behavior(model, given)
    yield _report(models, layers, numbers, curves, 1.0)


def _numbers(model: Model, layer: FirstLayer) -> dict[str, float]:
    return {
        "filters": layer.filters,
        "kernel side": max(layer.kernel),
        "stride": max(layer.stride),
        "low frequencies": layer.low,
        "middle frequencies": layer.mid,
        "high frequencies": layer.high,
        "aliasing": layer.aliasing,
        "dead filters": layer.dead,
        "near-duplicates": layer.duplicates,
        "parameters": sum(p.numel() for p in model.module.parameters()),
    }


def _behavior(model: Model, scenes: Sequence[Scene]) -> Generator[None, None, dict[str, float]]:
    """Return accuracy, and the share of channels of all stages that no scene excites."""
    import torch

    labels = labelled("scenes", scenes, model)
    pixels = pixels_of(scenes, model)
    names = [stage.name for stage in model.stages]
    right, best = 0, {name: np.full(0, -np.inf) for name in names}
    for start in range(0, len(pixels), 8):
        part = torch.cat([model.from_pixels(one) for one in pixels[start : start + 8]])
        right += int((model.logits(part).argmax(1).cpu().numpy() == labels[start : start + 8]).sum())
        for name, values in model.activations(part, names).items():
            found = values.amax(dim=(0, 2, 3)).float().cpu().numpy()
            best[name] = np.maximum(best[name], found) if len(best[name]) else found
        yield
    all_best = np.concatenate(list(best.values())) if names else np.zeros(0)
    dead = float(np.mean(all_best <= 0)) if len(all_best) else 0.0
    return {"accuracy": right / len(labels), "dead units": dead}


def _spectrum(model: Model, name: str) -> Curve:
    """Return the share of the first layer's energy by frequency."""
    _, weights, _ = first_filters(model)
    found, down, across = power(weights)
    radius = np.hypot(down, across)
    edges = np.linspace(0, np.sqrt(0.5), BINS + 1)
    place = np.clip(np.digitize(radius, edges) - 1, 0, BINS - 1)
    total = found.sum()
    sums = np.bincount(place.ravel(), found.sum(axis=0).ravel(), BINS) / (total or 1.0)
    return Curve(name, (edges[:-1] + edges[1:]) / 2, sums, "cycles a pixel", "share of the filters' energy")


def _report(
    models: tuple[Model, Model],
    layers: tuple[FirstLayer, FirstLayer],
    numbers: Sequence[dict[str, float]],
    curves: tuple[Curve, ...],
    progress: float,
) -> Score:
    rows = tuple((name, numbers[0][name], numbers[1][name], _arrow(numbers[0][name], numbers[1][name])) for name in
                 numbers[0] if name in numbers[1])  # fmt: skip
    notes = [_words(name, layer) for name, layer in zip(_names(models), layers, strict=True)]
    if "accuracy" in numbers[0] and "accuracy" in numbers[1]:
        first, second = (f"{one['accuracy']:.3f}" for one in numbers)
        notes.append(f"Of the given scenes, they get {first} and {second} right.")
    return Score(
        layers[0].aliasing - layers[1].aliasing,
        "difference in aliasing",
        progress=progress,
        header=("indicator", *_names(models), "larger"),
        rows=rows,
        curves=curves,
        details={"layers": tuple(dataclasses.asdict(layer) for layer in layers), "numbers": tuple(map(dict, numbers))},
        notes=tuple(notes),
        metric="diagnose_architectures",
    )


def _names(models: tuple[Model, Model]) -> tuple[str, str]:
    first, second = (model.name for model in models)
    return (first, second) if first != second else (f"{first} (first)", f"{second} (second)")


def _arrow(first: float, second: float) -> str:
    return "=" if abs(first - second) <= SAME else "←" if first > second else "→"


def _words(name: str, layer: FirstLayer) -> str:
    rows, columns = layer.kernel
    words = (
        f"{name}: with {rows} × {columns} filters at stride {max(layer.stride)}, {layer.aliasing:.0%} of the filters' "
        "energy lies at frequencies that the stride cannot keep"
    )
    if layer.extremes:
        words += f"; filters are of low ({layer.low:.0%}) and high ({layer.high:.0%}) frequencies, few in between"
    if layer.dead or layer.duplicates:
        words += f"; {layer.dead:.0%} are dead, {layer.duplicates:.0%} nearly equal to another"
    return f"{words}."
