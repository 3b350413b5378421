"""Hyper-parameters as words of a command line, read as their domains say."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import InvalidKnob

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xaiwidgets.core.cards import Card
    from xaiwidgets.core.knobs import Domain
    from xaiwidgets.core.metric_cards import MetricCard

WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def parse_knobs(of: Card | MetricCard, pairs: Sequence[str], layer: str | None = None) -> dict[str, Any]:
    """Return the hyper-parameters of ``name=value`` words, each read as its domain says.

    For a set of reference pictures, the value may also be a folder of them.

    Raises ``InvalidKnob`` for a word without ``=`` or a value outside the domain; an unknown name is left to the card.
    """
    domains = {k.name: k.domain for k in of.knobs}
    values: dict[str, Any] = {} if layer is None else {"layer": layer}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InvalidKnob(f"-k must be name=value, such as {_example(of)}; got {pair!r}.")
        values[name] = _read(name, text, domains[name]) if name in domains else text
    return values


def _read(name: str, text: str, domain: Domain) -> Any:
    from xaiwidgets.core.knobs import Flag, Range, ReferenceName

    value: Any = text
    if isinstance(domain, Range):
        with contextlib.suppress(ValueError):  # what is no number is refused below, with the bounds
            value = int(text) if text.lstrip("+-").isdecimal() else float(text)
    elif isinstance(domain, Flag):
        value = WORDS.get(text.lower(), text)
    elif isinstance(domain, ReferenceName):
        value = _reference_folder(text)
    return domain.check(name, value)


def _reference_folder(text: str) -> str:
    """Return the name of a set of reference pictures; a folder that no set is named like becomes one."""
    from xaiwidgets.model.references import reference_set, reference_sets

    folder = Path(text)
    known = {one.name for one in reference_sets()}
    if text in known or not folder.is_dir():
        return text
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", f"folder {folder.resolve().name}")[:60]
    return reference_set(name, folder).name


def _example(of: Card | MetricCard) -> str:
    return f"{of.knobs[0].name}={of.knobs[0].default}" if of.knobs else "samples=100 (this method has no knobs)"
