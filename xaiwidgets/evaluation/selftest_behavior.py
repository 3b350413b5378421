"""Checks of evaluations that compare a map with what the score does, on linear networks: closed forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.data.scenes import Scene
from xaiwidgets.evaluation.judge import evaluate
from xaiwidgets.evaluation.selftest import Check, check, given, linear_model, near
from xaiwidgets.evaluation.selftest_faithfulness import picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

#: Random sets of one size.
DRAWS = 4000


@check("sensitivity_n")
def summing() -> Iterator[Check]:
    """On a linear network, weights times picture sum to what the removal of any pixels takes from the score."""
    model, weights = linear_model()
    scene = picture()
    product = weights[1] * scene.pixels[..., 0]
    for name, map, expected in (("weights times picture", product, 1.0), ("their opposite", -product, -1.0)):
        found = evaluate(model, scene, given(map, signed=True), "sensitivity_n", baseline="black")
        yield near(f"{name} of a linear network", expected, found.value, 1e-4)
    spread = (product - product.mean()).ravel().astype(np.float64)
    pixel = int(np.abs(spread).argmax())
    only = given((np.arange(64) == pixel).reshape(8, 8))
    one = evaluate(model, scene, only, "sensitivity_n", baseline="black", sizes=1, subsets=DRAWS)
    size = int(one.details["n"][0])
    # such a map says of a set whether the pixel is in it, and correlates by that pixel's share of the spread
    expected = float(spread[pixel] / np.sqrt((spread**2).sum()) * np.sqrt(64 / 63))
    yield near(f"a map of one pixel, sets of {size}", expected, float(one.details["correlations"][0]), 3 / DRAWS**0.5)


@check("infidelity")
def foretelling() -> Iterator[Check]:
    """Slopes foretell a linear network under any disturbance; a map of zeros is wrong by all of the change."""
    model, weights = linear_model()
    scene = picture()
    for how in ("gaussian", "noisy_baseline", "square"):
        found = evaluate(model, scene, "saliency", "infidelity", perturbation=how, scaled=False)
        yield near(f"gradient of a linear network, {how.replace('_', ' ')}", 0.0, found.value, 1e-6)
    found = evaluate(model, scene, given(np.zeros((8, 8))), "infidelity", samples=1000, scaled=False)
    expected = float(0.2**2 * (weights[1].astype(np.float64) ** 2).sum())
    # squares of normal numbers: their mean over n draws has a standard deviation of √(2/n) of it
    yield near("a map of zeros: variance of noise times squared weights", expected, found.value, 0.135 * expected)


@check("selectivity")
def vanishing() -> Iterator[Check]:
    """The score of a linear network falls by what each patch holds, and the best order is that of their sums."""
    model, weights = linear_model()
    scene = picture()
    product = (weights[1] * scene.pixels[..., 0]).astype(np.float64)
    parts = product.reshape(4, 2, 4, 2).sum(axis=(1, 3)).ravel()
    for name, map, order in (
        ("weights times picture", product, np.argsort(-parts)),
        ("their opposite", -product, np.argsort(parts)),
    ):
        curve = product.sum() - np.concatenate([[0], parts[order].cumsum()])
        found = evaluate(model, scene, given(map, signed=True), "selectivity", patches=4, output="logit")
        yield near(f"{name} of a linear network", float(area(curve)), found.value, 1e-4)


@check("input_dominance")
def resembling() -> Iterator[Check]:
    """On a picture that is half black and half white, ranks of products with chance are known but for their order."""
    model, weights = linear_model()
    white = np.arange(64).reshape(8, 8) % 2 == 1
    scene = Scene(white.astype(np.float32)[..., None], 1)
    between = 16.0**2  # variance of the ranks' means, 16.5 for black and 48.5 for white
    within = between + (32**2 - 1) / 24  # and of the ranks of products, which are 33 to 64 in any order for white
    found = evaluate(model, scene, given(white), "input_dominance")
    yield near("the picture itself", float((between / within) ** 0.5), found.value)
    draws, single = 200, (within - between) / within / 31**0.5
    found = evaluate(model, scene, "gradient_x_input", "input_dominance", draws=draws)
    tolerance = 3 * single / draws**0.5
    yield near("gradient × input of a linear network", float(between / within), found.value, tolerance)
    ranks = np.abs(weights[1]).ravel().argsort().argsort() + 1.0
    likeness = float(((ranks - ranks.mean()) * np.where(white.ravel(), 16, -16)).mean() / ranks.std() / within**0.5)
    found = evaluate(model, scene, "saliency", "input_dominance", draws=draws)
    yield near("gradient of a linear network", likeness, found.value, 3 * ((1 - between / within) / 31 / draws) ** 0.5)


def area(curve: NDArray[np.float64]) -> float:
    """Return the mean of a curve, straight between its points."""
    return float((curve[1:] + curve[:-1]).mean() / 2)
