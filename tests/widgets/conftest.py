"""Stand-ins for a browser: what it sends, and what it would have been sent."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from xaiwidgets.model.zoo import load_model
from xaiwidgets.widgets import drawing


@pytest.fixture(scope="session")
def digits():
    """The bundled network of 48 × 48 gray pictures."""
    return load_model("digits_gap")


@pytest.fixture
def send():
    """Return a function that updates a widget's synced traits as a browser does."""

    def update(widget, **state):
        widget._handle_msg(
            {"content": {"data": {"method": "update", "state": state, "buffer_paths": []}}, "buffers": []}
        )

    return update


class Drawn:
    """What was sent to the canvases: one list of (canvas id, command, arguments, image) a message."""

    def __init__(self):
        self.messages = []
        self._names = {number: name for name, number in drawing._COMMANDS.items()}

    def __call__(self, content, buffers=None):
        commands = json.loads(bytes(buffers[0]))
        commands = commands if isinstance(commands[0], list) else [commands]
        images, canvas, found = list(buffers[1:]), "", []
        for number, *rest in commands:
            name, args = self._names[number], rest[0] if rest else []
            if name == "switchCanvas":
                canvas = args[0].removeprefix("IPY_MODEL_")
                continue
            count = rest[1] if len(rest) > 1 else 0
            found.append((canvas, name, args, [images.pop(0) for _ in range(count)]))
        assert not images
        self.messages.append(found)

    @property
    def last(self):
        return self.messages[-1]

    def picture(self, message=None):
        """Return the only picture in a message."""
        (found,) = [i for _, name, _, images in (message or self.last) if name == "putImageData" for i in images]
        return Image.open(io.BytesIO(bytes(found)))


@pytest.fixture
def drawn(monkeypatch):
    """Write down what is drawn on any canvas."""
    from ipycanvas.canvas import COMMANDS

    monkeypatch.setattr(drawing, "_COMMANDS", COMMANDS, raising=False)
    found = Drawn()
    monkeypatch.setattr(drawing._CANVAS_MANAGER, "send", found)
    return found


@pytest.fixture
def pixels():
    """A picture of random pixels, 60 × 90."""
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
