"""Everything that can go wrong and is the user's to mend.

XaiError
├── UnknownMethod        no method or metric has this id
├── NotApplicable        the method needs something this model lacks
│   └── NotTrained       a network that it goes through, which can be trained
├── InvalidImage         what was given cannot be read as a picture
├── InvalidTarget        no such class, unit or layer position
├── InvalidLayer         no such layer, or one that gives no spatial map
├── InvalidKnob          a hyper-parameter is outside its domain
├── InvalidRecord        what was given is no record of a run
├── InvalidModel         the module does not map images to class scores
├── SurgeryError         a ruled forward pass differs from the plain one
└── WeightsUnavailable   weights could not be read or downloaded

A message says what was expected, what came, and what to do.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class XaiError(Exception):
    """Root of the errors that xaiwidgets raises on purpose."""


class UnknownMethod(XaiError, LookupError):  # noqa: N818
    """No method or metric has this id."""


class NotApplicable(XaiError):  # noqa: N818
    """A method needs what this model, layer or target lacks.

    Attributes:
        method: id of the method.
        needs: what it needs, in words.
        found: what the model offers instead.
        alternatives: ids of methods that would work.
    """

    def __init__(self, method: str, needs: str, found: str, alternatives: Sequence[str] = ()) -> None:
        self.method, self.needs, self.found, self.alternatives = method, needs, found, tuple(alternatives)
        works = f" These would work: {', '.join(alternatives)}." if alternatives else ""
        super().__init__(f"{method} needs {needs}; {found}.{works}")


class NotTrained(NotApplicable):
    """A method goes through a network that has to be trained first, and none was so far."""


class InvalidImage(XaiError, ValueError):  # noqa: N818
    """What was given cannot be read as a picture."""


class InvalidTarget(XaiError, ValueError):  # noqa: N818
    """No such class, unit or layer position."""


class InvalidLayer(XaiError, ValueError):  # noqa: N818
    """No such layer, or one that gives no spatial map."""


class InvalidKnob(XaiError, ValueError):  # noqa: N818
    """A hyper-parameter is outside its domain."""


class InvalidRecord(XaiError, ValueError):  # noqa: N818
    """What was given is no record of a run that can be made again."""


class InvalidModel(XaiError, TypeError):  # noqa: N818
    """The module does not map a batch of images to a batch of class scores."""


class SurgeryError(XaiError, RuntimeError):
    """A forward pass with backward rules differs from the plain one."""


class WeightsUnavailable(XaiError, OSError):  # noqa: N818
    """Weights could not be read or downloaded."""


def did_you_mean(name: str, known: Iterable[str], limit: int = 5) -> str:
    """Return `` Did you mean a, b?`` for the closest known names, or an empty string."""
    close = get_close_matches(str(name), list(known), n=limit, cutoff=0.4)
    return f" Did you mean {', '.join(close)}?" if close else ""
