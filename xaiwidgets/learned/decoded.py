"""What runs share that make pictures through a trained decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from xaiwidgets.errors import InvalidKnob
from xaiwidgets.learned.decoders import shown
from xaiwidgets.learned.store import find
from xaiwidgets.synthesis.run import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.learned.decoders import Decoder
    from xaiwidgets.synthesis.run import Saved


class Decoded(Run):
    """A run in progress; see ``Run``.

    Attributes:
        decoder: the trained network. ``weights``: what tells it from others, since a name can be given anew.
        made: pixels ``(1, C, H, W)`` of the picture.
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ("made",)
    VALUES: ClassVar[tuple[str, ...]] = ("weights",)
    #: Whether the decoder must be a generator, and the hyper-parameter that names it.
    GENERATOR, KNOB = False, "decoder"

    decoder: Decoder
    weights = ""
    made: Tensor

    def find(self) -> None:
        """Find the trained network."""
        method: Any = self.method
        named = getattr(method, self.KNOB)
        self.decoder = find(self.model, named, generator=self.GENERATOR, method=type(method).card.id)

    def begin(self) -> None:
        """Find the trained network."""
        self.find()
        self.weights = self.decoder.digest()

    def restore(self, saved: Saved) -> None:
        """Go on as it was, with the same trained network."""
        super().restore(saved)
        self.find()
        if self.decoder.digest() != self.weights:
            raise InvalidKnob(
                f"{self.KNOB} must name the network that the run began with; another one is kept under this name by "
                "now. Start a new run."
            )

    def pixels(self) -> NDArray[np.float32]:
        """Return the picture."""
        return shown(self.made)
