"""Stand-ins for a browser, and explorers that are always closed."""

from __future__ import annotations

import pytest

from xaiwidgets.model.zoo import load_model


@pytest.fixture(scope="session")
def digits():
    """The bundled network of 48 × 48 gray pictures."""
    return load_model("digits_gap")


@pytest.fixture(autouse=True)
def one_batch_size(monkeypatch):
    """The fastest batch size is measured; sums over batches of another size differ in their last bit."""
    monkeypatch.setattr("xaiwidgets.engine.batching.CANDIDATES", (8,))
    monkeypatch.setattr("xaiwidgets.engine.batching.LONGEST_STEP", float("inf"))


@pytest.fixture
def send():
    """Return a function that updates a widget's synced traits as a browser does."""

    def update(widget, **state):
        widget._handle_msg(
            {"content": {"data": {"method": "update", "state": state, "buffer_paths": []}}, "buffers": []}
        )

    return update


@pytest.fixture
def spent(monkeypatch):
    """Count every pass that any network makes."""
    from xaiwidgets.model import passes

    counted = []
    forward, gradient = passes.forward, passes.gradient
    monkeypatch.setattr(passes, "forward", lambda n, i, *a: counted.append(len(i)) or forward(n, i, *a))
    monkeypatch.setattr(passes, "gradient", lambda n, i, *a, **k: counted.append(len(i)) or gradient(n, i, *a, **k))
    return counted


@pytest.fixture
def make_explorer(digits, monkeypatch):
    """Return a maker of explorers on the small network; each is closed when the test ends."""
    from xaiwidgets.apps.explorer import Explorer
    from xaiwidgets.studio.studio import Studio

    monkeypatch.setattr(Studio, "_time", lambda studio: iter(()))  # how fast this machine is, is not what is tested
    made = []

    def make(model=None, *args, sync=True, **kwargs):
        made.append(Explorer(digits if model is None else model, *args, sync=sync, **kwargs))
        return made[-1]

    yield make
    for explorer in made:
        explorer.close()
