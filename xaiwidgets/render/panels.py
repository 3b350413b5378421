"""How the maps of a comparison are scaled, each on its own, together, or by rank; and what two or all of them make."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.results import Attribution
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.render.box import found_box
from xaiwidgets.render.channels import Shown, shown
from xaiwidgets.render.compose import compose
from xaiwidgets.render.look import Look
from xaiwidgets.render.scale import Scale, scale_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SCALES = ("panel", "shared", "rank")
#: What each is called, and what it means, on screen and in print.
WORDS = {"panel": "each its own", "shared": "shared in a method", "rank": "ranks"}
SAID = {
    "panel": "Each panel has a scale of its own: compare places, not brightness.",
    "shared": "Panels of one method and unit share a scale, so that their brightness can be compared; panels of "
    "different methods do not.",
    "rank": "Color is rank: how many percent of the map's pixels are weaker. Places can be compared across methods, "
    "amounts cannot.",
}
RANK = "% of pixels are weaker"
SHARE = "share of the evidence"
NORMALIZED = "Each map: absolute values, divided by their sum."


@dataclasses.dataclass(frozen=True)
class Panel:
    """A map as it is drawn.

    Attributes:
        drawn: what is drawn, and its scale. ``raw``: the same before it was made ranks, for the value at a place.
        drawn_unit: of the color bar. ``unit``: of the values.
    """

    drawn: Shown
    raw: Shown
    drawn_unit: str
    unit: str

    def compose(self, photo: NDArray[np.uint8], attribution: Attribution | None = None) -> NDArray[np.uint8]:
        """Return the panel, uint8 ``(H, W, 3)``; a layout of two pictures is an overlay here."""
        part = self.drawn
        look = dataclasses.replace(part.look, layout="overlay") if part.look.layout == "side" else part.look
        box = None if attribution is None else found_box(attribution)
        return compose(photo, part.heat, part.scale, look, box, part.classes)


def raw_panels(results: Mapping[Any, Any], look: Look) -> dict[Any, Panel]:
    """Return what is shown of each attribution, by itself."""
    found = {}
    for place, one in results.items():
        if isinstance(one, Attribution):
            part = shown(one, look)
            found[place] = Panel(part, part, one.unit, one.unit)
    return found


def panels(results: Mapping[Any, Any], look: Look, scale: str = "panel") -> dict[Any, Panel]:
    """Return what is shown of each attribution on the scales that are asked for.

    Raises:
        InvalidKnob: an unknown scale mode.
    """
    methods = {place: one.provenance.method for place, one in results.items() if isinstance(one, Attribution)}
    return scaled(raw_panels(results, look), methods, scale)


def scaled(raw: Mapping[Any, Panel], methods: Mapping[Any, str], scale: str) -> dict[Any, Panel]:
    """Return these panels on the scales that are asked for; ``methods`` are their methods' ids."""
    if scale not in SCALES:
        raise InvalidKnob(f"scale must be one of {', '.join(SCALES)}; got {scale!r}.")
    if scale == "rank":
        return {place: ranked(one) for place, one in raw.items()}
    return _shared(raw, methods) if scale == "shared" else dict(raw)


def _shared(raw: Mapping[Any, Panel], methods: Mapping[Any, str]) -> dict[Any, Panel]:
    """Give the maps of one method and unit one scale.

    Maps of different methods are never put on one: even in the same unit, a pixel's share and a window's are not alike.
    """
    found, groups = dict(raw), defaultdict(list)
    for place, one in raw.items():
        part = one.raw
        if part.heat.ndim == 2 and not part.scale.empty:
            groups[methods[place], one.unit, part.scale.diverging, part.scale.against].append(place)
    for places in groups.values():
        scales = [raw[place].raw.scale for place in places]
        low, high = min(s.low for s in scales), max(s.high for s in scales)
        common = Scale(low, high, scales[0].diverging, clipped=any(s.clipped for s in scales))
        for place in places:
            drawn = dataclasses.replace(raw[place].raw, scale=common)
            found[place] = dataclasses.replace(raw[place], drawn=drawn)
    return found


def ranked(one: Panel) -> Panel:
    """Return a panel whose colors stand for ranks of size; a picture of three channels is left as it is."""
    part = one.raw
    if part.heat.ndim == 3 or part.scale.empty:
        return one
    values = part.part
    mixed = not part.scale.diverging and float(values.min()) < 0 < float(values.max())
    places = ranks(values - values.min() if mixed else values)
    if part.scale.diverging:
        heat, scale = places * np.sign(values), Scale(-100.0, 100.0, diverging=True)
    elif part.scale.against:
        heat, scale = -places, Scale(-100.0, 0.0)
    else:
        heat, scale = places, Scale(0.0, 100.0)
    drawn = dataclasses.replace(part, heat=heat.astype(np.float32), scale=scale)
    return dataclasses.replace(one, drawn=drawn, drawn_unit=RANK)


def ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return, for each value, the percentage of the others that are smaller in size; of 0 always 0."""
    sizes = np.abs(values).ravel()
    order = np.sort(sizes)
    found = np.searchsorted(order, sizes, side="left") * (100.0 / max(1, sizes.size - 1))
    return np.where(sizes == 0, 0.0, np.minimum(found, 100.0)).reshape(np.shape(values))


def made_panel(values: NDArray[Any], look: Look, *, signed: bool) -> Panel:
    """Return the panel of a map that was made of others, ``(H, W)``, in shares of the evidence."""
    plain = Look(opacity=look.opacity, clip=look.clip, blend=look.blend, layout=look.layout)
    heat = np.asarray(values, np.float32)
    part = Shown(heat, signed, heat, plain, scale_for(heat, signed=signed, clip=plain.clip))
    return Panel(part, part, SHARE, SHARE)
