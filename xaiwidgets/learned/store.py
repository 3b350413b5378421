"""Networks that were trained in this process, by name: what a method's hyper-parameter can hold."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import InvalidKnob, NotTrained, did_you_mean

if TYPE_CHECKING:
    from xaiwidgets.learned.decoders import Decoder
    from xaiwidgets.model.model import Model

_KEPT: dict[str, Any] = {}
_LOCK = threading.Lock()


def keep(name: str, network: Any) -> str:
    """Keep a trained ``Decoder`` or a ``Model`` under a name, the newest last, and return the name.

    Raises:
        InvalidKnob: the name is empty or longer than 300 letters.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= 300:
        raise InvalidKnob(f"name must have 1 to 300 letters; got {name!r}.")
    with _LOCK:
        _KEPT.pop(name, None)
        _KEPT[name] = network
    return name


def names(kind: type | None = None) -> tuple[str, ...]:
    """Return the names of what is kept (of one type), the newest last."""
    with _LOCK:
        return tuple(name for name, one in _KEPT.items() if kind is None or isinstance(one, kind))


def offered(kind: str) -> tuple[str, ...]:
    """Return the names of what is kept of a kind (see ``core.knobs.NetworkName``), the newest first."""
    with _LOCK:
        return tuple(name for name, one in reversed(_KEPT.items()) if getattr(one, "kind", "model") == kind)


def get(name: str) -> Any:
    """Return what is kept under a name.

    Raises:
        InvalidKnob: nothing is.
    """
    with _LOCK:
        if name in _KEPT:
            return _KEPT[name]
        known = tuple(_KEPT)
    has = f"one of {', '.join(known)}" if known else "that of a trained network, and none was kept so far"
    raise InvalidKnob(f"the name must be {has}; got {name!r}.{did_you_mean(name, known)}")


def find(model: Model, name: str, *, generator: bool, method: str) -> Decoder:
    """Return the decoder of this name, or with '' the newest that was trained for this network.

    Raises:
        InvalidKnob: there is none of this name, or it is of another kind or another network.
        NotTrained: none was trained for this network; the message says how to do it.
    """
    from xaiwidgets.learned.decoders import Decoder

    how = "train_generator" if generator else "train_decoder"
    if name:
        found = get(name)
        if not isinstance(found, Decoder) or (generator and not found.is_generator):
            raise InvalidKnob(f"{name!r} must be what xaiwidgets.{how}(model) gives; it is another network.")
        found.check(model)
        return found
    for known in reversed(names(Decoder)):
        kept = get(known)
        if kept.is_generator == generator and kept.fits(model):
            return kept  # type: ignore[no-any-return]
    raise NotTrained(
        method,
        "a network that was trained for this one",
        f"none was so far: xaiwidgets.{how}(model, pictures) trains one, in seconds to minutes, and keeps it",
    )
