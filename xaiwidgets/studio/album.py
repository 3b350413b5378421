"""The pictures of one session: the samples, and what was uploaded."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import InvalidImage
from xaiwidgets.model.pictures import read_picture
from xaiwidgets.model.samples import samples

if TYPE_CHECKING:
    from xaiwidgets.model.pictures import Picture

#: Uploads kept in memory; the oldest goes first.
MOST_UPLOADS = 8


class Album:
    """Pictures by key: a sample's name, or ``upload:DIGEST``. A browser can name no path."""

    def __init__(self) -> None:
        self._samples = {sample.name: sample for sample in samples()}
        self._read: dict[str, Picture] = {}
        self._uploads: OrderedDict[str, Picture] = OrderedDict()

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys, samples first."""
        return (*self._samples, *self._uploads)

    def add(self, source: Any, name: str | None = None) -> str:
        """Take a picture in and return its key; a sample's name is its own key.

        Raises:
            InvalidImage: it cannot be read.
        """
        if isinstance(source, str) and source in self._samples:
            return source
        picture = read_picture(source, name)
        key = f"upload:{picture.digest}"
        self._uploads[key] = picture
        self._uploads.move_to_end(key)
        while len(self._uploads) > MOST_UPLOADS:
            self._uploads.popitem(last=False)
        return key

    def get(self, key: str) -> Picture:
        """Return the picture with this key.

        Raises:
            InvalidImage: there is none.
        """
        if key in self._uploads:
            return self._uploads[key]
        if key not in self._samples:
            raise InvalidImage(f"image must be one of {', '.join(self.keys)}; got {key!r}.")
        if key not in self._read:
            self._read[key] = read_picture(key)
        return self._read[key]

    def title(self, key: str) -> str:
        """Return the name for people."""
        if key in self._samples:
            return self._samples[key].title
        return self._uploads[key].name if key in self._uploads else key

    def credit(self, key: str) -> str:
        """Return who made a sample and under which license; empty for uploads."""
        if key not in self._samples:
            return ""
        sample = self._samples[key]
        return f"{sample.title}: {sample.credit}, {sample.license}"
