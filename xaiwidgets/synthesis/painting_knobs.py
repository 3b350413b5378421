"""Hyper-parameters that all methods share which paint through a parameterization and random views."""

from __future__ import annotations

from typing import Any

from xaiwidgets.core.knobs import Choice, Flag, Range, knob
from xaiwidgets.synthesis.transforms import NAMES

#: What pictures can be made of.
PARAMETERIZATIONS = ("fourier", "pixel", "grid", "pyramid", "cppn")


def step_size(default: float = 0.05) -> Any:
    """How far a step moves the values."""
    return knob(
        default,
        Range(0.001, 5.0, log=True),
        label="Step size",
        help="How far one step of Adam moves the values that the picture is made of. Large steps give more contrast.",
        live=True,
    )


def transforms(default: str = "light") -> Any:
    """Which random views the network sees."""
    return knob(
        default,
        Choice(NAMES),
        label="Random views",
        help="What the network sees of the picture at each step. none: the picture; jitter: moved by up to 8 pixels; "
        "light: moved by 4, 5 % nearer or farther; standard: moved by 6, 10 %, turned by 10°; custom: as set below.",
        live=True,
    )


def strength() -> Any:
    """How strong the views are."""
    return knob(
        1.0,
        Range(0.0, 3.0, step=0.1),
        label="Strength of views",
        help="Multiplies how far pictures are moved, scaled and turned. Strong views give larger, calmer shapes.",
        live=True,
    )


def jitter() -> Any:
    """How far a custom view is moved."""
    return knob(
        8,
        Range(0, 64),
        label="Custom: moved by",
        help="With custom views, the picture is moved at random by up to so much each way.",
        unit="pixels",
        live=True,
        advanced=True,
    )


def zoom() -> Any:
    """How much nearer or farther a custom view is."""
    return knob(
        0.1,
        Range(0.0, 0.5, step=0.01),
        label="Custom: nearer or farther by",
        help="With custom views, the picture is enlarged or made smaller at random by up to so much.",
        unit="share",
        live=True,
        advanced=True,
    )


def rotation() -> Any:
    """How far a custom view is turned."""
    return knob(
        10.0,
        Range(0.0, 180.0, step=1.0),
        label="Custom: turned by",
        help="With custom views, the picture is turned at random by up to so much each way.",
        unit="degrees",
        live=True,
        advanced=True,
    )


def parameterization() -> Any:
    """What the picture is made of."""
    return knob(
        "fourier",
        Choice(PARAMETERIZATIONS),
        label="Made of",
        help="fourier: waves, weighted like those of photos; pixel: single pixels; grid: coarse cells; pyramid: grids "
        "of all sizes; cppn: a small network from place to color, smooth at any size.",
    )


def decorrelate() -> Any:
    """Whether colors are decorrelated."""
    return knob(
        True,
        Flag(),
        label="Colors of photos",
        help="Paints in colors whose correlations are those of photos, so that no color channel is left behind. "
        "Networks of one channel have none.",
        advanced=True,
    )


def decay_power() -> Any:
    """How waves are weighted."""
    return knob(
        1.0,
        Range(0.0, 3.0, step=0.1),
        label="Decay of waves",
        help="Waves are weighted by frequency to minus this power: 1 is that of photos, more gives smoother pictures.",
        advanced=True,
    )


def cells() -> Any:
    """How coarse the grid is."""
    return knob(
        32,
        Range(2, 256, log=True),
        label="Cells of the grid",
        help="How many cells the grid has along each side.",
        unit="cells",
        advanced=True,
    )


def spread() -> Any:
    """How strong the noise of the start is."""
    return knob(
        0.01,
        Range(0.0001, 1.0, log=True),
        label="Noise at the start",
        help="Standard deviation of the values that the picture starts from.",
        advanced=True,
    )


def start() -> Any:
    """What the picture starts from."""
    return knob(
        "noise",
        Choice(("noise", "photo")),
        label="Start from",
        help="noise: faint clouds on gray; photo: the photo, whose values are looked up (not for cppn).",
    )


def iterations(default: int) -> Any:
    """When to stop."""
    return knob(default, Range(1, 2000, log=True), label="Steps", help="When to stop.", unit="steps")


def seed() -> Any:
    """Of all that is drawn."""
    return knob(
        0,
        Range(0, 2**31 - 1),
        label="Seed",
        help="Of the start and of random views. Same seed, same picture.",
        advanced=True,
    )
