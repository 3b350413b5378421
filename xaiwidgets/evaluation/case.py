"""What is evaluated: one explanation of one picture, and the means to ask for others like it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.results import reduce_channels
from xaiwidgets.engine.run import check_applicable
from xaiwidgets.errors import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.data.scenes import Scene
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target

#: How ``(C, H, W)`` values become one number a pixel in an evaluation, each named in its docstring.
REDUCTIONS = ("abs", "signed", "pos", "max")


class Case:
    """One question: a method's map of a target on a picture, for a network.

    Attributes:
        model: under study. ``image``: input ``(1, C, H, W)``. ``name``: of the picture.
        method: the explainer with its hyper-parameters. ``target``: what is explained.
        seed: of all that an evaluation draws. The method's own seed stays as it is: both sides of a comparison see the
            same noise.
        scene: the picture with the place of its objects, where that is known.
        data: further pictures, scenes, a recipe, a second network; what the metric says it needs.
    """

    def __init__(
        self,
        model: Model,
        image: Tensor,
        method: Any,
        target: Target,
        *,
        seed: int = 0,
        name: str = "",
        attribution: Attribution | None = None,
        scene: Scene | None = None,
        data: Any = None,
    ) -> None:
        self.model, self.image, self.method, self.target = model, image, method, target
        self.seed, self.name, self.scene, self.data = seed, name, scene, data
        self._attribution = attribution

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the input."""
        height, width = self.image.shape[2:]
        return height, width

    @property
    def known(self) -> bool:
        """Whether the map in question is there already."""
        return self._attribution is not None

    def attribution(self) -> Generator[None, None, Attribution]:
        """Return the map in question, computed on the first call; yields while that takes."""
        if self._attribution is None:
            self._attribution = yield from self.explaining()
        return self._attribution

    def explaining(
        self,
        *,
        image: Tensor | None = None,
        model: Model | None = None,
        target: Target | None = None,
        method: Any = None,
    ) -> Generator[None, None, Attribution]:
        """Return the map of the same question with something else in it; yields after each step of the method.

        Its passes are on the account of whoever runs this generator.

        Raises:
            NotApplicable: the method needs what the other network lacks.
        """
        network, asked = model or self.model, self.method if method is None else method
        check_applicable(asked, network)
        found = None
        steps = asked.steps(network, self.image if image is None else image, target or self.target)
        try:
            for found in steps:
                if found.progress < 1:
                    yield
        finally:
            steps.close()
        if found is None:
            raise RuntimeError(f"{type(asked).card.id} gave no result")
        return found  # type: ignore[no-any-return]

    def probability(self) -> Target:
        """Return the target as a probability.

        Raises:
            NotApplicable: it is a hidden unit, which has none.
        """
        if self.target.layer:
            raise NotApplicable("this metric", "a class", f"{self.target.name} is a hidden unit and has no probability")
        return self.target.with_output("probability")

    def rng(self, *more: int) -> np.random.Generator:
        """Return a generator of this case's seed and further numbers."""
        return np.random.default_rng([self.seed, *more])


def reduced(values: NDArray[Any], how: str) -> NDArray[np.float32]:
    """Return ``(H, W)`` from ``(C, H, W)``: ``abs`` Σ|e|, ``signed`` Σe, ``pos`` Σmax(e, 0), ``max`` max|e|."""
    if how == "pos":
        return np.maximum(values, 0).sum(axis=0, dtype=np.float32)  # type: ignore[no-any-return]
    names = {"abs": "sum_abs", "signed": "sum", "max": "max_abs"}
    if how not in names:
        raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}; got {how!r}")
    return reduce_channels(values, names[how])


def map_of(attribution: Attribution, how: str = "abs") -> NDArray[np.float32]:
    """Return the map at the picture's size, ``(H, W)``: reduced at its own resolution, then enlarged bilinearly."""
    return attribution.replace(values=reduced(attribution.values, how)[None]).heatmap("sum")
