"""Code and files of a comparison."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from xaiwidgets.engine.arrange import Cell
from xaiwidgets.engine.comparison import Comparison
from xaiwidgets.render.look import Look
from xaiwidgets.studio.grid import Column, Grid
from xaiwidgets.widgets.gridexport import KINDS, GridExport, code_for_grid

TARGETS = ((3, "3"), (7, "the\nseven"))


def test_the_code_makes_the_maps_and_the_figure(digits, monkeypatch, tmp_path):
    layer = digits.stages[1].name
    grid = Grid(
        image="rocket",
        methods=(Column("saliency"), Column.of("rise", samples=12)),
        targets=(3, 7),
        layers=(layer,),
        across="classes",
        scale="rank",
        look=Look(opacity=0.3, palette="magma"),
        pair=(Cell(0, 0, 0), Cell(1, 1, 0)),
    )
    code = code_for_grid(grid, "digits_gap", TARGETS, ((0, 0), (1, 1)))
    asked = {}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Comparison, "save", lambda self, path, **asks: asked.update(asks, path=path))
    names = {}
    exec(compile(code, "code", "exec"), names)
    found = names["c"]
    assert found.plan.methods == tuple(column.make() for column in grid.methods)
    assert [t.classes for t in found.plan.targets] == [(3,), (7,)]
    assert (found.plan.layers, found.plan.across) == ((layer,), "classes")
    assert asked == {
        "path": "comparison.png",
        "scale": "rank",
        "difference": ((0, 0), (1, 1)),
        "opacity": 0.3,
        "palette": "magma",
    }
    assert all(one.progress == 1 for one in found.results.values())


def test_the_default_code_is_short():
    code = code_for_grid(Grid(methods=(Column("saliency"),), targets=(3,)), "efficientnet_lite0", TARGETS[:1])
    assert code.splitlines()[2:] == [
        "model = xw.load_model('efficientnet_lite0')",
        "image = 'coffee'",
        "methods = [",
        "    'saliency',",
        "]",
        "c = xw.compare(model, image, methods, targets=[3])  # 3",
        "c.save('comparison.png', scale='panel')",
    ]
    assert "image = 'mine.jpg'  # your upload" in code_for_grid(Grid(), "x", TARGETS, None, "mine.jpg")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_asked_for_and_given(kind):
    asked = []
    export = GridExport(asked.append, lambda: "code")
    export.buttons[kind].click()
    assert asked == [kind]
    assert "Making" in export.place.value
    content = bytes(np.arange(256, dtype=np.uint8))
    export.give(kind, content)
    assert f"download='comparison.{kind}'" in export.place.value
    assert base64.b64encode(content).decode() in export.place.value
    export.give(kind, None)
    assert "Nothing to save yet" in export.place.value


def test_code_is_shown_on_request_and_an_old_link_goes():
    lines = ["a < b"]
    export = GridExport(lambda kind: None, lambda: lines[0])
    export.give("png", b"x")
    export.refresh()
    assert (export.place.value, export.text.value) == ("", "")
    export.show_code.value = True
    assert "a &lt; b" in export.text.value
    lines[0] = "c"
    export.refresh()
    assert ">c<" in export.text.value
