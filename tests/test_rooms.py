"""Who may import whom, and what must not be loaded before the page is drawn."""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

import xaiwidgets

PACKAGE = Path(xaiwidgets.__file__).parent
ROOMS = (
    "core",
    "surgery",
    "model",
    "engine",
    "explainers",
    "hidden",
    "synthesis",
    "learned",
    "evaluation",
    "render",
    "studio",
    "widgets",
    "apps",
    "serving",
)
METHOD_ROOMS = ("explainers", "hidden", "synthesis", "learned", "evaluation")
#: file, imported room: a result knows how to draw itself, and asks for it when it is drawn.
EXCEPTIONS = {("core/results.py", "render"), ("core/scores.py", "render"), ("engine/comparison.py", "render")}
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("torch", "torchvision", "timm", "skimage", "sklearn", "matplotlib")
LIGHT = ("core.cards", "render", "studio", "widgets", "apps")


@functools.cache
def imports(path):
    """Return the dotted names of all that a file imports, also inside functions, and relative ones in full."""
    names = []
    package = ("xaiwidgets", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *((node.module,) if node.module else ())))
            names += [f"{module}.{alias.name}" for alias in node.names]
    return names


def room(path):
    """Return the first folder of a file inside the package."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def forbidden(path):
    """Return what a file imports from rooms below its own. ``data`` sits just above ``model``."""
    order = {name: number for number, name in enumerate(("core", "surgery", "data", *ROOMS[2:]))}
    here = room(path)
    if here == "":
        return []  # the package's front door hands out names of every room, lazily
    found = {tuple(name.split(".")[1:2]) for name in imports(path) if name.startswith("xaiwidgets.")}
    rooms = {first for (first,) in found if first in order}
    name = path.relative_to(PACKAGE).as_posix()
    return sorted(r for r in rooms if order[r] > order[here] and (name, r) not in EXCEPTIONS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_up(path):
    assert room(path) in {"", "data", *ROOMS}, "a new room needs its place in the order"
    assert forbidden(path) == []


def test_the_rule_sees_what_it_forbids(monkeypatch, tmp_path):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "model").mkdir()
    bad = tmp_path / "model" / "bad.py"
    bad.write_text(
        "from ..engine import run\n\ndef f():\n    import xaiwidgets.widgets.stage\n    from xaiwidgets import apps\n"
    )
    assert forbidden(bad) == ["apps", "engine", "widgets"]
    imports.cache_clear()
    bad.write_text(
        "from ..core import cards\nfrom xaiwidgets.data import digits\nfrom xaiwidgets.errors import XaiError\n"
    )
    assert forbidden(bad) == []


def is_method(path):
    """Return whether a file registers a method or a metric: it decorates a class as such."""
    tree = ast.parse(path.read_text("utf-8"))
    made = (d for c in ast.walk(tree) if isinstance(c, ast.ClassDef) for d in c.decorator_list)
    return any(
        isinstance(d, ast.Call) and getattr(d.func, "id", "") in ("explainer", "synthesizer", "metric") for d in made
    )


def test_method_files_never_import_each_other():
    methods = {
        "xaiwidgets." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in FILES
        if room(path) in METHOD_ROOMS and is_method(path)
    }
    assert methods
    for path in methods.values():
        others = [m for m in methods if methods[m] != path for name in imports(path) if f"{name}.".startswith(f"{m}.")]
        assert others == [], path


def test_only_the_last_rooms_import_widgets_and_one_file_the_canvas():
    def users(library):
        return [path for path in FILES if any(name.split(".")[0] == library for name in imports(path))]

    assert {room(path) for path in users("ipywidgets")} <= {"widgets", "apps", "serving"}
    canvas = [path.relative_to(PACKAGE).as_posix() for path in users("ipycanvas")]
    assert len(canvas) == 1, canvas
    assert canvas[0].startswith("widgets/")


@pytest.mark.parametrize("target", ["", *LIGHT])
def test_what_the_page_needs_loads_no_torch(target):
    """Import every module of a room in a fresh process and look at what came with it."""
    code = """
import importlib, json, pkgutil, sys
name, heavy = sys.argv[1], sys.argv[2].split()
top = importlib.import_module(name)
count = 1
if name == "xaiwidgets.core.cards":
    top.load_all()
elif name != "xaiwidgets":
    for found in pkgutil.walk_packages(top.__path__, name + "."):
        importlib.import_module(found.name)
        count += 1
print(json.dumps({"file": top.__file__, "count": count, "heavy": [m for m in heavy if m in sys.modules]}))
"""
    name = ".".join(filter(None, ("xaiwidgets", target)))
    command = [sys.executable, "-P", "-c", code, name, " ".join(HEAVY)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["file"], f"{name} has no __init__.py"
    assert told["heavy"] == []
    folder = PACKAGE / target.replace(".", "/")
    if target and folder.is_dir():
        assert told["count"] == len(list(folder.rglob("*.py")))
