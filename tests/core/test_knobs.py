"""Knobs: what a person writes is checked, what a browser sends is clamped, whatever it is."""

from __future__ import annotations

import dataclasses
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from xaiwidgets.core.knobs import (
    Choice,
    Domain,
    Flag,
    LayerName,
    MethodName,
    Range,
    ReferenceName,
    check_knobs,
    clamp_knobs,
    knob,
    knobs_of,
)
from xaiwidgets.errors import InvalidKnob

WHOLE, REAL = Range(1, 16_000), Range(0.0, 0.5, step=0.1)
CHOICE, FLAG, LAYER, METHOD = Choice(("black", "white")), Flag(), LayerName(), MethodName(exclude=("smoothgrad",))
HOSTILE = (
    None,
    "",
    "black; rm",
    "nan",
    float("nan"),
    float("inf"),
    -float("inf"),
    1e9,
    -1e9,
    10**400,
    True,
    np.True_,
    1j,
    [],
    [1],
    (1, 2),
    {"value": 1},
    {1},
    b"1",
    object(),
    np.float64("nan"),
    np.array([1.0, 2.0]),
    "x" * 10_000,
    "__import__('os')",
)
DOMAINS = {"whole": (WHOLE, 7), "real": (REAL, 0.25), "choice": (CHOICE, "white"), "flag": (FLAG, False)}
REFERENCES = ReferenceName()
NAMED = {**DOMAINS, "layer": (LAYER, ""), "method": (METHOD, "saliency"), "references": (REFERENCES, "photos")}


def inside(domain, value):
    """Say whether a value is canonical, in words that share nothing with the domains' own code."""
    if isinstance(domain, Range):
        kind = int if domain.integer else float
        return type(value) is kind and math.isfinite(value) and domain.low <= value <= domain.high
    if isinstance(domain, Flag):
        return value is True or value is False
    if isinstance(domain, Choice):
        return type(value) is str and value in domain.options
    return isinstance(value, str) and len(value) <= 300


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("value", HOSTILE, ids=[f"{n}-{type(v).__name__}" for n, v in enumerate(HOSTILE)])
def test_a_hostile_value_is_refused_by_name_and_clamped_inside(name, value):
    domain, default = NAMED[name]
    clamped = domain.clamp(value, default)
    assert inside(domain, clamped)
    try:
        checked = domain.check("points", value)
    except InvalidKnob as error:
        assert str(error).startswith("points must be ")
        assert "; got " in str(error)
        assert len(str(error)) < 300
    else:
        assert inside(domain, checked)
        assert checked == value == clamped


@pytest.mark.parametrize(
    ("domain", "value", "expected"),
    [
        (WHOLE, 5.0, 5),
        (WHOLE, np.int64(5), 5),
        (WHOLE, np.uint8(200), 200),
        (WHOLE, np.float32(3), 3),
        (WHOLE, Fraction(4, 2), 2),
        (REAL, 0, 0.0),
        (REAL, np.float32(0.25), 0.25),
        (REAL, Fraction(1, 4), 0.25),
        (CHOICE, np.str_("black"), "black"),
        (FLAG, np.bool_(False), False),
        (METHOD, "grad_cam", "grad_cam"),
        (LAYER, "blocks.4#2", "blocks.4#2"),
        (REFERENCES, np.str_("my photos-2"), "my photos-2"),
    ],
)
def test_numbers_of_other_libraries_become_plain_ones(domain, value, expected):
    found = domain.check("x", value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("value", [0, 16_001, 2.5, np.float64(2.5), Decimal(2), "3", np.bool_(1), 10**400])
def test_whole_numbers_only_within_the_bounds(value):
    with pytest.raises(InvalidKnob, match=r"^samples must be a whole number from 1 to 16,000; got "):
        WHOLE.check("samples", value)


def test_bounds_are_included():
    assert [WHOLE.check("n", v) for v in (1, 16_000)] == [1, 16_000]
    assert [REAL.check("n", v) for v in (0, 0.5)] == [0.0, 0.5]
    with pytest.raises(InvalidKnob, match=r"a number from 0.0 to 0.5"):
        REAL.check("n", math.nextafter(0.5, 1))


@pytest.mark.parametrize(
    ("domain", "value", "expected"),
    [
        (WHOLE, -3, 1),
        (WHOLE, 1e9, 16_000),
        (WHOLE, 2.6, 3),
        (WHOLE, "12", 12),
        (WHOLE, float("inf"), 99),
        (WHOLE, True, 99),
        (WHOLE, 10**400, 99),
        (REAL, 3, 0.5),
        (REAL, -1, 0.0),
        (REAL, None, 99),
        (CHOICE, "blue", 99),
        (FLAG, 1, 99),
        (METHOD, "smoothgrad", 99),
        (METHOD, "os.system", 99),
        (LAYER, "y" * 301, 99),
        (REFERENCES, "../photos", 99),
        (REFERENCES, "/etc", 99),
        (REFERENCES, "a.b", 99),
        (REFERENCES, "~", 99),
        (REFERENCES, "C:\\photos", 99),
        (REFERENCES, "photos\n", 99),
        (REFERENCES, "y" * 61, 99),
    ],
)
def test_clamping_moves_numbers_and_replaces_the_rest(domain, value, expected):
    assert domain.clamp(value, 99) == expected


def test_a_choice_names_what_is_close():
    with pytest.raises(InvalidKnob, match=r"fill must be one of black, white; got 'blck'. Did you mean black\?"):
        CHOICE.check("fill", "blck")


def test_the_samples_cover_the_domain_and_pass_its_check():
    assert list(WHOLE.samples(7)) == [1, 7, 16_000]
    assert list(Range(0, 5).samples(0)) == [0, 5]
    assert list(CHOICE.samples("white")) == ["black", "white"]
    assert list(FLAG.samples(True)) == [False, True]
    assert list(LAYER.samples("")) == [""]
    for domain, default in NAMED.values():
        assert [domain.check("x", value) for value in domain.samples(default)] == list(domain.samples(default))


def test_a_domain_must_say_what_it_allows():
    with pytest.raises(NotImplementedError):
        Domain().check("x", 1)


@dataclasses.dataclass(frozen=True)
class Made:
    points: int = knob(8, WHOLE, label="Points", help="How many.", unit="px", live=True)
    plain: str = "no knob"
    fill: str = knob("black", CHOICE, label="Fill", help="With what.", advanced=True)

    __post_init__ = check_knobs


def test_knobs_know_their_names_and_keep_their_order():
    assert [k.name for k in knobs_of(Made)] == [k.name for k in knobs_of(Made())] == ["points", "fill"]
    points, fill = knobs_of(Made)
    assert (points.default, points.domain, points.label, points.help, points.unit) == (
        8,
        WHOLE,
        "Points",
        "How many.",
        "px",
    )
    assert (points.live, points.advanced, fill.live, fill.advanced) == (True, False, False, True)


def test_a_frozen_dataclass_holds_canonical_values():
    made = Made(points=np.int64(9))
    assert type(made.points) is int
    assert made == Made(points=9)
    assert hash(made) == hash(Made(points=9.0))
    with pytest.raises(InvalidKnob, match=r"^points must be"):
        Made(points=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.points = 3


def test_unknown_names_from_a_browser_are_dropped():
    assert clamp_knobs(Made, {"points": 0, "plain": "x", "__class__": 1, "fill": None}) == {
        "points": 1,
        "fill": "black",
    }
    assert clamp_knobs(Made, {}) == {}
