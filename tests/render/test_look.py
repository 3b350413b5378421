from __future__ import annotations

import dataclasses

import pytest

from xaiwidgets.core.knobs import clamp_knobs, knobs_of
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.render.look import Look


def test_defaults_are_inside_their_domains_and_equal_looks_are_one_cache_key():
    assert dataclasses.asdict(Look()) == {
        "layout": "overlay",
        "opacity": 0.6,
        "palette": "auto",
        "sign": "auto",
        "channels": "combined",
        "smooth": True,
        "clip": 99.5,
        "regions": 100.0,
        "blend": "by value",
    }
    assert hash(Look(opacity=1)) == hash(Look(opacity=1.0))
    assert [k.name for k in knobs_of(Look)] == list(dataclasses.asdict(Look()))


@pytest.mark.parametrize(
    ("name", "value"),
    [("layout", "below"), ("opacity", 1.5), ("palette", "rainbow"), ("sign", "both"), ("smooth", 1), ("clip", 89.9)],
)
def test_a_value_outside_its_domain_is_refused_by_name(name, value):
    with pytest.raises(InvalidKnob, match=f"^{name} must be"):
        Look(**{name: value})


def test_what_a_browser_sends_is_clamped():
    sent = {"opacity": 7, "clip": 0, "palette": "no such", "layout": "side", "other": 1}
    assert clamp_knobs(Look, sent) == {"opacity": 1.0, "clip": 90.0, "palette": "auto", "layout": "side"}
