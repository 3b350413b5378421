from __future__ import annotations

import ast
import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

import xaiwidgets as xw
from xaiwidgets.render.look import Look
from xaiwidgets.studio.frame import Frame
from xaiwidgets.studio.lens import Lens, Unit
from xaiwidgets.widgets.export import Export, code_for, download


def run(code, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("xaiwidgets.render.figure.DPI", 20)
    found = {}
    exec(compile(code, "code", "exec"), found)
    return found


LENSES = [
    Lens(),
    Lens(method="saliency", target=(3,), look=Look(sign="absolute", opacity=0.3)),
    Lens(method="integrated_gradients", target=(1, 2)).with_knobs(points=8),
    Lens(method="occlusion").with_knobs(window_height=12, window_width=10, fill="blur"),
    Lens("rocket", method="rise", look=Look(layout="side", palette="gray")).with_knobs(samples=20, seed=3),
    Lens().with_knobs(layer="features.3", relu=False),
]


@pytest.mark.parametrize("lens", LENSES, ids=lambda lens: lens.method)
def test_the_code_runs_and_gives_the_same_numbers(lens, tmp_path, monkeypatch):
    # the fastest batch size is measured; sums over batches of another size differ in their last bit
    monkeypatch.setattr("xaiwidgets.engine.batching.CANDIDATES", (8,))
    monkeypatch.setattr("xaiwidgets.engine.batching.LONGEST_STEP", float("inf"))
    code = code_for(lens, "digits_gap", "whatever")
    found = run(code, tmp_path, monkeypatch)
    target = None if not lens.target else list(lens.target)
    expected = xw.explain(xw.load_model("digits_gap"), lens.image, lens.make(), target=target)
    np.testing.assert_array_equal(found["a"].values, expected.values)
    assert found["a"].provenance.target == expected.provenance.target
    with Image.open(tmp_path / f"{lens.method}.png") as picture:
        assert picture.width > 20 * 3


@pytest.mark.parametrize("position", ["mean", "max", "center", (3, 4)])
def test_the_code_for_a_hidden_unit_gives_the_same_numbers(position, tmp_path, monkeypatch):
    lens = Lens(method="saliency", unit=Unit("features.3", 5, position))
    found = run(code_for(lens, "digits_gap", "whatever"), tmp_path, monkeypatch)
    target = xw.Target.hidden("features.3", 5, position)
    expected = xw.explain(xw.load_model("digits_gap"), lens.image, "saliency", target=target)
    np.testing.assert_array_equal(found["a"].values, expected.values)
    assert found["a"].provenance.target.startswith("features.3 channel 5")


def test_defaults_are_left_out_and_changes_are_there():
    assert "layer" not in code_for(Lens(), "digits_gap", "3")
    code = code_for(LENSES[5].replace(look=Look(opacity=0.25)), "digits_gap", "3")
    assert "layer='features.3', relu=False" in code
    assert "opacity=0.25" in code
    assert "target=None" in code


def test_an_uploaded_picture_must_be_supplied(tmp_path, monkeypatch):
    code = code_for(Lens(image="upload:0123"), "digits_gap", "3", "my cat's.png")
    assert 'image = "my cat\'s.png"  # the file you uploaded' in code
    assert "upload:" not in code
    with pytest.raises(xw.errors.InvalidImage, match="no such file"):
        run(code, tmp_path, monkeypatch)
    Image.new("RGB", (80, 80), "orange").save(tmp_path / "my cat's.png")
    assert run(code, tmp_path, monkeypatch)["a"].progress == 1


def test_the_networks_that_can_be_loaded_by_name():
    assert "xw.load_model('timm:resnet18')" in code_for(Lens(), "timm:resnet18", "3")
    code = code_for(Lens(), "digits_vgg with a pooling head", "3")
    assert "model = xw.load_model('digits_vgg')\nmodel = xw.with_pooling_head(model)\n" in code
    code = code_for(Lens(), "torchvision:vgg11 (random weights)", "3")
    assert "xw.load_model('torchvision:vgg11', weights='none')" in code
    assert "xw.Model(network)  # your own network, 'Sequential'" in code_for(Lens(), "Sequential", "3")


@pytest.mark.parametrize(
    "evil", ["x\nimport os\nraise SystemExit", "x'; raise SystemExit #", 'x"""', "\\", "x\rraise SystemExit"]
)
def test_names_are_never_code(evil):
    lens = Lens(method="saliency")
    for code in (
        code_for(lens, "digits_gap", evil),
        code_for(lens, evil, "3"),
        code_for(lens.replace(image=evil), "digits_gap", "3"),
        code_for(lens, "digits_gap", "3", evil),
        code_for(lens.replace(unit=Unit(evil, 3, evil)), "digits_gap", evil),
    ):
        kinds = [type(statement) for statement in ast.parse(code).body]
        assert kinds == [ast.Import, ast.Assign, ast.Assign, ast.Assign, ast.Expr]
        assert "raise" not in {node.__class__.__name__.lower() for node in ast.walk(ast.parse(code))}


# -- buttons ----------------------------------------------------------------------------------------------------------


class Room:
    def __init__(self, digits):
        result = xw.explain(digits, "coffee", "saliency")
        photo = digits.preprocessing.view("coffee", 200)
        self.frame, self.look = Frame(Lens(method="saliency"), photo, result, "3"), Look()
        self.code = "print('<b>')"
        self.export = Export(lambda: self.frame, lambda: self.look, lambda: self.code)


@pytest.fixture
def room(digits):
    return Room(digits)


def saved(export):
    return base64.b64decode(re.search(r"base64,([^']+)'", export.place.value)[1])


@pytest.mark.parametrize(
    "look", [Look(), Look(layout="side"), Look(layout="map", smooth=False)], ids=lambda k: k.layout
)
def test_the_png_is_what_is_on_screen_exactly(room, look):
    room.look = look
    room.export.save.click()
    picture = Image.open(io.BytesIO(saved(room.export)))
    assert picture.format == "PNG"
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), room.frame.pixels(look))
    assert picture.info["Description"] == room.code
    assert "download='coffee-saliency.png'" in room.export.place.value
    assert "http" not in room.export.place.value


def test_without_a_picture_it_says_so(room):
    room.frame = None
    room.export.save.click()
    assert "Nothing to save yet" in room.export.place.value


def test_the_code_is_shown_on_demand_and_kept_up_to_date(room, send):
    assert room.export.text.value == ""
    send(room.export.show_code, value=True)
    assert "print(&#x27;&lt;b&gt;&#x27;)" in room.export.text.value
    room.code = "second"
    room.export.refresh()
    assert "second" in room.export.text.value
    send(room.export.show_code, value=False)
    assert room.export.text.value == ""


def test_an_old_link_goes_away(room):
    room.export.save.click()
    room.export.refresh()
    assert room.export.place.value == ""


def test_names_in_a_link_are_escaped():
    link = download(b"x", "a'><script>.png", "image/png", "<b>")
    assert "<script" not in link
    assert "<b>" not in link
