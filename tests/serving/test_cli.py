"""The command line: what is understood, what is refused, and in which words."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import xaiwidgets
from xaiwidgets.core.cards import card, cards
from xaiwidgets.core.knobs import Choice, Flag, Range, ReferenceName
from xaiwidgets.core.results import Attribution
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.model import references
from xaiwidgets.serving import cli
from xaiwidgets.serving.knob_words import _read, parse_knobs

COMMAND = [sys.executable, "-P", "-m", "xaiwidgets.serving"]


@pytest.fixture
def served(monkeypatch):
    """Collect the settings that the server would be started with."""
    asked = []
    monkeypatch.setattr(cli, "serve", asked.append)
    return asked


def test_no_command_serves_the_explorer_on_this_machine_only(served):
    assert cli.main([]) == 0
    (settings,) = served
    assert settings.notebook.name == "explorer.ipynb"
    assert (settings.host, settings.port, settings.token, settings.theme) == ("127.0.0.1", 0, "", "light")
    assert settings.browser
    assert not settings.preheat


@pytest.mark.parametrize("order", [["--port", "8123", "synthesis"], ["synthesis", "--port", "8123"]])
def test_options_count_before_and_after_the_command(served, order):
    assert cli.main([*order, "--no-browser", "--theme", "dark", "--preheat"] if order[0] == "synthesis" else order) == 0
    assert served[0].notebook.name == "synthesislab.ipynb"
    assert served[0].port == 8123


def test_the_comparison_is_served(served):
    assert cli.main(["compare", "--no-browser"]) == 0
    assert (served[0].notebook.name, served[0].title) == ("compare.ipynb", "Compare")
    assert set(cli.SERVED) == set(cli.APPS)


def test_the_laboratory_is_served(served):
    assert cli.main(["trust", "--no-browser"]) == 0
    assert (served[0].notebook.name, served[0].title) == ("trustlab.ipynb", "TrustLab")


def test_the_study_is_served(served):
    assert cli.main(["study", "--no-browser"]) == 0
    assert (served[0].notebook.name, served[0].title) == ("study.ipynb", "Study")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_other_machines_need_a_token(served, host):
    cli.main(["--host", host])
    cli.main(["--host", host])
    first, second = (s.token for s in served)
    assert len(first) >= 24
    assert first != second


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "localhost", "::1"])
def test_this_machine_needs_none_unless_asked(served, host):
    cli.main(["--host", host])
    cli.main(["--host", host, "--token"])
    cli.main(["--host", host, "--token", "mine"])
    assert served[0].token == ""
    assert len(served[1].token) >= 24
    assert served[2].token == "mine"


@pytest.mark.parametrize("words", ["--port 99999", "--port x", "--theme blue", "nonsense", "explain"])
def test_bad_words_end_with_code_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words.split())
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_methods_lists_every_card(capsys):
    assert cli.main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(cards()) + 1
    for of, line in zip(cards(), lines[1:], strict=True):
        assert line.startswith(of.id)
        assert of.title in line
        assert of.paper in line
        assert all(f"{k.name}={k.default!r}" in line for k in of.knobs)


@pytest.mark.parametrize("of", cards(), ids=lambda of: of.id)
def test_defaults_survive_being_written_as_words(of):
    words = [f"{k.name}={k.default}" for k in of.knobs]
    assert of.make(**parse_knobs(of, words)) == of.make()


def test_knobs_are_read_as_their_domain_says():
    of = card("integrated_gradients")
    assert parse_knobs(of, ["points=64"]) == {"points": 64}
    assert _read("noise", "1.5", Range(0.0, 2.0)) == 1.5
    assert _read("on", "Yes", Flag()) is True
    assert _read("on", "0", Flag()) is False
    assert _read("rule", "a=b", Choice(("a=b", "c"))) == "a=b"


def test_reference_pictures_are_named_or_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(references, "_SETS", {})
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "my dogs & cats"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (20, 20)).save(tmp_path / name / "one.png")
    assert _read("references", "plain", ReferenceName()) == "plain"
    assert _read("references", "photos", ReferenceName()) == "photos"
    assert references._SETS == {}, "the built-in set, though there is a folder of that name"
    for text, name in (("./photos", "folder-photos"), ("my dogs & cats", "folder-my-dogs-cats")):
        assert _read("references", text, ReferenceName()) == name
        assert references.find_references(name).names == ("one.png",)
    with pytest.raises(InvalidKnob, match=r"references must be the name of a set of pictures .* got './nothing'"):
        _read("references", "./nothing", ReferenceName())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("points", "name=value"),
        ("points=many", "whole number from"),
        ("points=1.5", "whole number from"),
        ("points=nan", "whole number from"),
        ("pionts=3", "no hyper-parameter 'pionts'"),
    ],
)
def test_bad_knobs_are_named(words, says):
    of = card("integrated_gradients")
    with pytest.raises(InvalidKnob, match=says):
        of.make(**parse_knobs(of, [words]))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--method", "integrated_gradient"], "Did you mean integrated_gradients"),
        (["--method", "integrated_gradients", "-k", "points=0"], "points must be"),
    ],
)
def test_an_error_is_one_clear_line_and_code_2(words, says, capsys, tmp_path):
    assert cli.main(["explain", "coffee", *words, "-o", str(tmp_path / "out.png")]) == 2
    caught = capsys.readouterr()
    assert says in caught.err
    assert caught.err.count("\n") == 1
    assert caught.out == ""
    assert list(tmp_path.iterdir()) == []


class Recorder:
    """Stands where the model stands, to see what the command asks of it."""

    def input(self, photo):
        return np.full((1, 3, 32, 32), 0.5, np.float32)

    def to_pixels(self, images):
        return images[0].transpose(1, 2, 0)


@pytest.mark.parametrize(("word", "target"), [("504", 504), ("espresso", "espresso"), ("n07920052", "n07920052")])
def test_explain_passes_on_what_was_asked(monkeypatch, tmp_path, word, target):
    asked = {}

    def explain(model, photo, method, *, target):
        asked.update(photo=photo, method=method, target=target)
        return Attribution(np.ones((1, 8, 8), np.float32), "logit", signed=True, size=(32, 32))

    monkeypatch.setattr(xaiwidgets, "load_model", lambda name: asked.update(model=name) or Recorder(), raising=False)
    monkeypatch.setattr(xaiwidgets, "explain", explain, raising=False)
    out = tmp_path / "out.png"
    words = ["--target", word, "--model", "digits_gap", "-k", "points=7", "-o", str(out)]
    assert cli.main(["explain", "coffee", "--method", "integrated_gradients", *words]) == 0
    method = card("integrated_gradients").make(points=7)
    assert asked == {"photo": "coffee", "method": method, "target": target, "model": "digits_gap"}
    assert out.read_bytes().startswith(b"\x89PNG")


def test_explain_prints_what_the_map_adds_up_to(monkeypatch, tmp_path, capsys):
    details = {
        "explained": 100.0,
        "receipt": {"start": 100.0, "input": 64.0, "bias": 36.0},
        "coverage": ({"layer": "a", "kind": "conv", "rule": "zplus", "count": 2},),
    }
    found = Attribution(np.ones((1, 8, 8), np.float32), "logit", signed=True, size=(32, 32), gap=-36.0, details=details)
    monkeypatch.setattr(xaiwidgets, "load_model", Recorder, raising=False)
    monkeypatch.setattr(xaiwidgets, "explain", lambda *a, **k: found, raising=False)
    words = ["explain", "coffee", "--method", "saliency", "-o", str(tmp_path / "out.npz")]
    assert cli.main(words) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Sum 64.0 of 100 · gap −36.0 (36 %) · bias 36 %",
        "Warning: 36 % of the difference is missing from the map.",
        "Relevance: start 100 → input 64.0 (64 %), bias 36.0 (36 %)",
        "2 of 2 operations ruled: 2 conv by zplus",
    ]
    found = found.replace(gap=None, details={})
    assert cli.main(words) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_explain_on_the_bundled_model(tmp_path):
    out = tmp_path / "out.npz"
    words = ["explain", "coffee", "--method", "saliency", "--target", "espresso", "-o", str(out)]
    done = subprocess.run([*COMMAND, *words], check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with np.load(out) as saved:
        assert np.isfinite(saved["values"]).all()
        assert saved["values"].any()


def test_a_budget_lowers_the_counts_and_tells_the_price(tmp_path, capsys):
    out = tmp_path / "out.npz"
    words = ["explain", "coffee", "--method", "rise", "-k", "samples=4000", "--model", "digits_gap", "-o", str(out)]
    assert cli.main([*words, "--budget", "0.02"]) == 0
    passes = int(capsys.readouterr().out.split(" forward passes, ")[0].replace(",", ""))
    assert 11 <= passes < 4001
    assert cli.main([*words, "--budget", "-1"]) == 2
    assert "seconds must be a positive number; got -1.0" in capsys.readouterr().err


def start(*words):
    """Start the command in a process group of its own and return it with the first line it writes."""
    process = subprocess.Popen(
        [*COMMAND, "--no-browser", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    return process, process.stdout.readline()


def end(process, number=signal.SIGTERM):
    """Stop the process and return its exit code and what else it wrote."""
    process.send_signal(number)
    try:
        out, err = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    return process.returncode, out, err


@pytest.mark.parametrize(("words", "title"), [((), "Explorer"), (("synthesis",), "Synthesis")])
def test_address_is_one_line_and_ctrl_c_ends_quietly(words, title):
    process, line = start(*words)
    try:
        assert re.fullmatch(rf"xaiwidgets {title}: http://127\.0\.0\.1:\d+/\n", line)
        port = int(line.rstrip("/\n").rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), 5):
            pass
    finally:
        ended = end(process, signal.SIGINT)
    assert ended == (0, "", "")


def test_a_taken_port_is_said_plainly():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "--no-browser", "--port", str(port)], check=False, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 is already in use" in done.stderr
    assert done.stderr.count("\n") == 1
