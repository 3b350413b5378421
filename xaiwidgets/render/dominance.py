"""Which class dominates where: hue for the class, brightness for its response, and a legend."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.render.resize import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xaiwidgets.core.results import Attribution

#: Ten colors of full brightness, so that a response can scale it; their saturation differs as well as their hue, since
#: ten hues alone cannot be told apart without one sort of cones. No two of them look alike to anybody (CIELAB distance
#: of at least 24, also as seen by a protanope, a deuteranope or a tritanope).
HUES = np.array(
    [
        (255, 128, 0),
        (0, 0, 255),
        (128, 255, 255),
        (255, 0, 170),
        (255, 255, 0),
        (200, 89, 255),
        (170, 255, 128),
        (255, 181, 166),
        (255, 0, 85),
        (210, 166, 255),
    ],
    np.uint8,
)
HUES.setflags(write=False)
#: Shares below this are told as such.
LEAST = 0.005


@dataclass(frozen=True)
class Entry:
    """One line of the legend: a class, its share of the pixels, and its color as ``#rrggbb``."""

    label: str
    share: float
    color: str

    @property
    def words(self) -> str:
        """Label and share, e.g. ``espresso: 83 %``."""
        share = f"{self.share:.0%}".replace("%", " %") if self.share >= LEAST else "<1 %"
        return f"{self.label}: {share}"


@dataclass(frozen=True)
class Dominance:
    """Which of at most ten classes is on top at each place.

    Attributes:
        which: ``(h, w)``, positions in ``labels``.
        labels: of the classes. ``shares``: of the pixels, in the same order.
    """

    which: NDArray[np.intp]
    labels: tuple[str, ...]
    shares: tuple[float, ...]

    def colors(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the color of the class at each place, ``(H, W, 3)``, at full brightness."""
        rgb: NDArray[np.uint8] = HUES[np.rint(nearest(self.which.astype(np.float32), size)).astype(np.intp)]
        return rgb

    def picture(self, index: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return hue for the class and brightness for its response, ``(H, W, 3)``; ``index``: 0 to 255, ``(H, W)``."""
        level = index.astype(np.uint16)[..., None]
        return ((self.colors(index.shape[:2]) * level + 127) // 255).astype(np.uint8)  # type: ignore[arg-type]

    def legend(self) -> tuple[Entry, ...]:
        """Return the classes that are on top somewhere, the largest share first."""
        entries = (
            Entry(label, share, "#{:02x}{:02x}{:02x}".format(*color.tolist()))
            for label, share, color in zip(self.labels, self.shares, HUES, strict=False)
        )
        return tuple(sorted((one for one in entries if one.share > 0), key=lambda one: -one.share))

    def label(self, row: float, column: float) -> str:
        """Return the class at a place given as shares of the picture's height and width."""
        height, width = self.which.shape
        at = self.which[min(height - 1, int(row * height)), min(width - 1, int(column * width))]
        return self.labels[int(at)]


def found_dominance(attribution: Attribution) -> Dominance | None:
    """Return what ``details["dominant"]`` and ``details["classes"]`` say, if they are there.

    ``dominant`` holds indices of classes, ``(h, w)``; ``classes`` rows of (index, label, share), in the order of their
    colors. Of more than ten classes, those after the tenth have no color of their own and share the last.
    """
    dominant, rows = attribution.details.get("dominant"), attribution.details.get("classes")
    if dominant is None or not rows:
        return None
    indices = np.array([row[0] for row in rows])
    order = indices.argsort()
    which = order[np.searchsorted(indices, np.asarray(dominant), sorter=order).clip(max=len(rows) - 1)]
    return Dominance(
        np.minimum(which, len(HUES) - 1), tuple(str(row[1]) for row in rows), tuple(float(row[2]) for row in rows)
    )


def legend_html(found: Dominance) -> str:
    """Return the legend in words, each class beside its color, as one line of HTML."""
    parts = (
        f"<span class='xai-class'><span class='xai-swatch' style='background:{one.color}'></span>"
        f"{escape(one.words)}</span>"
        for one in found.legend()
    )
    return f"<span class='xai-legend'>{' '.join(parts)}</span>"
