from __future__ import annotations

import dataclasses
import json
import random
from urllib.parse import urlencode

import pytest

from xaiwidgets.core.cards import cards
from xaiwidgets.errors import InvalidKnob, UnknownMethod
from xaiwidgets.render.look import Look
from xaiwidgets.studio.lens import LARGEST_INDEX, LONGEST_NAME, LONGEST_QUERY, MOST_CLASSES, Lens, Unit, explainer_card

HUGE = 10**400


def test_equal_lenses_are_equal_and_hash_alike():
    first = Lens().with_knobs(layer="a").with_knobs(relu=False)
    second = Lens().with_knobs(relu=False, layer="a")
    assert first == second
    assert hash(first) == hash(second)
    assert first != first.with_knobs(relu=True)


def test_the_look_is_no_part_of_the_question():
    lens = Lens()
    assert lens.replace(look=Look(opacity=0.1)) != lens
    assert lens.replace(look=Look(opacity=0.1)).question == lens.question
    for change in ({"image": "chelsea"}, {"target": (3,)}, {"method": "saliency"}, {"knobs": (("relu", False),)}):
        assert lens.replace(**change).question != lens.question


def test_a_knob_at_its_default_is_not_part_of_the_lens():
    lens = Lens(method="occlusion").with_knobs(window_height=40)
    assert lens.knobs == (("window_height", 40),)
    assert lens.with_knobs(window_height=32) == Lens(method="occlusion")
    assert lens.knob("window_height") == 40
    assert lens.knob("window_width") == 32


def test_with_knobs_clamps_and_drops_unknown_names():
    lens = Lens(method="occlusion")
    assert lens.with_knobs(window_height=10_000).knob("window_height") == 512
    assert lens.with_knobs(window_height=-3).knob("window_height") == 1
    assert lens.with_knobs(window_height=float("nan")).knob("window_height") == 32
    assert lens.with_knobs(window_height="tall", fill="lava", shade=3) == lens
    assert lens.with_knobs(window_height=True).make()


def test_with_method_keeps_the_layer_and_nothing_else():
    lens = Lens().with_knobs(layer="features.3", relu=False)
    other = lens.with_method("guided_grad_cam")
    assert other.knobs == (("layer", "features.3"),)
    assert other.with_method("saliency").knobs == ()
    smooth = Lens(method="smoothgrad").with_knobs(samples=2, seed=5)
    assert smooth.with_method("rise").knobs == ()
    assert lens.with_method("grad_cam") is lens


def test_only_explainers_are_methods_of_a_lens():
    with pytest.raises(UnknownMethod, match="activation_maximization is a synthesizer"):
        Lens().with_method("activation_maximization")
    with pytest.raises(UnknownMethod, match="got 'gradcam'"):
        explainer_card("gradcam")
    assert Lens.from_query("method=activation_maximization").method == "grad_cam"


@pytest.mark.parametrize("made", cards("explainer"), ids=lambda c: c.id)
def test_round_trip_through_a_link(made):
    rng = random.Random(made.id)
    for _ in range(20):
        values = {k.name: rng.choice(list(k.domain.samples(k.default))) for k in made.knobs}
        look = Look(opacity=rng.random(), sign=rng.choice(["auto", "absolute"]), smooth=rng.random() < 0.5)
        lens = Lens("chelsea", tuple(rng.sample(range(10), rng.randrange(4))), made.id, look=look).with_knobs(**values)
        try:
            lens.make()
        except InvalidKnob:  # each is allowed, but not all together: a link leaves them out
            assert Lens.from_query(lens.to_query()) == lens.replace(knobs=())
            continue
        assert Lens.from_query(lens.to_query()) == lens
        assert Lens.from_query("?" + lens.to_query()) == lens


UNITS = [
    Unit("features.3", 5),
    Unit("blocks.2.0.conv_dw#2", 0, "max"),
    Unit("a,b=c&d %", 1279, "center"),
    Unit("x", 7, (3, 40)),
]


@pytest.mark.parametrize("unit", UNITS)
def test_a_hidden_unit_round_trips_through_a_link(unit):
    lens = Lens("chelsea", (), "saliency", unit=unit)
    assert Lens.from_query(lens.to_query()) == lens
    assert "target" not in lens.to_query()


