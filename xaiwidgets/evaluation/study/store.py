"""A study in a file: what is asked stays the same when the page, or the machine, starts anew."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidImage, InvalidKnob
from xaiwidgets.evaluation.study.plan import Study, StudyItem

if TYPE_CHECKING:
    from os import PathLike

#: Fields of an item that are no arrays.
PLAIN = ("options", "signed", "group", "picture", "check")


def save_study(study: Study, path: str | PathLike[str]) -> None:
    """Write a study as ``.npz``: arrays, and the rest as JSON. Nothing in it is code."""
    arrays: dict[str, Any] = {}
    for number, item in enumerate(study.items):
        arrays[f"photo-{number}"] = item.photo
        for name in ("maps", "masks"):
            for index, array in enumerate(getattr(item, name)):
                arrays[f"{name}-{number}-{index}"] = array
    told = {
        "mode": study.mode,
        "seed": study.seed,
        "facts": dict(study.facts),
        "items": [{name: getattr(item, name) for name in PLAIN} for item in study.items],
        "counts": [[len(item.maps), len(item.masks)] for item in study.items],
    }
    buffer, target = io.BytesIO(), Path(path)
    np.savez_compressed(buffer, told=np.frombuffer(json.dumps(told).encode(), np.uint8), **arrays)
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_suffix(".part")
    half.write_bytes(buffer.getvalue())
    half.replace(target)  # a study that was cut off in the middle is none


def load_study(path: str | PathLike[str]) -> Study:
    """Return a study that ``save_study`` has written.

    Raises:
        InvalidKnob: it is not one.
    """
    try:
        with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as found:
            told = json.loads(found["told"].tobytes())
            items = [
                StudyItem(
                    photo=found[f"photo-{number}"],
                    maps=tuple(found[f"maps-{number}-{index}"] for index in range(counts[0])),
                    masks=tuple(found[f"masks-{number}-{index}"] for index in range(counts[1])),
                    **{**plain, "options": tuple(plain["options"])},
                )
                for number, (plain, counts) in enumerate(zip(told["items"], told["counts"], strict=True))
            ]
            return Study(told["mode"], tuple(items), told["seed"], told["facts"])
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, InvalidImage) as error:
        raise InvalidKnob(f"path must be a study that save_study has written; {path} is none: {error}") from error
