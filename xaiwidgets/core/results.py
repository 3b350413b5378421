"""What methods yield: immutable results with all it takes to redo them. NumPy only."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from os import fspath
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from numpy.typing import NDArray
    from PIL.Image import Image

#: How ``(C, H, W)`` values become one number a pixel.
REDUCTIONS = ("sum", "max_abs", "sum_abs", "mean")


def reduce_channels(values: NDArray[Any], how: str) -> NDArray[np.float32]:
    """Return ``(H, W)`` from ``(C, H, W)``: signed ``sum`` or ``mean``, or unsigned ``max_abs`` or ``sum_abs``."""
    if how == "sum":
        return values.sum(axis=0, dtype=np.float32)  # type: ignore[no-any-return]
    if how == "mean":
        return values.mean(axis=0, dtype=np.float32)  # type: ignore[no-any-return]
    if how == "max_abs":
        return np.abs(values).max(axis=0).astype(np.float32)  # type: ignore[no-any-return]
    if how == "sum_abs":
        return np.abs(values).sum(axis=0, dtype=np.float32)  # type: ignore[no-any-return]
    raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}; got {how!r}.")


def _fixed(values: Any) -> NDArray[np.float32]:
    """Return a float32 view that cannot be written to."""
    view = np.asarray(values, dtype=np.float32).view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True)
class Provenance:
    """All it takes to redo a result, filled in by the engine.

    ``image`` is the sample's name or a digest of the pixels; ``passes`` are (forward, backward) passes of one image
    that this result has cost; ``seconds`` is the time spent computing, waiting not counted. ``preprocessing`` is how
    the photo became the network's input. ``events`` are changes of live hyper-parameters while it ran, each (first step
    made with it, name, old value, new value): with any, ``knobs`` alone give another result; ``explain(…, events=…)``
    makes them again.
    """

    method: str = ""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    target: str = ""
    model: str = ""
    image: str = ""
    passes: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    preprocessing: Any = None
    events: tuple[tuple[int, str, Any, Any], ...] = ()


@dataclass(frozen=True, eq=False)
class Attribution:
    """How much each pixel or feature position speaks for the target.

    Attributes:
        values: float32 ``(C, H, W)`` or ``(1, h, w)``, never normalized for display.
        unit: of the values, e.g. ``logit`` or ``logit per unit of input``.
        signed: whether negative values carry meaning.
        reduction: how channels become one number a pixel, see ``reduce_channels``.
        progress: share of the work done, in (0, 1]; the last result has 1.
        size: ``(H, W)`` of the picture that the map belongs to.
        layer: the layer that was explained, or an empty string for the input.
        score: the target's score on the picture.
        gap: completeness error, sum of the values less the difference they should explain, where that is defined.
        notes: what a reader should know, one sentence each (operations covered, early stop, …).
        details: further arrays or numbers of the method, by name. Shown where they are present: ``box`` (top, left,
            bottom, right in pixels of ``size``, the last two not included); ``explained``, what the values should sum
            to; ``accounted``, what adds up to it where that is not the values (they show it rescaled);
            ``standard_error``; ``coverage``, rows of (layer, kind, rule, count); ``receipt``, where relevance went
            (start, input, bias, epsilon, dropped); ``receipt_layers``, the same by layer (layer, kind, rule, in, out,
            bias, epsilon, dropped); ``dominant``, the index of the class on top at each place ``(h, w)``, with
            ``classes``, rows of (index, label, share of the pixels) in the order of their colors; ``curves``, numbers
            by name and ``step`` of ``planned``, or over shares where nothing is planned, with ``curve_words`` for them
            and ``across`` for the axis; ``events``, as in ``Provenance``; ``ends``, what 0 and 1 mean in words.
        provenance: filled in by the engine.
    """

    values: NDArray[np.float32]
    unit: str
    signed: bool
    size: tuple[int, int]
    reduction: str = "sum"
    progress: float = 1.0
    layer: str = ""
    score: float = float("nan")
    gap: float | None = None
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _fixed(self.values))

    def __repr__(self) -> str:
        from xaiwidgets.render.receipt import brief

        return brief(self)

    def map(self, reduction: str | None = None) -> NDArray[np.float32]:
        """Return the map at its own resolution, ``(h, w)``."""
        return reduce_channels(self.values, reduction or self.reduction)

    def heatmap(self, reduction: str | None = None) -> NDArray[np.float32]:
        """Return ``(H, W)`` at the picture's size: channels reduced, then enlarged bilinearly, corners not aligned."""
        from xaiwidgets.render.resize import bilinear

        return bilinear(self.map(reduction), self.size)

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest value of the reduced map."""
        flat = self.map()
        return float(flat.min()), float(flat.max())

    def replace(self, **changes: Any) -> Attribution:
        """Return a copy with these fields changed."""
        return dataclasses.replace(self, **changes)

    def plot(self, image: Any = None, **look: Any) -> Any:
        """Return a matplotlib figure of the map, over ``image`` when given (see ``render.figure``)."""
        from xaiwidgets.render.figure import attribution_figure

        return attribution_figure(self, image, **look)

    def save(self, path: str | PathLike[str], image: Any = None, **look: Any) -> None:
        """Write the figure of ``plot`` as PNG, SVG or PDF, or the numbers as ``.npz``, by the ending of ``path``."""
        from xaiwidgets.render.figure import save_attribution

        save_attribution(self, path, image, **look)


@dataclass(frozen=True, eq=False)
class Exhibit:
    """A picture that stands beside a synthesized one: a perturbation, another start, a facet, a layer's memory.

    Attributes:
        image: float32 ``(H, W, 3)`` in [0, 1]. ``caption``: what it is, in words.
    """

    image: NDArray[np.float32]
    caption: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", _fixed(self.image))


@dataclass(frozen=True, eq=False)
class Synthesis:
    """A picture made to excite a unit.

    Attributes:
        image: float32 ``(H, W, 3)`` in [0, 1].
        score: the objective at this picture; ``unit`` says of what.
        curve: the objective at every step so far.
        step: how many steps were done. ``progress``: share of the planned steps, in (0, 1].
        terms: the parts of the objective and the regularizers at this step, by name.
        curves: what else was measured after every step (probability, regularizers, …), by name.
        beside: pictures that belong to this one, with captions. ``image`` may be one of them.
        events: changes of live knobs, as (step, name, old, new).
        state: what a run needs to go on from here, opaque.
    """

    image: NDArray[np.float32]
    score: float
    unit: str
    curve: NDArray[np.float32]
    step: int
    progress: float = 1.0
    terms: Mapping[str, float] = field(default_factory=dict)
    events: tuple[tuple[int, str, Any, Any], ...] = ()
    notes: tuple[str, ...] = ()
    state: Any = None
    provenance: Provenance = field(default_factory=Provenance)
    curves: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    beside: tuple[Exhibit, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", _fixed(self.image))
        object.__setattr__(self, "curve", _fixed(self.curve))
        object.__setattr__(self, "curves", {name: _fixed(curve) for name, curve in self.curves.items()})

    def replace(self, **changes: Any) -> Synthesis:
        """Return a copy with these fields changed."""
        return dataclasses.replace(self, **changes)

    def picture(self) -> Image:
        """Return the picture as an 8-bit PIL image."""
        from PIL import Image

        return Image.fromarray((self.image * 255 + 0.5).clip(0, 255).astype(np.uint8))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the picture; the ending of ``path`` decides the format."""
        self.picture().save(fspath(path))
