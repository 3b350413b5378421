"""Addresses, paths and settings of the server."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from xaiwidgets.serving import server
from xaiwidgets.serving.server import CannotListen, Settings, address, bind, is_loopback, notebook_path


@pytest.mark.parametrize("name", ["compare", "explorer", "study", "synthesislab", "trustlab"])
def test_notebooks_are_thin_and_stripped(name):
    notebook = json.loads(notebook_path(name).read_text("utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) == 1
    assert len(code[0]["source"]) <= 3
    assert code[0]["outputs"] == []
    assert code[0]["execution_count"] is None
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert notebook["metadata"]["title"].startswith("xaiwidgets ")


def test_unknown_notebook_names_the_known_ones():
    with pytest.raises(FileNotFoundError, match="one of compare, explorer, study, synthesislab, trustlab"):
        notebook_path("nothing")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("a.org", False),
    ],
)
def test_loopback(host, expected):
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("host", "token", "url"),
    [
        ("127.0.0.1", "", "http://127.0.0.1:80/"),
        ("0.0.0.0", "abc", "http://127.0.0.1:80/?token=abc"),
        ("::1", "", "http://[::1]:80/"),
    ],
)
def test_address(host, token, url):
    assert address(Settings(Path("n.ipynb"), "t", host=host, token=token), 80) == url


def test_bind_takes_a_free_port_and_says_when_there_is_none():
    with bind("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert port > 0
        with pytest.raises(CannotListen, match=f"port {port} on 127.0.0.1 is already in use"):
            bind("127.0.0.1", port)
    with pytest.raises(CannotListen, match=r"no-such-host\.invalid"):
        bind("no-such-host.invalid", 0)


def test_environment_lets_voila_find_the_template_and_kernels_the_package(monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", f"{os.sep}elsewhere")
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(server, "HERE", Path(os.sep, "checkout", "xaiwidgets", "serving"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for _ in range(2):
        server.prepare_environment()
    assert os.environ["JUPYTER_PATH"].split(os.pathsep) == [str(server.TEMPLATES), f"{os.sep}elsewhere"]
    assert os.environ["PYTHONPATH"] == str(Path(os.sep, "checkout"))
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_an_installed_package_is_not_put_in_front_of_the_standard_library(monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", "")
    monkeypatch.setenv("PYTHONPATH", "kept")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(server, "HERE", Path(os.sep, "lib", "site-packages", "xaiwidgets", "serving"))
    server.prepare_environment()
    assert os.environ["PYTHONPATH"] == "kept"
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_template_folder_hides_none_of_voilas_own():
    """Voila takes its themes from the first folder named ``voila`` on the path, so ours must not hold one."""
    assert [p.name for p in server.TEMPLATES.iterdir()] == ["nbconvert"]
