"""Choosing a photo: the samples as thumbnails, and an upload."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w
from PIL import Image

from xaiwidgets.errors import InvalidImage, XaiError
from xaiwidgets.model.pictures import MAX_BYTES
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.theme import label, mark

if TYPE_CHECKING:
    from collections.abc import Callable

    from xaiwidgets.studio.album import Album

THUMB = 112


class Gallery:
    """Thumbnails of the album and an upload button.

    Args:
        album: the pictures.
        chosen: called with a picture's key.
        failed: called with the message when an upload cannot be read.
    """

    def __init__(self, album: Album, chosen: Callable[[str], None], failed: Callable[[str], None]) -> None:
        self._album, self._chosen, self._failed = album, chosen, failed
        self._buttons: dict[str, w.Button] = {}
        self._styles = w.HTML()
        self._styles.layout.display = "none"
        self._grid = w.Box()
        self._grid.add_class("xai-thumbs")
        self._credit = w.HTML()
        self._upload = w.FileUpload(accept=".jpg,.jpeg,.png,.webp", multiple=False, description="Upload a photo")
        self._upload.tooltip = "JPEG, PNG or WebP"
        for name in ("xai-plain", "xai-upload"):
            self._upload.add_class(name)
        self._upload.observe(self._uploaded, "value")
        limit = w.HTML(f"<span class='xai-muted'>JPEG, PNG, WebP · at most {MAX_BYTES // 2**20} MB</span>")
        tools = w.HBox([self._upload, limit])
        tools.add_class("xai-tools")
        self._css: dict[str, str] = {}
        for key in album.keys:
            self._add(key)
        self.box = w.VBox([label("Photo"), self._styles, self._grid, self._credit, tools])

    def show(self, key: str) -> None:
        """Mark the chosen picture and say where it comes from."""
        if key not in self._buttons and key in self._album.keys:
            self._add(key)
        for name, button in self._buttons.items():
            mark(button, name == key)
        credit = self._album.credit(key) or self._album.title(key)
        notes = " ".join(self._album.get(key).notes)
        self._credit.value = (
            f"<div class='xai-muted' style='font-size:11px;min-height:32px'>{escape(credit)} {escape(notes)}</div>"
        )

    def _add(self, key: str) -> None:
        if key in self._buttons:
            return
        button = w.Button(description=self._album.title(key), tooltip=self._album.title(key))
        button.add_class("xai-thumb")
        name = _class_of(key)
        button.add_class(name)
        button.on_click(lambda _: self._chosen(key))
        self._buttons[key] = button
        self._css[name] = _thumbnail(self._album.get(key).pixels)
        for old in [k for k in self._buttons if k not in self._album.keys]:
            self._css.pop(_class_of(old))
            close_tree(self._buttons.pop(old))
        self._styles.value = (
            "<style>"
            + "".join(f".xai-root .{n}{{background-image:url({data})}}" for n, data in self._css.items())
            + "</style>"
        )
        self._grid.children = tuple(self._buttons.values())

    def _uploaded(self, change: Any) -> None:
        files = change["new"]
        if not files:
            return
        try:
            content = files[0]["content"]
            if not isinstance(content, (bytes, bytearray, memoryview)):  # bytes(n) of a number would be n zeros
                raise InvalidImage("the upload could not be read; choose one JPEG, PNG or WebP file.")
            key = self._album.add(bytes(content), name=str(files[0].get("name") or "upload"))
        except XaiError as error:
            self._failed(str(error))
        else:
            self._add(key)
            self._chosen(key)
        finally:
            # the bytes are not needed any more, and the same file can be chosen again
            self._upload.value = ()


def _class_of(key: str) -> str:
    return f"xai-t-{key.replace(':', '-')}"


def _thumbnail(pixels: Any) -> str:
    picture = Image.fromarray(pixels)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    picture = picture.crop((left, top, left + side, top + side)).resize(
        (THUMB, THUMB), Image.Resampling.BILINEAR, reducing_gap=2
    )
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
