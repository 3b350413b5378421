from __future__ import annotations

import json

import numpy as np

from xaiwidgets.core.results import Attribution, Provenance
from xaiwidgets.render.record import plain, provenance_line, record_json, save_numbers

MADE = Provenance("rise", {"samples": 100, "p": 0.5}, "espresso", "net", "coffee", (101, 0), 1.5, {"torch": "2.4"})


def attribution(**changes):
    values = np.arange(4, dtype=np.float32).reshape(1, 2, 2)
    return Attribution(values, "logit", False, (4, 4), provenance=MADE).replace(**changes)


def test_json_holds_all_but_the_arrays_and_no_nan():
    details = {"error": np.float32(0.25), "mask": np.ones(2)}
    data = json.loads(record_json(attribution(details=details, notes=("a note",))))
    assert data["score"] is None
    assert data["details"] == {"error": 0.25}
    assert data["provenance"]["knobs"] == {"samples": 100, "p": 0.5}
    assert data["provenance"]["passes"] == [101, 0]
    assert data["notes"] == ["a note"]
    assert "values" not in data


def test_objects_that_json_lacks_become_text():
    assert plain({1: {2}, "x": np.arange(2), "y": float("inf"), "z": slice(1)}) == {
        "1": [2],
        "x": [0, 1],
        "y": None,
        "z": "slice(None, 1, None)",
    }


def test_numbers_round_trip_without_pickle(tmp_path):
    mask, odd = np.eye(3), np.array([None], dtype=object)
    result = attribution(details={"mask": mask, "odd": odd})
    save_numbers(result, tmp_path / "map.npz")
    with np.load(tmp_path / "map.npz", allow_pickle=False) as saved:
        assert sorted(saved.files) == ["details.mask", "provenance", "values"]
        np.testing.assert_array_equal(saved["values"], result.values)
        np.testing.assert_array_equal(saved["details.mask"], mask)
        assert json.loads(str(saved["provenance"])) == json.loads(record_json(result))


def test_the_line_leaves_out_what_is_not_known():
    line = provenance_line(attribution(score=9.31, gap=-0.01))
    assert line == (
        "net · picture coffee · samples=100, p=0.500 · score 9.31 · Sum 6.00 · gap −0.0100 (0.11 % of the score) · "
        "101 + 0 passes · 1.50 s · torch 2.4"
    )
    assert provenance_line(attribution(provenance=Provenance())) == ""
