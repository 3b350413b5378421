"""How a map is shown, which never changes what it says."""

from __future__ import annotations

from dataclasses import dataclass

from xaiwidgets.core.knobs import Choice, Flag, Range, check_knobs, knob
from xaiwidgets.core.results import REDUCTIONS
from xaiwidgets.render.palettes import PALETTES

LAYOUTS = ("overlay", "side", "map", "photo")
SIGNS = ("auto", "signed", "absolute", "positive", "negative")
BLENDS = ("by value", "even")
#: ``combined`` is the method's own reduction; ``as image`` is a picture around gray.
CHANNELS = ("combined", "red", "green", "blue", "as image", *REDUCTIONS)


@dataclass(frozen=True)
class Look:
    """The choices of the person who looks; equal looks give equal pixels.

    Raises:
        InvalidKnob: a value is outside its domain.
    """

    layout: str = knob("overlay", Choice(LAYOUTS), label="Layout", help="Map over the photo, beside it, or one alone.")
    opacity: float = knob(0.6, Range(0.0, 1.0, 0.01), label="Opacity", help="How much of the map covers the photo.")
    palette: str = knob(
        "auto",
        Choice(("auto", *PALETTES)),
        label="Palette",
        help="Auto is sequential for one-sided maps and diverging, centered at 0, for signed ones. One-sided palettes "
        "have no center: signed maps are then blue and red.",
    )
    sign: str = knob(
        "auto", Choice(SIGNS), label="Sign", help="Which part is shown; auto is all that the method's values mean."
    )
    channels: str = knob(
        "combined",
        Choice(CHANNELS),
        label="Channels",
        help="For maps with a value for red, green and blue: the method's own reduction, one channel, the picture that "
        "the values make around gray, or another reduction.",
    )
    smooth: bool = knob(
        True, Flag(), label="Smooth", help="Bilinear, or the cells of a low-resolution map as they are."
    )
    clip: float = knob(
        99.5,
        Range(90.0, 100.0, 0.5),
        label="Top of the scale",
        help="Values beyond this percentile share the last color.",
        unit="%",
        advanced=True,
    )
    regions: float = knob(
        100.0,
        Range(1.0, 100.0, 1.0),
        label="Top regions",
        help="For maps of ranked regions: only the first ones, up to this share of the photo.",
        unit="%",
        advanced=True,
    )
    blend: str = knob(
        "by value", Choice(BLENDS), label="Blend", help="By value keeps the photo clear where there is little evidence."
    )

    def __post_init__(self) -> None:
        check_knobs(self)
