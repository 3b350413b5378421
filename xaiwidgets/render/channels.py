"""Which part of per-channel values is shown: reduced to one number a pixel, one color channel, or as a picture."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.engine.regions import top
from xaiwidgets.render.compose import look_scale, picture_scale
from xaiwidgets.render.dominance import found_dominance
from xaiwidgets.render.scale import shown_part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.render.dominance import Dominance
    from xaiwidgets.render.look import Look
    from xaiwidgets.render.scale import Scale

COLORS = ("red", "green", "blue")
#: What a choice is called beside the method's name.
WORDS = {
    "as image": "as an image",
    "sum": "sum of the channels",
    "mean": "mean of the channels",
    "max_abs": "largest channel",
    "sum_abs": "sum of sizes",
    **{color: f"{color} channel" for color in COLORS},
}
#: Reductions whose numbers have no sign.
UNSIGNED = ("max_abs", "sum_abs")


@dataclasses.dataclass(frozen=True)
class Shown:
    """What of an attribution is on screen under a look.

    Attributes:
        map: ``(h, w)``: what color bar, words and pointer are about. ``signed``: whether its sign means something.
        heat: what is drawn: the map, or ``(h, w, 3)`` for a picture around gray.
        look: the look with which it is drawn; what has no meaning for these values is left at its default.
        scale: the scale of ``heat``.
        classes: which class has the value at each place, for maps over several classes.
    """

    map: NDArray[np.float32]
    signed: bool
    heat: NDArray[np.float32]
    look: Look
    scale: Scale
    classes: Dominance | None = None

    def title(self, method: str) -> str:
        """Return the method's name, with what of its map is shown if that is not the usual."""
        what = WORDS.get(self.look.channels)
        if self.look.regions < 100:
            what = f"first {self.look.regions:g} % of the photo"
        return f"{method} ({what})" if what else method

    @property
    def part(self) -> NDArray[np.float32]:
        """The map with only the sign that is looked at."""
        return shown_part(self.map, self.look.sign)

    @property
    def points(self) -> NDArray[np.float32]:
        """What is told about a place: the part of the map, or the three values of a picture."""
        if self.heat.ndim == 2:
            return self.part
        return shown_part(self.heat.reshape(len(self.heat), -1), self.look.sign).reshape(self.heat.shape)

    @property
    def map_scale(self) -> Scale:
        """The scale of the map, which differs from that of a picture."""
        return self.scale if self.heat is self.map else look_scale(self.map, self.signed, self.look)


def choosable(attribution: Attribution) -> bool:
    """Return whether the values have a channel for each of red, green and blue."""
    return len(attribution.values) == len(COLORS)


def ranked(attribution: Attribution) -> NDArray[np.integer[Any]] | None:
    """Return the rank of the region at each pixel ``(h, w)``, 0 for none; ``None`` for maps without ranked regions."""
    order = attribution.details.get("order")
    there = isinstance(order, np.ndarray) and order.shape == attribution.values.shape[1:] and order.dtype.kind in "iu"
    return order if there else None


def shown(attribution: Attribution, look: Look) -> Shown:
    """Return what of the attribution this look shows; values of one channel are always shown as they are.

    One channel, or the sum, of values with both signs is signed, also where the method's own reduction is not. The look
    may draw only the first of ranked regions; the scale and the numbers stay those of the whole map.
    """
    order = ranked(attribution)
    if order is None:
        look = dataclasses.replace(look, regions=100.0)
    values, how = attribution.values, look.channels
    classes = found_dominance(attribution)
    if classes is not None:  # colors stand for classes, and brightness for what is above 0
        look = dataclasses.replace(look, channels="combined", palette="gray", sign="positive")
        heat = attribution.map()
        return Shown(heat, False, heat, look, look_scale(heat, False, look), classes)
    if how != "combined" and not choosable(attribution):
        how, look = "combined", dataclasses.replace(look, channels="combined")
    if how in ("combined", "as image"):
        heat, signed = attribution.map(), attribution.signed
    elif how in COLORS:
        heat, signed = values[COLORS.index(how)], _both_signs(attribution)
    else:
        heat, signed = attribution.map(how), how not in UNSIGNED and _both_signs(attribution)
    if how == "as image":
        picture = np.ascontiguousarray(values.transpose(1, 2, 0))
        return Shown(heat, signed, picture, look, picture_scale(picture, look))
    drawn = heat
    if order is not None and look.regions < 100:
        drawn = np.where(top(order, look.regions / 100), heat, np.float32(0))
    return Shown(heat, signed, drawn, look, look_scale(heat, signed, look))


def _both_signs(attribution: Attribution) -> bool:
    return attribution.signed or float(attribution.values.min()) < 0
