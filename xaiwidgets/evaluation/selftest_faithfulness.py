"""Checks of evaluations that change the picture, on linear networks: what each must give in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.data.scenes import Scene
from xaiwidgets.evaluation.judge import evaluate
from xaiwidgets.evaluation.selftest import Check, check, linear_model, near

if TYPE_CHECKING:
    from collections.abc import Iterator


def picture() -> Scene:
    """Return a picture of noise, whose class is 1."""
    return Scene(np.random.default_rng(2).random((8, 8), np.float32)[..., None], 1)


@check("deletion")
def deleting() -> Iterator[Check]:
    """A network that says the same about all pictures has a flat curve."""
    model, _ = linear_model(scale=0)
    yield near(
        "a constant network of four classes", 0.25, evaluate(model, picture(), "saliency", "deletion").value, 1e-5
    )


@check("insertion")
def inserting() -> Iterator[Check]:
    """The same for the way back."""
    model, _ = linear_model(scale=0)
    yield near(
        "a constant network of four classes", 0.25, evaluate(model, picture(), "saliency", "insertion").value, 1e-5
    )


@check("input_invariance")
def shifting() -> Iterator[Check]:
    """Under a shift of -1 the gradient stays, and weights times input change by the weights."""
    model, weights = linear_model()
    scene = picture()
    yield near("gradient of a linear network", 0.0, evaluate(model, scene, "saliency", "input_invariance").value)
    product = weights[1] * scene.pixels[..., 0]
    expected = float(np.linalg.norm(weights[1]) / np.linalg.norm(product))
    found = evaluate(model, scene, "gradient_x_input", "input_invariance")
    yield near("gradient × input of a linear network", expected, found.value, 1e-4)


@check("max_sensitivity")
def trembling() -> Iterator[Check]:
    """The gradient of a linear network does not see the picture; weights times input follow its noise."""
    model, weights = linear_model()
    scene = picture()
    yield near("gradient of a linear network", 0.0, evaluate(model, scene, "saliency", "max_sensitivity").value)
    found = evaluate(model, scene, "gradient_x_input", "max_sensitivity", samples=1)
    expected = np.linalg.norm(weights[1] * found.maps["its noise"]) / np.linalg.norm(weights[1] * scene.pixels[..., 0])
    yield near("gradient × input of a linear network under one noise", float(expected), found.value, 1e-4)
