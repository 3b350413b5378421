"""Training on the page: with bundled pictures or one's own, stopped, gone on with, and offered where it is used."""

from __future__ import annotations

import io
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from traitlets import TraitError

import xaiwidgets as xw
from xaiwidgets.apps import ownpictures, training
from xaiwidgets.apps.ownpictures import BUNDLED, FOLDER, GIVEN, SAMPLES, UPLOADS, WORDS
from xaiwidgets.apps.synthesislab import SynthesisLab
from xaiwidgets.learned.decoding import DecoderTraining
from xaiwidgets.learned.store import get, offered

LONG = 120.0


@pytest.fixture(autouse=True)
def a_served_page(monkeypatch):
    """No test depends on where it runs."""
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    for name in [one for one in os.environ if one.startswith(("VOILA_", "XAIWIDGETS_SERVED"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def a_notebook(monkeypatch, tmp_path):
    """The kernel of a notebook, whose person has an empty home."""
    monkeypatch.setenv("JPY_SESSION_NAME", "mine.ipynb")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home" / training.HOME


@pytest.fixture
def make_app(digits):
    made = []

    def make(method="learned_inversion", *, sync=True, **options):
        made.append(SynthesisLab(digits, "3", method, sync=sync, autostart=False, **options))
        return made[-1]

    yield make
    for app in made:
        app.close()


@pytest.fixture
def brief(monkeypatch):
    """Few crops, so that a training takes a second."""
    monkeypatch.setattr("xaiwidgets.learned.gathering.ENOUGH", 300)


def photo(number, size=(80, 60), kind="PNG"):
    random = np.random.default_rng(number)
    small = Image.fromarray(random.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).save(buffer, kind)
    return buffer.getvalue()


def folder_of(path, count):
    path.mkdir()
    for number in range(count):
        (path / f"{number:03}.png").write_bytes(photo(number))
    return path


def add(app, *files):
    """Add photos as a browser does: all files of one choice are one message."""
    upload = app.training.pictures.upload
    upload.set_state({"value": [
        {"name": name, "type": "image/png", "size": len(content), "content": memoryview(content), "last_modified": 0}
        for name, content in files
    ]})  # fmt: skip


def press(app):
    app.training.button.click()


def sources(app):
    return [value for _, value in app.training.pictures.source.options]


def said(app):
    return app.status.line.value


# -- which pictures -------------------------------------------------------------------------------------------------


def test_sources_are_those_that_fit_the_network(make_app, digits):
    app = make_app()
    assert sources(app) == [BUNDLED, UPLOADS]
    assert app.training.pictures.source.value == BUNDLED
    other = xw.Model(digits.module, size=48, mean=(0.5,), std=(0.25,), labels=[f"class {k}" for k in range(10)])
    app = SynthesisLab(other, "class 3", "learned_inversion", sync=True, autostart=False)
    try:
        assert sources(app) == [UPLOADS]
    finally:
        app.close()
    assert sources(make_app(pictures="photos"))[1] == GIVEN


def test_the_bundled_photos_are_offered_where_a_network_of_photos_has_no_pictures_of_its_own(monkeypatch):
    """Held-out error of a stage in the middle 0.57, the mean picture's 0.81; of the last stage, the default, 0.89."""
    app = SynthesisLab("efficientnet_lite0", "espresso", "learned_inversion", sync=True, autostart=False)
    asked = []
    monkeypatch.setattr(training, "fitting_steps", lambda *what: asked.append(what) or iter(()))
    try:
        app.run.load()
        assert sources(app) == [UPLOADS, SAMPLES]
        assert app.training.pictures.source.value == UPLOADS
        press(app)
        assert "add at least 5 photos" in said(app)
        assert WORDS[SAMPLES] in said(app)
        assert app.training.layer.value == ""
        app.training.pictures.source.value = SAMPLES
        assert app.training.layer.value == "blocks.3"
        press(app)
    finally:
        app.close()
    ((method, model, wanted, layer, *_),) = asked
    assert (method, model.name, wanted, layer) == ("learned_inversion", "efficientnet_lite0", "photos", "blocks.3")


def test_a_folder_can_be_named_in_a_notebook_only(make_app, a_notebook, monkeypatch):
    assert sources(make_app()) == [BUNDLED, FOLDER, UPLOADS]
    for name in ("VOILA_KERNEL_ID", "VOILA_PREHEAT", "XAIWIDGETS_SERVED"):
        with monkeypatch.context() as served:
            served.setenv(name, "1")
            app = make_app()
            assert sources(app) == [BUNDLED, UPLOADS]
            assert app.training.pictures.folder is None  # what is not there cannot be written to
            with pytest.raises(TraitError):
                app.training.pictures.source.set_state({"index": 2})
            assert app.training.pictures.source.value == BUNDLED
    monkeypatch.delenv("JPY_SESSION_NAME")
    assert FOLDER not in sources(make_app())


def test_pages_that_are_served_say_so_to_their_kernels(monkeypatch):
    from xaiwidgets.serving.server import prepare_environment

    for name in ("JUPYTER_PATH", "PYTHONPATH", "OMP_NUM_THREADS", "XAIWIDGETS_SERVED"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.delenv("XAIWIDGETS_SERVED")
    monkeypatch.setenv("JPY_SESSION_NAME", "the notebook whose terminal started the server")
    assert ownpictures.may_name_folders()
    prepare_environment()
    assert not ownpictures.may_name_folders()


def test_uploads_are_read_made_smaller_and_counted(make_app):
    app = make_app()
    own = app.training.pictures
    own.source.value = UPLOADS
    add(app, ("a.png", photo(1)), ("b.jpg", photo(2, (1200, 300), "JPEG")), ("a again.png", photo(1)))
    assert "<b>2 photos</b>" in own.told.value
    assert [one.pixels.shape for one in own._photos.values()] == [(60, 80, 3), (128, 512, 3)]
    assert own.upload.value == ()
    assert app.status._kind != "error"
    add(app, ("notes.txt", b"no picture at all"), ("c.png", photo(3)), ("cut.png", photo(4)[:200]))
    assert "<b>3 photos</b>" in own.told.value
    assert "Left out: notes.txt: expected a JPEG, PNG or WebP picture" in said(app)
    assert "So were 1 more files" in said(app)
    press(app)
    assert "add at least 5 photos" in said(app)
    assert app.training.button.description == "Train"
    own.drop.click()
    assert "<b>0 photos</b>" in own.told.value
    assert own.drop.disabled


def test_uploads_have_limits_before_they_are_decoded(make_app, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        ownpictures, "read_picture", lambda data, name: decoded.append(name) or xw.read_picture(data, name)
    )
    app = make_app()
    own = app.training.pictures
    monkeypatch.setattr(ownpictures, "MOST", 3)
    add(app, *[(f"{number}.png", photo(number)) for number in range(5)])
    assert decoded == ["0.png", "1.png", "2.png"]
    assert "no more than 3 photos are kept" in said(app)
    own.drop.click()
    monkeypatch.setattr(ownpictures, "MOST_WAITING", 100)
    add(app, ("large.png", photo(1)))
    assert decoded == ["0.png", "1.png", "2.png"]
    assert "Left out: large.png" in said(app)
    monkeypatch.setattr(ownpictures, "MOST_WAITING", 10**6)
    monkeypatch.setattr(ownpictures, "MOST_KEPT", 20_000)
    add(app, ("1.png", photo(1)), ("2.png", photo(2)))
    assert len(own._photos) == 1
    assert "2.png: the photos take" in said(app)
    add(app, ("many pixels.png", bomb()))
    assert len(own._photos) == 1
    assert "million pixels" in said(app)


def bomb():
    """Return a few bytes whose header says 60,000 × 60,000 px."""
    import struct
    import zlib

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    parts = [(13, chunk), (0, b"IDAT")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", size) + part + struct.pack(">I", zlib.crc32(part)) for size, part in parts
    )


# -- training -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize(("method", "knob"), [("learned_inversion", "decoder"), ("dgn_am", "generator")])
def test_photos_that_were_added_are_learned_from(make_app, digits, method, knob):
    app = make_app(method)
    panel = app.training
    panel.pictures.source.value = UPLOADS
    add(app, *[(f"{number}.png", photo(number)) for number in range(6)])
    panel.epochs.value = 2
    press(app)
    assert app.status._kind == "idle", said(app)
    kind = "generator" if method == "dgn_am" else "decoder"
    name = f"{kind} of digits_gap, 6 photos"
    assert "6 photos, 50 random crops of each, 1 of the photos held out" in panel.note.value
    assert "over 2 of 2 steps" in panel.curve.value
    assert "data:image/png" in panel.panel.value
    assert "The mean picture has" in panel.panel.value
    trained = get(name)
    assert trained.fits(digits)
    assert (trained.kind, trained.size) == (kind, (48, 48))
    picker = {**app.fixed.controls, **app.form.controls}[knob].widget
    assert name in [value for _, value in picker.options]
    assert app.run.result is not None  # the newest that fits was used at once
    picker.value = name
    app.step.click()
    assert app.status._kind == "idle", said(app)
    panel.epochs.value = 1
    press(app)
    assert get(name) is not trained
    assert picker.value == name


@pytest.mark.usefixtures("brief")
def test_a_folder_is_learned_from_and_its_errors_are_told(make_app, a_notebook, tmp_path):
    app = make_app()
    panel = app.training
    panel.pictures.source.value = FOLDER
    panel.epochs.value = 1
    press(app)
    assert "name the folder" in said(app)
    for made, words in (
        (tmp_path / "nowhere", "no such folder"),
        (folder_of(tmp_path / "empty", 0), "has none"),
        (folder_of(tmp_path / "few", 4), "at least 5 photos.*got 4"),
    ):
        panel.pictures.folder.value = str(made)
        press(app)
        assert panel.button.description == "Train"
        assert re.search(words, said(app)), said(app)
    good = folder_of(tmp_path / "good", 6)
    (good / "broken.png").write_bytes(photo(1)[:100])
    panel.pictures.folder.value = str(good)
    press(app)
    assert "broken.png: expected" in said(app)
    (good / "broken.png").unlink()
    press(app)
    assert app.status._kind == "idle", said(app)
    assert "decoder of digits_gap, 6 photos" in offered("decoder")
    assert len(list(a_notebook.glob("*.pt"))) == 1


@pytest.mark.usefixtures("brief")
def test_another_layer_and_oriented_gradients(make_app):
    app = make_app(pictures=[np.asarray(Image.open(io.BytesIO(photo(k)))) for k in range(6)])
    panel = app.training
    assert panel.pictures.source.value == GIVEN
    assert {"hog", "lbp", "classifier"} <= {value for _, value in panel.layer.options}
    panel.layer.value, panel.epochs.value = "hog", 1
    press(app)
    assert app.status._kind == "idle", said(app)
    assert get("decoder of hog of digits_gap, 6 photos").feature == "hog"
    app.picker._chips["dgn_am"].click()
    vectors = [value for _, value in panel.layer.options]
    assert vectors[0] == panel.layer.value == ""
    assert "hog" not in vectors
    assert "classifier" not in vectors


def test_it_is_said_when_nothing_was_learned(make_app):
    panel = make_app().training
    panel._words = "Learns from 5 photos."
    panel._judge(DecoderTraining(1.0, 1, (1.0,), (0.6,), mean_error=0.7))
    assert panel.note.value == ""
    panel._judge(DecoderTraining(1.0, 1, (1.0,), (0.69,), mean_error=0.7))
    assert "5 photos. What it makes of other photos is no better than the mean picture" in panel.note.value


# -- stopped, and gone on with --------------------------------------------------------------------------------------


def until(panel, words, done):
    """Call ``done`` from the page's side once the button has said these words."""
    came = threading.Event()
    panel.button.observe(lambda change: words in change["new"] and came.set(), "description")
    done()
    assert came.wait(LONG), panel.button.description


@pytest.mark.usefixtures("brief")
def test_a_stopped_training_goes_on_after_its_last_epoch(make_app, a_notebook):
    pictures = [np.asarray(Image.open(io.BytesIO(photo(k)))) for k in range(6)]
    whole = make_app(pictures=pictures)
    whole.training.epochs.value = 4
    press(whole)
    name = "decoder of digits_gap, 6 photos"
    expected = get(name).digest()
    for path in a_notebook.glob("*.pt"):
        path.unlink()

    app = make_app(sync=False, pictures=pictures)
    assert app.wait(LONG)
    panel = app.training
    panel.epochs.value = 4
    until(panel, "epoch 2 of 4", lambda: press(app))
    press(app)
    assert app.wait(LONG)
    assert panel.button.description == "Go on"
    assert "Stopped after epoch" in panel.note.value
    app.close()

    app = make_app(sync=False, pictures=pictures)  # the next page, or the same one after the kernel has ended
    assert app.wait(LONG)
    app.training.epochs.value = 4
    until(app.training, "of 4", lambda: press(app))
    assert app.wait(LONG)
    assert "held out. Went on after epoch" in app.training.note.value or "no better" in app.training.note.value
    assert get(name).digest() == expected  # bit for bit as if it had not been stopped
    assert app.training.button.description == "Train"


def test_checkpoints_of_strangers_go_with_their_page(make_app, monkeypatch, brief):
    app = make_app(pictures=[np.asarray(Image.open(io.BytesIO(photo(k)))) for k in range(6)])
    app.training.epochs.value = 1
    press(app)
    folder = app.training._made
    assert len(list(folder.glob("*.pt"))) == 1
    app.close()
    assert not folder.exists()


def test_a_stop_has_the_last_word(make_app):
    """What a step under way still has to say comes too late."""
    app = make_app()
    panel = app.training

    def steps():
        yield DecoderTraining(0.5, 1, (1.0,), (0.5,))
        panel.stop()
        yield DecoderTraining(1.0, 2, (1.0, 1.0), (0.5, 0.5))

    panel._turn, panel._running = 7, "learned_inversion"
    work = panel._work(7, "learned_inversion", steps(), 2)
    next(work), next(work)
    assert panel.button.description == "Go on"
    assert "Stopped after epoch 1" in panel.note.value
    panel.epochs.value = 3
    assert panel.button.description == "Train"
