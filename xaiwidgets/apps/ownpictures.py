"""Which pictures to train on: the bundled ones, those given in Python, a folder, or photos that are uploaded."""

from __future__ import annotations

import os
from collections import deque
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as w
from PIL import Image

from xaiwidgets.errors import InvalidImage, XaiError
from xaiwidgets.learned.teaching import LEAST_CUT, which_bundled
from xaiwidgets.model.pictures import Picture, read_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xaiwidgets.model.model import Model

BUNDLED, GIVEN, FOLDER, UPLOADS, SAMPLES = "bundled", "given", "folder", "uploads", "samples"
WORDS = {
    BUNDLED: "Bundled pictures",
    GIVEN: "Those given to the page",
    FOLDER: "A folder",
    UPLOADS: "Photos you add",
    SAMPLES: "Bundled photos, to try it",
}
#: The reference set of the bundled photos, and the least side of a network's input that they are offered for.
PHOTOS, PHOTO_SIDE = "photos", 64
#: Uploads that are kept: how many, bytes of their pixels, and the longer side to which they are made smaller.
MOST, MOST_KEPT, SIDE = 500, 192 * 2**20, 512
#: Bytes of uploads that wait to be read.
MOST_WAITING = 64 * 2**20
#: Megabytes that can be added at once: all files of one choice are one message, and servers take no larger ones. On a
#: served page the browser makes larger photos smaller first.
AT_ONCE = 8


def may_name_folders() -> bool:
    """Return whether this kernel belongs to a notebook, where whoever types a path could as well run code.

    Pages that Voila serves are for strangers, who must not name files of the server.
    """
    served = any(name.startswith(("VOILA_", "XAIWIDGETS_SERVED")) for name in os.environ)
    return not served and bool(os.environ.get("JPY_SESSION_NAME"))