def test_a_hidden_unit_is_part_of_the_question_and_comes_before_classes():
    lens = Lens(target=(3,), unit=UNITS[0])
    assert lens.asked == UNITS[0]
    assert lens.question != Lens(target=(3,)).question
    assert lens.question == Lens(unit=UNITS[0]).question
    assert Lens(target=(3,)).asked == (3,)
    assert Lens.from_query("target=3&unit=5,mean,features.3") == Lens(unit=UNITS[0])
    assert "target" not in lens.to_query()


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("", None),
        ("5", None),
        ("5,mean", None),
        ("5,mean,", None),
        ("-1,mean,a", None),
        ("five,mean,a", None),
        ("1e3,mean,a", None),
        ("9999999999,mean,a", Unit("a", LARGEST_INDEX)),
        ("9" * 3000 + ",mean,a", Unit("a", LARGEST_INDEX)),
        ("5,minimum,a", Unit("a", 5)),
        ("5,,a", Unit("a", 5)),
        ("5,1:2:3,a", Unit("a", 5)),
        ("5,-1:2,a", Unit("a", 5)),
        ("5,1:99999999,a", Unit("a", 5, (1, LARGEST_INDEX))),
        ("5,mean," + "a" * 999, Unit("a" * LONGEST_NAME, 5)),
        ("5,mean,<script>", Unit("<script>", 5)),
    ],
)
def test_a_unit_of_a_link_is_clamped(text, unit):
    lens = Lens.from_query(urlencode({"target": "3", "unit": text}))
    assert lens.unit == unit
    assert lens.target == (() if unit else (3,))


def test_the_default_link_is_short():
    assert Lens().to_query() == "image=coffee&method=grad_cam"
    assert Lens.from_query("") == Lens()


@pytest.mark.parametrize(
    "query",
    [
        "&" * 100_000,
        "method=" + "x" * 100_000,
        "k.layer=" + "[" * 3900,
        "k.layer=" + "%5B" * 1300,
        urlencode({"method": "occlusion", "k.window_height": str(HUGE)}),
        urlencode({"method": "occlusion", "k.window_height": "1e999", "k.window_width": "NaN"}),
        urlencode({"method": "occlusion", "k.window_height": '"9"', "k.fill": "[1]", "k.output": "{}"}),
        urlencode({"method": "occlusion", "k.__class__": "1", "look.__init__": "2", "k.": "3"}),
        urlencode({"look.opacity": "-1e300", "look.palette": '"<script>"', "look.smooth": "7", "look.clip": "null"}),
        urlencode({"method": "smoothgrad", "k.base": '"nonsense"'}),
        urlencode({"method": "smoothgrad", "k.base": '"smoothgrad"'}),
        urlencode({"target": "-1,x,1e3,,٣,²"}),
        urlencode({"target": ",".join(["7"] * 1500)}),
        "target=" + "9" * 3900,
        "%ff%fe=%00&method=%F0%9F%98%80",
    ],
)
def test_a_hostile_link_gives_a_lens_that_can_be_made(query):
    lens = Lens.from_query(query)
    assert lens.make() is not None
    assert len(lens.target) <= MOST_CLASSES
    assert all(type(n) is int and n >= 0 for n in lens.target)
    assert isinstance(lens.look, Look)
    assert Lens.from_query(lens.to_query()[:LONGEST_QUERY]).method == lens.method


def test_what_is_wrong_in_a_link_becomes_the_default():
    lens = Lens.from_query(urlencode({"method": "occlusion", "k.window_height": "9999", "k.fill": '"lava"'}))
    assert lens.knobs == (("window_height", 512),)
    assert Lens.from_query(urlencode({"method": "smoothgrad", "k.base": '"nonsense"'})).knobs == ()


def test_an_image_name_is_only_text_of_limited_length():
    image = "<script>alert(1)</script>" * 20
    lens = Lens.from_query(urlencode({"image": image}))
    assert lens.image == image[:100]
    assert "<" not in lens.to_query()


def test_random_bytes_never_raise():
    rng = random.Random(0)
    names = [
        "method",
        "image",
        "target",
        "unit",
        "k.layer",
        "k.window_height",
        "look.opacity",
        "look.layout",
        "k.samples",
    ]
    texts = ["1", "-1", "NaN", "Infinity", "1e400", '"a"', "[]", "{}", "null", "true", "0x10", "\x00", "é", str(HUGE)]
    for _ in range(500):
        pairs = [(rng.choice(names), rng.choice(texts)) for _ in range(rng.randrange(6))]
        method = rng.choice([made.id for made in cards("explainer")])
        Lens.from_query(urlencode([("method", method), *pairs])).make()


def test_a_lens_made_by_hand_is_not_clamped():
    with pytest.raises(InvalidKnob, match="window_height"):
        Lens(method="occlusion", knobs=(("window_height", 0),)).make()
    with pytest.raises(dataclasses.FrozenInstanceError):
        Lens().image = "x"


@pytest.mark.parametrize("name", ["nowhere", "/etc", "../photos", "~", "photos/../.."])
def test_a_link_cannot_name_reference_pictures_that_nobody_registered(name):
    link = {"method": "expected_gradients", "k.samples": "8"}
    lens = Lens.from_query(urlencode({**link, "k.references": json.dumps(name)}))
    assert lens.method == "expected_gradients"
    assert lens.make().references == "photos"
    known = Lens.from_query(urlencode({**link, "k.references": '"plain"'}))
    assert (known.make().references, known.make().samples) == ("plain", 8)
