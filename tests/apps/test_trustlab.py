"""The laboratory without a browser: what stands where, what takes no pass, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
from ipywidgets.widgets import widget as registry
from tiny_recipe import tiny

import xaiwidgets as xw
from xaiwidgets.apps.trustlab import TrustLab
from xaiwidgets.core.metric_cards import CATEGORIES, metric_cards
from xaiwidgets.core.scores import Limit
from xaiwidgets.errors import InvalidImage, InvalidKnob, UnknownMethod
from xaiwidgets.studio import truststudio
from xaiwidgets.studio.experiment import TAUGHT, beyond
from xaiwidgets.widgets.lab.code import code_for_experiment

RANDOMIZED = "model_parameter_randomization"


@pytest.fixture
def make_lab(digits, monkeypatch):
    """Return a maker of laboratories on the small network; each is closed when the test ends."""
    monkeypatch.setattr(truststudio, "OFTEN", 0.0)
    made = []

    def make(*args, **kwargs):
        made.append(TrustLab(digits, *args, **{"sync": True, **kwargs}))
        return made[-1]

    yield make
    for lab in made:
        lab.close()


def panel(lab):
    return lab._panels[lab.experiment.metric]


def said(lab, metric):
    return re.sub("<[^>]+>", " ", lab.tests._said[metric].value)


def test_it_opens_with_a_test_already_run(make_lab):
    lab = make_lab()
    assert lab.score.metric == RANDOMIZED
    assert "✓ pass" in lab.headline.value or "✗ fail" in lab.headline.value
    assert "must be &lt; 0.46" in lab.headline.value
    assert re.search(
        r"[✓✗≈] \w+ · -?[\d.]+ · must be", said(lab, RANDOMIZED).replace("\N{MINUS SIGN}", "-").replace("&lt;", "")
    )
    assert "Does the map change" in said(lab, RANDOMIZED)
    assert lab.tests.buttons[RANDOMIZED]._dom_classes.count("xai-on") == 1


def test_every_test_is_listed_in_its_group_and_those_beyond_one_photo_say_why(make_lab):
    lab = make_lab("coffee", metric="input_dominance")
    assert set(lab.tests.buttons) == {card.id for card in metric_cards()}
    assert set(lab.tests._groups) <= set(CATEGORIES)
    for card in metric_cards():
        assert lab.tests.buttons[card.id].disabled == bool(beyond(card))
    assert "needs a network that can be trained here" in said(lab, "roar")


def test_every_test_of_one_photo_can_be_played(make_lab, monkeypatch):
    monkeypatch.setitem(TAUGHT, "data_randomization", tiny())
    lab = make_lab(method="saliency", metric="input_dominance")
    quick = {
        "implementation_invariance": {"probes": 1},
        "explanation_fragility": {"steps": 3},
        "data_randomization": {"pictures": 2, "accuracy": 0.3},
    }
    for card in metric_cards():
        if not beyond(card):
            lab.put(metric=card.id, **quick.get(card.id, {}))
            assert lab.studio.failure == ""
            assert lab.studio.score.metric == card.id
            assert panel(lab).sheet.titles
            assert card.title in lab.headline.value
            assert panel(lab).box in lab.stagebox.children
            assert lab.studio.status.kind == "idle"


def test_networks_that_learn_random_labels_are_trained_on_the_page(make_lab, monkeypatch):
    monkeypatch.setitem(TAUGHT, "data_randomization", tiny())
    lab = make_lab(method="saliency", metric="input_dominance")
    seen = []
    lab.studio.on("score", seen.append)
    lab.put(metric="data_randomization", pictures=2, accuracy=0.3)
    growing = [score for score in seen if score is not None and score.curves and score.progress < 0.8]
    assert growing  # accuracies, live
    assert [curve.name for curve in lab.score.curves] == ["true labels", "true labels, other seed", "random labels"]
    assert tiny().title in lab.score.notes[-1]
    assert lab.score.pictures["held-out picture 0"].shape == (16, 16, 3)  # whose maps are shown: not the photo's
    monkeypatch.undo()
    assert "data='digits8'" in code_for_experiment(lab.studio.experiment, "digits_gap", "three")


def test_the_slider_scrubs_through_the_stages_without_a_pass(make_lab, spent, send):
    lab = make_lab(method="saliency")
    shown = panel(lab)
    stages = lab.score.details["stages"]
    assert shown.player.last == len(stages)
    assert shown.player.value == len(stages)  # it has followed to the end
    spent.clear()
    pictures = []
    for place in range(len(stages) + 1):
        send(shown.player.slider, value=place)
        assert shown.sheet.titles == ["trained network", "after " + stages[place - 1] if place else "trained"]
        pictures.append(shown.sheet.pixels(1))
        assert shown.plot.at == place - 1
    assert spent == []
    assert (pictures[0] == shown.sheet.pixels(0)).all()
    assert all((pictures[0] != other).any() for other in pictures[1:])
    value = lab.score.details["values"]["spearman_abs"][0][-1]
    assert f"rank correlation, absolute {value:.3g}".replace("-", "\N{MINUS SIGN}")[:30] in shown.words.value
    assert stages[-1] in shown.words.value


@pytest.mark.parametrize("metric", ["deletion", "insertion", "pixel_flipping"])
def test_the_player_shows_the_picture_at_any_place_without_a_pass(make_lab, spent, send, metric):
    lab = make_lab(method="saliency", metric=metric, substrate="gray")
    shown = panel(lab)
    spent.clear()
    send(shown.player.slider, value=0)
    first = shown.sheet.pixels(1)
    send(shown.player.slider, value=100)
    last = shown.sheet.pixels(1)
    whole, empty = (last, first) if metric == "insertion" else (first, last)
    assert whole.std() > 20
    assert np.ptp(empty) == 0
    send(shown.player.slider, value=50)
    middle = shown.sheet.pixels(1)
    changed = (middle != whole).any(axis=2).mean()
    assert 0.3 < changed <= 0.5
    assert f"50% {'shown' if metric == 'insertion' else 'removed'}" in shown.words.value
    curve = lab.score.curves[0]
    assert xw_number(float(np.interp(0.5, curve.x, curve.y))) in shown.words.value
    assert spent == []
    assert shown.plot.at == 0.5


def xw_number(value):
    from xaiwidgets.render.numbers import number

    return number(value)


def test_the_switch_shows_either_network_and_the_difference(make_lab, spent, send):
    lab = make_lab(method="gradient_x_input", metric="input_invariance")
    shown = panel(lab)
    spent.clear()
    seen = {}
    for index, side in enumerate(("first", "shifted", "difference")):
        send(shown.side, index=index)
        assert shown.side.value == side
        seen[side] = (shown.sheet.pixels(0), shown.sheet.pixels(1))
    assert (seen["first"][1] != seen["shifted"][1]).any()  # this method fails
    assert lab.score.verdict == "fail"
    assert seen["shifted"][0].mean() < seen["first"][0].mean()  # the paper's shift is -1: darker
    assert spent == []
    lab.put(method="saliency")
    send(shown.side, index=0)
    one = shown.sheet.pixels(1)
    send(shown.side, index=1)
    assert (one == shown.sheet.pixels(1)).all()
    assert lab.score.verdict == "pass"


def test_noise_shows_the_map_that_changed_most(make_lab):
    lab = make_lab(method="saliency", metric="max_sensitivity")
    assert panel(lab).sheet.titles == ["map", "the one that differs most", "its noise, much enlarged"]
    assert f"{len(lab.score.items)} draws" in panel(lab).words.value


def test_a_region_is_drawn_on_the_canvas_and_the_attack_goes_there(make_lab):
    lab = make_lab(method="saliency", metric="explanation_fragility", steps=3)
    assert not panel(lab).aim.on
    lab.put(attack="target")
    assert panel(lab).aim.on
    aim = panel(lab).aim
    top, left, bottom, right = (round(48 * share) for share in lab.experiment.aim)
    start = lab.score.maps["map"]  # the box on the canvas is where the attack goes, also before anybody draws one
    assert lab.score.details["region"][0] == pytest.approx(float(start[top:bottom, left:right].sum()))
    assert aim.window.box == tuple(round(224 * share) for share in lab.experiment.aim)
    aim.stage.canvas._handle_custom_msg({"event": "mouse_down", "x": 300, "y": 300}, [])
    aim.stage.canvas._handle_custom_msg({"event": "mouse_move", "x": 400, "y": 400}, [])
    aim.stage.canvas._handle_custom_msg({"event": "mouse_up", "x": 400, "y": 400}, [])
    region = lab.experiment.region
    assert region[0] == pytest.approx(300 / 440, abs=0.02)
    start = lab.score.maps["map"]
    rows, columns = (slice(round(48 * region[n]), round(48 * region[n + 2])) for n in (0, 1))
    assert lab.score.details["region"][0] == pytest.approx(float(start[rows, columns].sum()))
    assert "data=region" in lab._code()


def test_a_pattern_is_painted_on_the_canvas_and_grad_cam_shows_it(make_lab):
    lab = make_lab("coffee", method="grad_cam", metric="gradcam_manipulation")
    assert not panel(lab).painter.on
    lab.put(kind="image")
    painter = panel(lab).painter
    assert painter.on
    face = lab.score.maps["planted"]
    side = painter.stage.size[0] / 7
    for event, column in (("mouse_down", 0.5), ("mouse_move", 1.5), ("mouse_move", 2.5), ("mouse_up", 2.5)):
        painter.stage.canvas._handle_custom_msg({"event": event, "x": column * side, "y": 0.5 * side}, [])
    assert lab.experiment.pattern[0] == (1, 1, 1, 0, 0, 0, 0)
    planted = lab.score.maps["planted"]
    assert not np.array_equal(planted, face)
    assert planted[:6, :20].mean() > 10 * planted[10:].mean()
    shown = lab.score.maps["of the manipulated network"]
    assert shown[:6, :20].mean() > 3 * shown[10:].mean()
    assert "data=pattern" in lab._code()
    painter.clear.click()
    assert np.array_equal(lab.score.maps["planted"], face)


def test_settings_run_the_test_anew_and_thresholds_do_not(make_lab, spent, send):
    lab = make_lab(method="saliency", metric="deletion")
    first = lab.score
    lab._test_forms["deletion"].controls["substrate"].widget.value = "black"
    assert lab.experiment.knobs == (("substrate", "black"),)
    assert lab.score.value != first.value
    spent.clear()
    send(lab.threshold.number, value="0.9")
    assert (lab.score.verdict, lab.score.limit.value) == ("pass", 0.9)
    assert "✓ pass" in lab.headline.value
    assert "must be &lt; 0.9" in lab.headline.value
    send(lab.threshold.relation, index=3)  # >
    assert lab.score.verdict == "fail"
    assert not lab.threshold.back.disabled
    lab.threshold.back.click()
    assert lab.experiment.limits == ()
    assert spent == []


@pytest.mark.parametrize("text", ["nan", "inf", "1e400", "many", "<b>", "1e99"])
def test_thresholds_that_are_none_are_refused_and_the_last_one_stays(make_lab, send, text):
    lab = make_lab(method="saliency", metric="input_dominance")
    before = lab.experiment
    send(lab.threshold.number, value=text)
    assert lab.experiment is before
    assert "threshold must be" in lab.status.line.value
    assert "got &#x27;<b>" not in lab.status.line.value


def test_what_a_browser_sends_is_clamped_or_refused(make_lab, send):
    lab = make_lab(method="saliency")
    form = lab._test_forms[RANDOMIZED]
    send(form.controls["seeds"].widget, max=10**6, value=10**6)
    assert dict(lab.experiment.knobs).get("seeds", 1) <= 20
    shown = panel(lab)
    send(shown.player.slider, max=10**6, value=10**6)
    assert shown.player.value == shown.player.last
    before = lab.experiment
    lab._choose_image("/etc/passwd")
    assert lab.experiment is before
    for region in ((0.5, 0.5, 0.1, 0.9), (0, 0, 2, 2), (float("nan"),) * 4):
        lab._aim(region)
    assert lab.experiment.region is None
    lab._choose_metric("roar")  # a disabled button can be pressed by a message
    assert lab.experiment.metric == RANDOMIZED
    assert "one photo does not have that" in lab.status.line.value
    lab.studio.tabulate("table9")
    assert "table must be one of" in lab.status.line.value


def test_an_error_is_shown_where_the_number_would_be(make_lab, monkeypatch):
    from xaiwidgets.evaluation.deletion import Deletion

    def broken(metric, case):
        yield None
        raise ValueError("<no> such picture")

    lab = make_lab(method="saliency", metric="input_dominance")
    monkeypatch.setattr(Deletion, "score", broken)
    lab.put(metric="deletion")
    assert "ValueError: &lt;no&gt; such picture" in lab.headline.value
    assert "could not be run" in said(lab, "deletion")
    lab.put(metric="input_dominance")
    assert "ValueError" not in lab.headline.value


def test_a_table_takes_the_place_of_the_panel_and_choosing_a_test_brings_it_back(make_lab, monkeypatch):
    def steps(maker):
        for number in (1, 2):
            yield maker.empty(header=("method", "why"), rows=(("Gradient", "<i>"),) * number, progress=number / 2)

    maker = truststudio.TABLES["table3"]
    monkeypatch.setitem(truststudio.TABLES, "table3", type(maker)("table3", maker.title, maker.about, steps))
    lab = make_lab(method="saliency", metric="input_dominance")
    lab.table_buttons["table3"].click()
    assert lab.stagebox.children == (lab.table_view.box,)
    shown = lab.table_view._rows.value
    assert shown.count("<td>Gradient</td>") == 2
    assert "&lt;i&gt;" in shown
    assert "2 rows so far" in lab.table_view._head.value
    lab.tests.buttons["input_dominance"].click()
    assert lab.stagebox.children == (panel(lab).box,)
    assert "Input dominance" in lab.headline.value
    with pytest.raises(InvalidKnob, match="table must be one of table3, table1"):
        lab.table("table2")


def test_the_code_computes_the_same_number(make_lab):
    lab = make_lab(method="gradient_x_input", metric="deletion", substrate="black")
    lab.put(limit=Limit("<", 0.5), target=3)
    code = lab._code()
    scope = {}
    exec(code.replace("s.plot().savefig('deletion.png')", ""), scope)
    assert scope["s"].value == lab.score.value
    assert scope["s"].limit.value == 0.5
    assert lab._figure("png").startswith(b"\x89PNG")


def test_bad_input_is_an_error_that_names_it(digits):
    for wrong, error in (
        ({"metric": "delation"}, UnknownMethod),
        ({"method": "grad_camm"}, UnknownMethod),
        ({"metric": "roar"}, InvalidKnob),
        ({"metric": "deletion", "substrate": "water"}, InvalidKnob),
        ({"image": "/no/such/photo.jpg"}, InvalidImage),
    ):
        with pytest.raises(error):
            TrustLab(digits, sync=True, **wrong)


def test_close_ends_everything(digits):
    before = set(registry._instances)
    lab = TrustLab(digits, method="saliency", metric="deletion", sync=True)
    lab.put(metric="explanation_fragility", steps=2)
    lab.close()
    assert [registry._instances[key] for key in set(registry._instances) - before] == []


def test_the_front_door_has_it():
    assert xw.TrustLab is TrustLab