class OwnPictures:
    """A choice between sources of pictures.

    Args:
        queue: makes what reads uploads, from what is called with an error.
        changed: called when another source is chosen, or its pictures are others.
        failed: called with what went wrong.
        given: a folder, a list of pictures, a reference set's name or an array; ``None`` for none.
    """

    def __init__(
        self,
        queue: Callable[[Callable[[Exception], None]], Any],
        changed: Callable[[], None],
        failed: Callable[[str], None],
        given: Any = None,
    ) -> None:
        self._changed, self._failed, self._given = changed, failed, given
        self._reader = queue(lambda error: self._failed(str(error)))
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._refused: list[str] = []
        self._photos: dict[str, Picture] = {}
        self._offered = False
        self.source = w.Dropdown(options=[(WORDS[UPLOADS], UPLOADS)], description="Pictures")
        self.source.style.description_width = "60px"
        self.source.add_class("xai-control")
        self.source.observe(lambda _: self._chosen(), "value")
        #: Not made at all where nobody may name a folder: what is only hidden can still be written to.
        self.folder = w.Text(placeholder="path of a folder", continuous_update=False) if may_name_folders() else None
        if self.folder is not None:
            self.folder.tooltip = "JPEG, PNG, WebP, BMP, TIFF and GIF files at any depth"
            self.folder.add_class("xai-control")
            self.folder.observe(lambda _: self._changed(), "value")
        self.upload = w.FileUpload(accept=".jpg,.jpeg,.png,.webp", multiple=True)
        self.upload.tooltip = f"JPEG, PNG or WebP, at most {AT_ONCE} MB at once"
        for name in ("xai-plain", "xai-addphotos"):
            self.upload.add_class(name)
        self.upload.observe(self._uploaded, "value")
        self.drop = w.Button(description="Drop all", tooltip="Forget the photos that were added")
        self.drop.add_class("xai-plain")
        self.drop.on_click(lambda _: self._forget())
        self.told = w.HTML()
        tools = w.HBox([self.upload, self.drop])
        tools.add_class("xai-tools")
        self.uploads = w.VBox([tools, self.told])
        self.box = w.VBox([self.source, *([] if self.folder is None else [self.folder]), self.uploads])
        self._tell()
        self._show()

    def offer(self, model: Model | None) -> None:
        """Offer the sources that fit a network."""
        fits = model is not None and bool(which_bundled(model))
        sources = [BUNDLED] * fits + [GIVEN] * (self._given is not None)
        sources += [FOLDER] * (self.folder is not None) + [UPLOADS]
        photos = model is not None and model.input_shape[0] == 3 and min(model.input_shape[1:]) >= PHOTO_SIDE
        sources += [SAMPLES] * (photos and not fits)
        options = tuple((WORDS[source], source) for source in sources)
        if self.source.options != options:
            first = GIVEN if GIVEN in sources else sources[0]
            kept = self.source.value if self._offered and self.source.value in sources else first
            self.source.options, self.source.value = options, kept
        self._offered = model is not None

    def wanted(self) -> Any:
        """Return what was chosen: ``None`` for the bundled pictures, else what ``gather`` takes.

        Raises:
            InvalidImage: no folder was named, or photos are missing or still being read.
        """
        source = self.source.value
        if source == BUNDLED:
            return None
        if source == GIVEN:
            return self._given
        if source == SAMPLES:
            return PHOTOS
        if source == FOLDER and self.folder is not None:
            typed = str(self.folder.value).strip()
            if not typed:
                raise InvalidImage("name the folder whose pictures are to be learned from.")
            return Path(typed).expanduser()
        if self._waiting:
            raise InvalidImage("the photos are still being read; wait a moment.")
        if len(self._photos) < LEAST_CUT:
            raise InvalidImage(
                f"add at least {LEAST_CUT} photos, better a few dozen{self._else()}; there are {len(self._photos)}."
            )
        return list(self._photos.values())

    def _else(self) -> str:
        """Return what can be learned from without adding anything, in words."""
        offered = [value for _, value in self.source.options]
        return f", or choose “{WORDS[SAMPLES]}”" if SAMPLES in offered else ""

    def close(self) -> None:
        """Read no more."""
        self._reader.close()

    def _chosen(self) -> None:
        self._show()
        self._changed()

    def _show(self) -> None:
        source = self.source.value
        self.uploads.layout.display = "" if source == UPLOADS else "none"
        if self.folder is not None:
            self.folder.layout.display = "" if source == FOLDER else "none"

    def _uploaded(self, change: Any) -> None:
        files = change["new"]
        if not files:
            return
        for file in files:
            name, content = str(file.get("name") or "upload"), file.get("content")
            waiting = sum(len(data) for _, data in self._waiting)
            if not isinstance(content, (bytes, bytearray, memoryview)):  # bytes(n) of a number would be n zeros
                self._refused.append(f"{name} could not be read.")
            elif len(self._photos) + len(self._waiting) >= MOST or waiting + len(content) > MOST_WAITING:
                self._refused.append(f"{name}: no more than {MOST} photos are kept, and {MOST_WAITING >> 20} MB wait.")
            else:
                self._waiting.append((name, bytes(content)))
        self.upload.value = ()  # the same files can be chosen again, and no bytes stay with the page
        self._reader.put(self._read)  # work that is replaced leaves what it has not read in the queue

    def _read(self) -> Iterator[None]:
        while self._waiting:
            name, content = self._waiting.popleft()
            try:
                self._take(read_picture(content, name))
            except XaiError as error:
                self._refused.append(str(error))
            self._tell()
            yield
        if self._refused:
            left, self._refused = self._refused, []
            more = f" So were {len(left) - 1} more files." if len(left) > 1 else ""
            self._failed(f"Left out: {left[0]}{more}")
        self._changed()

    def _take(self, photo: Picture) -> None:
        """Keep a photo, no larger than it takes to cut crops from it."""
        if max(photo.height, photo.width) > SIDE:
            share = SIDE / max(photo.height, photo.width)
            size = max(1, round(photo.width * share)), max(1, round(photo.height * share))
            small = Image.fromarray(photo.pixels).resize(size, Image.Resampling.LANCZOS, reducing_gap=2)
            photo = read_picture(small, photo.name)
        if sum(one.pixels.nbytes for one in self._photos.values()) + photo.pixels.nbytes > MOST_KEPT:
            raise InvalidImage(f"{photo.name}: the photos take {MOST_KEPT >> 20} MB, and more are not kept.")
        self._photos[photo.digest] = photo

    def _forget(self) -> None:
        self._waiting.clear()
        self._photos.clear()
        self._tell()
        self._changed()

    def _tell(self) -> None:
        count, waiting = len(self._photos), len(self._waiting)
        words = f"{count} photo{'s' * (count != 1)}" + (f", {waiting} to be read" if waiting else "")
        rule = f"JPEG, PNG, WebP · at most {AT_ONCE} MB at once. They stay in this session."
        self.told.value = f"<span class='xai-muted'><b>{escape(words)}</b> · {escape(rule)}</span>"
        self.drop.disabled = not count and not waiting
