"""A small network, and a studio that is always closed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from xaiwidgets.model.zoo import load_model
from xaiwidgets.studio.lens import Lens
from xaiwidgets.studio.studio import EVENTS, Studio


@pytest.fixture(scope="session")
def digits():
    """The bundled network of 48 × 48 gray pictures."""
    return load_model("digits_gap")


def photo_bytes(seed: int, side: int = 64) -> bytes:
    """Return a PNG file of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def photo():
    return photo_bytes


@pytest.fixture
def record():
    """Return a function that writes down all that a studio publishes, as (event, record)."""

    def listen(studio):
        heard = []
        for event in EVENTS:
            studio.on(event, lambda found, event=event: heard.append((event, found)))
        return heard

    return listen


@pytest.fixture
def make_studio(digits):
    """Return a maker of studios; each is closed when the test ends."""
    made = []

    def make(lens=None, model=None, *, sync=True):
        studio = Studio(model or digits, lens or Lens(), sync=sync)
        studio.timing = False  # probing the network is not what is tested
        made.append(studio)
        return studio

    yield make
    for studio in made:
        studio.close()
