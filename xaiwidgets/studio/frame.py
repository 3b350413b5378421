"""What the Studio publishes: frames, predictions, status, probes. Plain records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xaiwidgets.render.box import found_box
from xaiwidgets.render.channels import shown
from xaiwidgets.render.compose import compose

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.render.look import Look
    from xaiwidgets.render.scale import Scale
    from xaiwidgets.studio.lens import Lens


@dataclass(frozen=True)
class Prediction:
    """One class with its probability and logit."""

    index: int
    label: str
    probability: float
    logit: float


@dataclass(frozen=True)
class Frame:
    """An answer, as far as it has come, and the photo it belongs to.

    Attributes:
        lens: the question it answers.
        photo: what the model sees at display resolution, uint8 ``(H, W, 3)``.
        result: the attribution. ``target``: in words.
        reused: it was computed before and cost nothing now.
    """

    lens: Lens
    photo: NDArray[np.uint8]
    result: Attribution
    target: str
    reused: bool = False

    def scale(self, look: Look) -> Scale:
        """Return the scale on which this look shows the values."""
        return shown(self.result, look).scale

    def pixels(self, look: Look) -> NDArray[np.uint8]:
        """Return the picture on screen, uint8 ``(H, W', 3)``."""
        part = shown(self.result, look)
        return compose(self.photo, part.heat, part.scale, part.look, found_box(self.result), part.classes)


@dataclass(frozen=True)
class Probe:
    """What the network says while a region is hidden.

    Attributes:
        box: (top, left, bottom, right) in pixels of the model's input.
        score: the target's probability (its activation, for a hidden unit); ``whole`` is that of the whole photo.
        predictions: the first five classes with the region hidden.
        target: in words. ``unit``: what the score is measured in.
    """

    box: tuple[int, int, int, int]
    score: float
    whole: float
    predictions: tuple[Prediction, ...]
    target: str = ""
    unit: str = "probability"


@dataclass(frozen=True)
class Status:
    """What is going on, in words and numbers.

    Attributes:
        text: one line. ``kind``: ``idle``, ``busy``, ``paused``, ``error`` or ``stopped``.
        progress: share done, in [0, 1].
        seconds: spent on the work so far; ``left``: estimated to go, or ``None``.
        passes: (forward, backward) passes of one image spent.
    """

    text: str
    kind: str = "idle"
    progress: float = 0.0
    seconds: float = 0.0
    left: float | None = None
    passes: tuple[int, int] = (0, 0)
