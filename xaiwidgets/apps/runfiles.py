"""Taking a run along: snapshots, PNG, films, and the run itself as JSON; and doing a saved run again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import ipywidgets as w
import numpy as np
from PIL import Image

from xaiwidgets.engine.synthesis_record import synthesis_record
from xaiwidgets.errors import InvalidRecord, XaiError
from xaiwidgets.render.animation import animate, png_bytes
from xaiwidgets.widgets.export import download
from xaiwidgets.widgets.snapshots import Snapshots

if TYPE_CHECKING:
    from collections.abc import Callable

    from xaiwidgets.apps.lanes import Lane

#: Frames a second of the animated file.
FPS = 15


class RunFiles:
    """The buttons, and the place where a link appears.

    Args:
        lane: returns the run whose knobs are shown.
        replay: called with the bytes of an upload.
        failed: called with what went wrong.
    """

    def __init__(
        self, lane: Callable[[], Lane], replay: Callable[[bytes], None], failed: Callable[[str], None]
    ) -> None:
        self._lane, self._replay, self._failed = lane, replay, failed
        self.snapshots = Snapshots()
        self.snap = _button("Snapshot", "Keep this picture in the strip", self._snapshot)
        self.png = _button("Save PNG", "The picture at the network's own size", self._save_png)
        self.film = _button("Save film", "The run so far as an animated WebP file", lambda: self._save_film("webp"))
        self.gif = _button("Save GIF", "The run so far as an animated GIF file", lambda: self._save_film("gif"))
        self.keep = _button("Save run", "What it takes to make this picture again, as JSON", self._save_run)
        self.load = w.FileUpload(accept=".json", multiple=False, description="Load run")
        self.load.tooltip = "A file that Save run has written: the run is done again, step by step"
        for name in ("xai-plain", "xai-loadrun"):
            self.load.add_class(name)
        self.load.observe(self._uploaded, "value")
        self.saved = w.HTML()
        self.box = w.HBox([self.snap, self.png, self.film, self.gif, self.keep, self.load, self.saved])
        self.box.add_class("xai-tools")

    def say(self, words: str) -> None:
        """Put a line in the place of the link, from HTML text."""
        self.saved.value = f"<span class='xai-muted' role='status'>{words}</span>" if words else ""

    def _ready(self) -> Lane | None:
        lane = self._lane()
        if lane.shown is None:
            self._failed("There is no picture yet: press Start first.")
            return None
        return lane

    def _snapshot(self) -> None:
        lane = self._ready()
        if lane is not None and lane.shown is not None:
            chance = lane.shown.terms.get("probability")
            caption = lane.title + (f", {chance:.0%}" if chance is not None else "")
            self.snapshots.add(lane.seen(lane.large), caption, lane.changed_knobs)

    def _save_png(self) -> None:
        lane = self._ready()
        if lane is not None and lane.shown is not None:
            source = lane.shown.provenance
            made = f"{source.method} of {source.model}: {lane.title}; {lane.changed_knobs}"
            content = png_bytes(lane.seen(lane.large), {"Software": "xaiwidgets", "Description": made})
            self.saved.value = download(content, f"{_file_name(lane)}.png", "image/png", "Download PNG")

    def _save_film(self, kind: Literal["webp", "gif"]) -> None:
        lane = self._ready()
        if lane is not None:
            frames, name = lane.run.frames(), f"{_file_name(lane)}.{kind}"
            self.say(f"Making a film of {len(frames)} frames …")
            # between two steps on the worker: it takes seconds, and the page must go on answering
            lane.run.runner.urgent("film", lambda: self._make_film(lane, frames, name, kind))

    def _make_film(self, lane: Lane, frames: list[Any], name: str, kind: str) -> None:
        height, width = frames[-1].shape[:2]  # pictures of some methods grow while they are made
        even = [f if f.shape[:2] == (height, width) else _resized(f, (width, height)) for f in frames]
        content = animate([lane.seen(frame / np.float32(255)) for frame in even], FPS, kind)
        words = f"Download {'film' if kind == 'webp' else 'GIF'} ({len(frames)} frames, {len(content) / 1024:.0f} kB)"
        self.saved.value = download(content, name, f"image/{kind}", words)

    def _save_run(self) -> None:
        lane = self._ready()
        if lane is None or lane.shown is None or lane.run.model is None:
            return
        try:
            content = synthesis_record(lane.run.model, lane.shown, lane.run.photo).to_json().encode()
        except XaiError as error:
            self._failed(str(error))
        else:
            words = f"Download run ({lane.shown.step} steps)"
            self.saved.value = download(content, f"{_file_name(lane)}.json", "application/json", words)

    def _uploaded(self, change: Any) -> None:
        files = change["new"]
        if not files:
            return
        try:
            content = files[0]["content"]
            if not isinstance(content, (bytes, bytearray, memoryview)):  # bytes(n) of a number would be n zeros
                raise InvalidRecord("the upload could not be read; choose a file that Save run has written.")
            self._replay(bytes(content))
        except XaiError as error:
            self._failed(str(error))
        finally:
            self.load.value = ()  # the same file can be chosen again


def _button(words: str, tooltip: str, pressed: Callable[[], None]) -> w.Button:
    button = w.Button(description=words, tooltip=tooltip)
    button.add_class("xai-plain")
    button.on_click(lambda _: pressed())
    return button


def _resized(pixels: Any, size: tuple[int, int]) -> Any:
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def _file_name(lane: Lane) -> str:
    return "".join(c if c.isalnum() else "-" for c in lane.run.target)[:60].strip("-") or "picture"
