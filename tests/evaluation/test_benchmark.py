"""Benchmarks over pictures: what is written, that a run goes on where it was, and that nothing is counted twice."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from PIL import Image

import xaiwidgets as xw
from xaiwidgets.data.shapes import shapes
from xaiwidgets.evaluation.records import Row, RowFile
from xaiwidgets.model.model import Model

METHODS = ["saliency", ("smoothgrad", {"samples": 4})]
METRICS = ["pointing_game", ("pointing_game", {"tolerance": 0})]


@pytest.fixture(scope="module")
def model():
    return xw.load_model("shapes_gap")


@pytest.fixture(scope="module")
def scenes():
    return shapes("test", 3).scenes()


def test_every_picture_method_and_metric_has_its_row(model, scenes):
    found = xw.benchmark(model, scenes, METHODS, METRICS)
    assert len(found) == 3 * 2 * 2
    assert found.progress == 1
    for row in found.rows:
        scene = next(s for s in scenes if s.name == row.image)
        single = xw.evaluate(model, scene, (row.method, row.method_knobs), row.metric, **row.metric_knobs)
        assert row.value == single.value
        assert row.target == scene.label
        assert row.controls == dict(single.controls)


def test_the_summary_is_the_mean_over_pictures(model, scenes):
    found = xw.benchmark(model, scenes, ["saliency"], METRICS)
    lines = found.summary()
    assert len(lines) == 2
    for line in lines:
        values = [row.value for row in found.rows if row.metric_knobs == line["metric_knobs"]]
        assert line["mean"] == pytest.approx(np.mean(values))
        assert line["median"] == np.median(values)
        assert (line["count"], line["missing"]) == (3, 0)
    assert "pointing_game" in repr(found)
    assert list(found.frame()["value"]) == [row.value for row in found.rows]


def test_a_map_is_computed_once_for_all_metrics(model, scenes):
    found = xw.benchmark(model, scenes[:1], ["saliency"], METRICS)
    assert [row.backward for row in found.rows] == [1, 0]


def test_an_interrupted_run_goes_on_and_counts_nothing_twice(model, scenes, tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    whole = xw.benchmark(model, scenes, METHODS, METRICS)
    steps = xw.benchmark_steps(model, scenes, METHODS, METRICS, path=path)
    for found in steps:
        if len(found) == 5:
            break
    steps.close()
    assert len(path.read_text().splitlines()) == 5
    asked = []
    real = Model.gradient
    monkeypatch.setattr(Model, "gradient", lambda self, *a, **k: asked.append(1) or real(self, *a, **k))
    again = xw.benchmark(model, scenes, METHODS, METRICS, path=path)
    assert again.reused == 5
    assert [row.value for row in again.rows] == [row.value for row in whole.rows]
    assert (
        len(path.read_text().splitlines()) == len({json.loads(x)["key"] for x in path.read_text().splitlines()}) == 12
    )
    asked.clear()
    third = xw.benchmark(model, scenes, METHODS, METRICS, path=path)
    assert third.reused == 12
    assert asked == []


def test_a_line_that_was_cut_off_is_written_anew(model, scenes, tmp_path):
    path = tmp_path / "rows.jsonl"
    xw.benchmark(model, scenes[:1], ["saliency"], METRICS, path=path)
    text = path.read_text()
    path.write_text(text[:-20])
    again = xw.benchmark(model, scenes[:1], ["saliency"], METRICS, path=path)
    assert again.reused == 1
    before, after = (sorted(json.loads(x)["key"] for x in t.splitlines()) for t in (text, path.read_text()))
    assert before == after


def test_another_question_is_no_row_of_this_one(model, scenes, tmp_path):
    path = tmp_path / "rows.jsonl"
    xw.benchmark(model, scenes[:1], ["saliency"], ["pointing_game"], path=path)
    changed = model.with_weights(lambda name, value: value * 1.01)
    for options in ({"seed": 1}, {"targets": "cross"}):
        assert xw.benchmark(model, scenes[:1], ["saliency"], ["pointing_game"], path=path, **options).reused == 0
    assert xw.benchmark(changed, scenes[:1], ["saliency"], ["pointing_game"], path=path).reused == 0
    assert xw.benchmark(model, scenes[:1], ["saliency"], ["pointing_game"], path=path).reused == 1


def test_what_does_not_apply_is_a_row_that_says_so(model, tmp_path):
    found = xw.benchmark(model, [np.full((48, 48, 3), 0.5)], ["saliency"], ["pointing_game"], path=tmp_path / "x.jsonl")
    (row,) = found.rows
    assert row.verdict == "not applicable"
    assert math.isnan(row.value)
    assert "place of its object" in row.note
    assert (
        xw.benchmark(
            model, [np.full((48, 48, 3), 0.5)], ["saliency"], ["pointing_game"], path=tmp_path / "x.jsonl"
        ).reused
        == 1
    )


def write_png(path, pixels):
    Image.fromarray((pixels * 255).astype(np.uint8)).save(path)


def test_a_folder_is_read_picture_by_picture(model, scenes, tmp_path):
    for number, scene in enumerate(scenes):
        write_png(tmp_path / f"{number}.png", scene.pixels)
    found = xw.benchmark(model, tmp_path, ["saliency"], ["pointing_game"])
    assert [row.image for row in found.rows] == ["0.png", "1.png", "2.png"]


def test_a_picture_that_cannot_be_read_ends_no_others(model, scenes, tmp_path):
    folder, path = tmp_path / "photos", tmp_path / "rows.jsonl"
    folder.mkdir()
    for number, scene in enumerate(scenes[:2]):
        write_png(folder / f"{number}.png", scene.pixels)
    (folder / "00.jpg").write_bytes(b"no picture")
    ask = lambda: xw.benchmark(model, folder, ["saliency", "grad_cam"], ["input_invariance"], path=path)
    found = ask()
    assert len(found) == found.planned == 6
    bad = [row for row in found.rows if row.image.endswith("00.jpg")]
    assert [(row.method, row.verdict) for row in bad] == [
        ("saliency", "not applicable"),
        ("grad_cam", "not applicable"),
    ]
    assert all("00.jpg" in row.note and "got something else" in row.note for row in bad)
    assert [(line["missing"], line["direction"]) for line in found.summary()] == [(1, "lower"), (1, "lower")]
    assert len(path.read_text().splitlines()) == 4  # what can be read tomorrow is no row of the file
    write_png(folder / "00.png", scenes[2].pixels)
    (folder / "00.png").replace(folder / "00.jpg")
    again = ask()
    assert again.reused == 4
    assert [line["missing"] for line in again.summary()] == [0, 0]
    with pytest.raises(xw.errors.InvalidImage, match="got something else"):
        (folder / "bad.jpg").write_bytes(b"no picture")
        xw.benchmark(model, folder / "bad.jpg", ["saliency"], ["input_dominance"])


def test_rows_are_saved_as_csv_and_as_lines(model, scenes, tmp_path):
    import csv

    found = xw.benchmark(model, scenes[:1], ["saliency"], METRICS)
    found.save(tmp_path / "a.csv")
    found.save(tmp_path / "a.jsonl")
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["value"]) for row in rows] == [row.value for row in found.rows]
    assert list(RowFile(tmp_path / "a.jsonl").rows.values()) == list(found.rows)
    with pytest.raises(xw.errors.InvalidKnob, match=r"\.csv or \.jsonl"):
        found.save(tmp_path / "a.xlsx")


def test_bad_arguments_are_named(model, scenes, tmp_path):
    with pytest.raises(xw.errors.InvalidKnob, match="methods must be"):
        xw.benchmark(model, scenes, [], METRICS)
    with pytest.raises(xw.errors.UnknownMethod, match="metric must be one of"):
        xw.benchmark(model, scenes, ["saliency"], ["beauty"])
    with pytest.raises(xw.errors.InvalidImage, match="images must be"):
        xw.benchmark(model, [], ["saliency"], METRICS)
    with pytest.raises(xw.errors.InvalidKnob, match="targets must be"):
        xw.benchmark(model, scenes, ["saliency"], METRICS, targets=["disk"])
    (tmp_path / "other.jsonl").write_text("hello\n")
    with pytest.raises(xw.errors.InvalidKnob, match="line 1 of"):
        xw.benchmark(model, scenes, ["saliency"], METRICS, path=tmp_path / "other.jsonl")


def test_keys_are_the_same_in_another_process():
    row = Row("m", "w", "i", "d", "", "saliency", {"a": 1, "b": "x"}, "deletion", {}, 0)
    other = Row("m", "w", "renamed", "d", "", "saliency", {"b": "x", "a": 1}, "deletion", {}, 0, value=3.0)
    assert row.key == other.key
    assert row.key == "34eab1532a3ee62d2ea4ccd9"
