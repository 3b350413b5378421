"""The registry: every card is complete, ids resolve, and wrong ones are answered with what would work."""

from __future__ import annotations

import dataclasses
import re

import pytest

from xaiwidgets.core import cards as registry
from xaiwidgets.core.cards import FAMILIES, card, cards, choices, explainer, methods, resolve, synthesizer
from xaiwidgets.core.knobs import Choice, MethodName, Range, knob, knobs_of
from xaiwidgets.engine.run import NEEDS
from xaiwidgets.errors import InvalidKnob, UnknownMethod

ALL = cards()
FIRST_SET = {
    "activation_maximization",
    "deconvnet",
    "grad_cam",
    "gradient_x_input",
    "guided_backprop",
    "guided_grad_cam",
    "integrated_gradients",
    "occlusion",
    "rise",
    "saliency",
    "smoothgrad",
}
#: Which axes the values have; a method around another one has those of its base.
SHAPE = re.compile(r"``\((?:C|1|N|H|h)[^`]*\)``|[Yy]ields what the base yields")
TEXTS = {"title": "T", "idea": "i.", "cite": "c", "paper": "arXiv:1703.01365", "section": "2.3.3"}


@pytest.fixture
def empty(monkeypatch):
    """A registry of its own, so that made-up methods do not stay."""
    monkeypatch.setattr(registry, "_CARDS", {})
    monkeypatch.setattr(registry, "load_all", lambda: None)


def test_the_first_set_is_registered():
    assert {c.id for c in ALL} >= FIRST_SET
    assert len({c.id for c in ALL}) == len(ALL)
    assert {c.title for c in ALL if ALL.count(c) > 1} == set()


@pytest.mark.parametrize("made", ALL, ids=lambda c: c.id)
def test_a_card_is_complete(made):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", made.id)
    assert made.family in FAMILIES
    assert made.kind in ("explainer", "synthesizer")
    for name in ("title", "idea", "cite", "how", "formula", "caution"):
        assert getattr(made, name).strip() == getattr(made, name) != "", name
    assert re.search(r"\b(19|20)\d\d\b", made.cite), "authors and year"
    # a title in quotes is a paper without either
    assert re.fullmatch(r"arXiv:\d{4}\.\d{4,5}|(doi:)?10\.\d{4,}/\S+|\"[^\"]+\"", made.paper)
    assert re.fullmatch(r"\d(\.\d+)*", made.section)
    assert set(made.needs) <= set(NEEDS), "a need that no model is asked for"


@pytest.mark.parametrize("made", ALL, ids=lambda c: c.id)
def test_a_docstring_says_the_shape_and_the_source(made):
    doc = made.cls.__doc__
    assert doc is not None
    assert SHAPE.search(doc), "no shape in the docstring"
    assert re.search(r"\b(19|20)\d\d\b", doc), "no source in the docstring"
    assert len(doc.splitlines()) <= 14


@pytest.mark.parametrize("made", ALL, ids=lambda c: c.id)
def test_knobs_are_documented_and_their_defaults_allowed(made):
    for spec in made.knobs:
        assert spec.label, spec.name
        assert spec.help.endswith("."), f"{spec.name}: {spec.help}"
        assert spec.domain.check(spec.name, spec.default) == spec.default
    assert made.make() == made.cls()
    assert made.cls.card is made
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.make().card_id = 1


def test_the_order_is_by_family_then_by_section_as_numbers(empty):
    for name, section in (("A", "2.3.10"), ("B", "2.3.9"), ("C", "2.3")):
        explainer(**{**TEXTS, "section": section}, family="cam")(type(name, (), {}))
    explainer(**TEXTS, family="gradient")(type("Z", (), {}))
    assert [c.id for c in cards()] == ["z", "c", "b", "a"]


def test_kinds_can_be_asked_for():
    assert {c.kind for c in cards("explainer")} == {"explainer"}
    assert {c.kind for c in cards("synthesizer")} == {"synthesizer"}
    assert len(cards("explainer")) + len(cards("synthesizer")) == len(ALL)


@pytest.mark.parametrize("wrong", ["gradcam", "grad-cam", "", None, 3, ["grad_cam"], {}])
def test_an_unknown_id_lists_the_known(wrong):
    with pytest.raises(UnknownMethod, match=r"^method must be one of .*grad_cam.*; got") as caught:
        card(wrong)
    if wrong == "gradcam":
        assert "Did you mean grad_cam" in str(caught.value)


