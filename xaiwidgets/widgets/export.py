"""Taking what is on screen along: a PNG, and the Python code that makes it again."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.core.knobs import knobs_of
from xaiwidgets.learned.pooling_head import SUFFIX as CONVERTED
from xaiwidgets.model.zoo import BUNDLED
from xaiwidgets.render.animation import png_bytes
from xaiwidgets.render.look import Look

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xaiwidgets.studio.frame import Frame
    from xaiwidgets.studio.lens import Lens


def code_for(lens: Lens, model: str, target: str, image: str | None = None, events: Sequence[Any] = ()) -> str:
    """Return Python code that computes and saves what the lens shows; ``events`` is what was moved meanwhile."""
    moved = f", events={list(events)!r}" if events else ""
    asks = "".join(f", {name}={value!r}" for name, value in lens.knobs)
    plain = Look()
    look = "".join(
        f", {k.name}={v!r}" for k in knobs_of(Look) if (v := getattr(lens.look, k.name)) != getattr(plain, k.name)
    )
    source = lens.image if image is None else image
    words = " ".join(target.split())
    return "\n".join(
        (
            "import xaiwidgets as xw",
            "",
            _model_line(model),
            f"image = {source!r}" + ("" if image is None else "  # the file you uploaded: give its path"),
            f"a = xw.explain(model, image, {lens.method!r}, target={_target(lens)}{asks}{moved})  # {words}",
            f"a.save('{lens.method}.png', image{look})",
        )
    )


def _target(lens: Lens) -> str:
    if lens.unit is not None:
        position = "" if lens.unit.position == "mean" else f", {lens.unit.position!r}"
        return f"xw.Target.hidden({lens.unit.layer!r}, {lens.unit.channel!r}{position})"
    return f"{list(lens.target)!r}" if len(lens.target) > 1 else repr(lens.target[0]) if lens.target else "None"


def _model_line(name: str) -> str:
    if name.endswith(CONVERTED):
        return f"{_model_line(name.removesuffix(CONVERTED))}\nmodel = xw.with_pooling_head(model)"
    known = name.removesuffix(" (random weights)")
    if known in BUNDLED or known.startswith(("torchvision:", "timm:")):
        return f"model = xw.load_model({known!r}{'' if known == name else ', weights=' + repr('none')})"
    return f"model = xw.Model(network)  # your own network, {name!r}, with its labels=, size=, mean= and std="


def download(content: bytes, name: str, kind: str, words: str) -> str:
    """Return an HTML link that saves these bytes under this name, without a request to the server."""
    data = base64.b64encode(content).decode()
    return f"<a class='xai-save' download='{escape(name)}' href='data:{kind};base64,{data}'>{escape(words)}</a>"


class Export:
    """The buttons *Save PNG* and *Code*, and the place where link and code appear.

    Args:
        frame: returns the frame on screen, or ``None``.
        look: returns the current look.
        code: returns the code for what is on screen.
    """

    def __init__(self, frame: Callable[[], Frame | None], look: Callable[[], Look], code: Callable[[], str]) -> None:
        self._frame, self._look, self._code = frame, look, code
        self.save = w.Button(description="Save PNG", tooltip="The picture as it is on screen, exact")
        self.show_code = w.ToggleButton(description="Python code", tooltip="Code that makes this picture again")
        for button in (self.save, self.show_code):
            button.add_class("xai-plain")
        self.save.on_click(self._save)
        self.show_code.observe(lambda _: self.refresh(), "value")
        self.place = w.HTML()
        self.text = w.HTML()
        buttons = w.HBox([self.save, self.show_code])
        buttons.add_class("xai-tools")
        self.box = w.VBox([buttons, self.place, self.text])

    def refresh(self) -> None:
        """Bring the code up to date if it is shown; an old link is taken away."""
        self.place.value = ""
        shown = self.show_code.value
        self.text.value = f"<div class='xai-code' tabindex='0'>{escape(self._code())}</div>" if shown else ""

    def _save(self, _: Any) -> None:
        frame = self._frame()
        if frame is None:
            self.place.value = "<span class='xai-muted'>Nothing to save yet.</span>"
            return
        content = png_bytes(frame.pixels(self._look()), {"Software": "xaiwidgets", "Description": self._code()})
        name = f"{frame.lens.image.replace(':', '-')}-{frame.lens.method}.png"
        self.place.value = download(content, name, "image/png", f"Download {name} ({len(content) / 1024:.0f} kB)")
