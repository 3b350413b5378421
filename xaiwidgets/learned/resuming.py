"""Checkpoints of a training, so that one that was interrupted ends as if it had not been."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import InvalidKnob
from xaiwidgets.learned.features import signature

if TYPE_CHECKING:
    from pathlib import Path

    from xaiwidgets.learned.fitting import Fitting

#: Checkpoints that are kept in a folder; the one that was written longest ago goes first.
MOST = 16


def checkpoint_in(folder: Path, *what: object) -> Path:
    """Return the file in a folder for the training that these words tell from others, and drop the oldest of many."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(repr(what).encode()).hexdigest()[:24]}.pt"
    others = sorted(set(folder.glob("*.pt")) - {path}, key=lambda one: one.stat().st_mtime)
    for old in others[: max(0, len(others) + 1 - MOST)]:
        old.unlink(missing_ok=True)
    return path


def _what(fit: Fitting) -> dict[str, Any]:
    """Return what must be the same for a training to go on."""
    fixed = {name: value for name, value in fit.options.items() if name != "rate"}
    return {**fixed, "signature": signature(fit.model, fit.feature), "pictures": fit.pictures.digest}


def save(fit: Fitting, path: str) -> None:
    """Write all that it takes to go on from the end of this epoch."""
    import torch

    kept = {
        "what": _what(fit),
        "network": fit.network.state_dict(),
        "optimizer": fit.optimizer.state_dict(),
        "order": fit.order.get_state(),
        "losses": fit.losses,
        "errors": fit.errors,
        "rate": fit.rate,
        "seconds": fit.seconds,
    }
    if fit.rivalry is not None:
        kept["rivalry"] = fit.rivalry.state()
    unfinished = f"{path}.part"
    torch.save(kept, unfinished)
    os.replace(unfinished, path)  # noqa: PTH105 - an interruption leaves the old checkpoint whole


def resume(fit: Fitting, path: str) -> None:
    """Go on from a file as if nothing had happened.

    Raises:
        InvalidKnob: it cannot be read, or is of another training.
    """
    import pickle

    import torch

    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        what = kept["what"]
    except (OSError, RuntimeError, EOFError, LookupError, TypeError, pickle.UnpicklingError) as error:
        raise InvalidKnob(
            f"checkpoint must be a file that this training wrote, or none; {path!r} cannot be read: {error}"
        ) from error
    now = _what(fit)
    differs = [name for name in now if what.get(name) != now[name]]
    if differs:
        raise InvalidKnob(
            f"checkpoint must be of the same training; {path!r} differs in {', '.join(differs)}. Name "
            "another file to start anew."
        )
    with torch.inference_mode(False):
        fit.network.load_state_dict(kept["network"])
        fit.optimizer.load_state_dict(kept["optimizer"])
        if fit.rivalry is not None:
            fit.rivalry.load(kept["rivalry"])
    fit.order.set_state(kept["order"])
    fit.losses, fit.errors = list(kept["losses"]), list(kept["errors"])
    fit.rate, fit.seconds = float(kept["rate"]), float(kept["seconds"])
