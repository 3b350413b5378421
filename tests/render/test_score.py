"""A score's figure has its curves, its maps, and its words."""

from __future__ import annotations

import numpy as np

from xaiwidgets.core.scores import Curve, Limit, Score


def test_everything_is_drawn(tmp_path):
    curves = (
        Curve("this map", [0, 1], [1, 0.2], "share deleted", "probability"),
        Curve("random", [0, 1], [1, 0.5], "share deleted", "probability", low=[1, 0.4], high=[1, 0.6]),
        Curve("rank correlation", [0, 1, 2], [1, 0.5, 0], "layers", "similarity", ticks=("none", "fc", "conv")),
    )
    score = Score(
        0.3, "probability", "lower", limit=Limit("<", 0.4), controls={"random": 0.6}, curves=curves, metric="deletion",
        maps={"map": np.eye(8), "signed": np.eye(8) - 0.5}, pictures={"photo": np.zeros((8, 8, 3), np.uint8)},
    )  # fmt: skip
    figure = score.plot()
    assert len(figure.axes) == 2 + 3
    first, second = figure.axes[:2]
    assert [line.get_label() for line in first.lines] == ["this map", "random"]
    assert first.get_xlabel() == "share deleted"
    assert [text.get_text() for text in second.get_xticklabels()] == ["none", "fc", "conv"]
    assert "pass (must be < 0.4)" in figure.get_suptitle()
    assert [axes.get_title() for axes in figure.axes[2:]] == ["map", "signed", "photo"]
    figure.savefig(tmp_path / "score.png")


def test_a_bare_number_is_a_figure_too(tmp_path):
    Score(0.3, "share").plot().savefig(tmp_path / "score.png")