@pytest.mark.parametrize("method", ["grad_cam", card("grad_cam").make()])
def test_an_unknown_hyper_parameter_lists_the_known(method):
    with pytest.raises(
        InvalidKnob, match=r"grad_cam has no hyper-parameter 'leyer'. It has layer, .*Did you mean layer"
    ):
        resolve(method, leyer="x")


def test_resolve_takes_ids_and_objects():
    rise = card("rise").cls
    assert resolve("rise", samples=20) == rise(samples=20)
    assert resolve(rise(samples=20)) == rise(samples=20)
    assert resolve(rise(samples=20), cells=4) == rise(samples=20, cells=4)
    with pytest.raises(InvalidKnob, match=r"^cells must be a whole number from 2 to 32; got 99"):
        resolve(rise(samples=20), cells=99)
    for wrong in (rise, 3, object()):
        with pytest.raises(UnknownMethod, match="must be an id or a method object such as"):
            resolve(wrong)


def test_a_class_becomes_a_frozen_method(empty):
    @explainer(**TEXTS, family="gradient", needs=("gradient",))
    class TinyMap2:
        """A map."""

        points: int = knob(4, Range(1, 8), label="Points", help="How many.")

    assert [c.id for c in cards()] == ["tiny_map2"]
    assert [k.name for k in knobs_of(TinyMap2)] == ["points"]
    assert TinyMap2(3) == TinyMap2(points=3) != TinyMap2()
    with pytest.raises(InvalidKnob):
        TinyMap2(points=9)

    @synthesizer(**TEXTS, id="other")
    class Made:
        fill: str = knob("a", Choice(("a", "b")), label="Fill", help="What.")

    assert (Made.card.kind, Made.card.family, Made.card.signed) == ("synthesizer", "maximization", False)


def test_two_methods_cannot_share_an_id_but_a_module_may_load_again(empty):
    explainer(**TEXTS, family="cam", id="one")(type("One", (), {"__module__": "a"}))
    explainer(**TEXTS, family="cam", id="one")(type("One", (), {"__module__": "a"}))
    for name, module in (("One", "b"), ("Two", "a")):
        with pytest.raises(ValueError, match=r"two methods have the id 'one': a and "):
            explainer(**TEXTS, family="cam", id="one")(type(name, (), {"__module__": module}))
    with pytest.raises(ValueError, match=r"family must be one of .*; three says 'kam'"):
        explainer(**TEXTS, family="kam", id="three")(type("Three", (), {}))


def test_the_table_prints_in_a_shell_and_in_a_notebook():
    table = methods()
    lines = repr(table).splitlines()
    assert len(lines) == len(ALL) + 1
    assert lines[0].split()[:2] == ["id", "title"]
    line = next(line for line in lines if line.startswith("grad_cam"))
    assert "Grad-CAM" in line
    assert "arXiv:1610.02391" in line
    assert "layer, relu" in line
    html = table._repr_html_()
    assert html.count("<tr>") == len(ALL) + 1
    assert len(methods("synthesizer")) == len(cards("synthesizer"))


def test_the_table_escapes_what_it_shows(empty):
    explainer(**{**TEXTS, "title": "<b>&"}, family="cam")(type("Bold", (), {}))
    assert "&lt;b&gt;&amp;" in methods()._repr_html_()


def test_the_methods_that_a_wrapper_may_name():
    every = {made.id for made in cards("explainer")}
    assert {made.id for made in choices(MethodName())} == every
    assert {made.id for made in choices(MethodName(exclude=("rise", "saliency")))} == every - {"rise", "saliency"}
    without = {made.id for made in choices(MethodName(without=("relu", "spatial")))}
    assert {"guided_backprop", "grad_cam"} <= every - without
    assert {"saliency", "occlusion"} <= without


def test_a_mixin_may_check_what_the_knobs_cannot(empty):
    class Checked:
        def __post_init__(self):
            raise InvalidKnob("never")

    class Made(Checked):
        """Yields ``(1, H, W)``."""

        strength: int = knob(1, Range(0, 5), label="S", help="h")

    with pytest.raises(InvalidKnob, match="never"):
        explainer(family="gradient", **TEXTS)(Made)()
