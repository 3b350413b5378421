"""Checks of localization and agreement: maps that know the truth, maps that know nothing, and closed forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.data.scenes import Scene
from xaiwidgets.evaluation.judge import evaluate
from xaiwidgets.evaluation.selftest import Check, check, given, linear_model, near, oracle

if TYPE_CHECKING:
    from collections.abc import Iterator


@check("pointing_game")
def pointing() -> Iterator[Check]:
    """The object's own mask hits, its complement misses, and random maps hit as often as the object is large."""
    scene, model = oracle()
    mask = scene.mask
    for name, map, expected in (("the object's own mask", mask, 1.0), ("all but the object", ~mask, 0.0)):
        yield near(f"{name} hits", expected, evaluate(model, scene, given(map), "pointing_game", tolerance=0).value)
    rng = np.random.default_rng(1)
    maps = [rng.random((48, 48)) for _ in range(400)]
    hits = [evaluate(model, scene, given(one), "pointing_game", tolerance=0).value for one in maps]
    area = float(mask.mean())
    yield near(
        "random maps hit by their share of area", area, float(np.mean(hits)), 3 * (area * (1 - area) / 400) ** 0.5
    )


@check("localization_error")
def localization() -> Iterator[Check]:
    """The object's own box is right, a map of everything boxes everything, and half an overlap is not enough."""
    scene, model = oracle()
    mask = scene.mask
    found = evaluate(model, scene, given(mask), "localization_error")
    yield near("the object's own mask is no error", 0.0, found.value)
    yield near("and its box is the true one", 1.0, found.details["iou"])
    half = mask.copy()
    half[18:] = False
    found = evaluate(model, scene, given(half), "localization_error")
    yield near("half of the object overlaps by a half", 0.5, found.details["iou"])
    yield near("which is an error", 1.0, found.value)
    whole = evaluate(model, scene, given(np.ones((48, 48))), "localization_error").details["iou"]
    yield near("a constant map boxes the whole picture", float(mask.mean()), whole)


@check("grid_pointing_game")
def grid() -> Iterator[Check]:
    """Cells share the evidence of a uniform map, and one cell has all of its own."""
    from xaiwidgets.evaluation.mosaics import shares

    for n in (2, 3):
        uniform = shares(np.ones((36, 36)), n)
        yield near(f"a uniform map gives each of {n * n} cells its share", 1 / n**2, np.nan if uniform is None else
                   uniform.max())  # fmt: skip
    corner = np.zeros((36, 36))
    corner[:18, 18:] = 1
    found = shares(corner - 0.5 * (corner == 0), 2)
    yield near("evidence against does not count", 1.0, np.nan if found is None else found[0, 1])


@check("focus")
def focused() -> Iterator[Check]:
    """The two right cells hold all of their own evidence, and half of a uniform map's."""
    from xaiwidgets.evaluation.mosaics import shares

    right = np.array([[True, False], [False, True]])
    oracle_map = np.kron(right, np.ones((10, 10)))
    for name, map, expected in (("the right two cells", oracle_map, 1.0), ("a uniform map", np.ones((20, 20)), 0.5)):
        found = shares(map, 2)
        yield near(f"{name} of four", expected, np.nan if found is None else found[right].sum())


@check("agreement")
def agreeing() -> Iterator[Check]:
    """On a linear network integrated gradients from black are weights times picture, in closed form."""
    model, weights = linear_model()
    pixels = np.random.default_rng(2).random((8, 8), np.float32)
    expected = weights[1] * pixels
    scene = Scene(pixels[..., None], 1)
    for name, map, value in (("equal", expected, 1.0), ("opposite", -expected, -1.0)):
        found = evaluate(
            model,
            scene,
            given(map, signed=True),
            "agreement",
            members="integrated_gradients",
            similarity="spearman_signed",
        )
        yield near(
            f"integrated gradients of a linear network and the {name} of weights times picture", value, found.value
        )
