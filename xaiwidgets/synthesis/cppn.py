"""A picture as a small network that gives a color for every place (Stanley 2007; Mordvintsev et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.synthesis.parameterizations import Parameterization, noise

if TYPE_CHECKING:
    from torch import Generator, Tensor

LAYERS, HIDDEN = 8, 24
#: Places run from minus to plus this, so that their variance is 1.
REACH = 3**0.5


class Network(Parameterization):
    """A compositional pattern-producing network: 8 layers of 24 units with ``[atan, atan²]`` from place to color.

    The last layer starts at 0, so the first picture is plain gray whatever the seed.
    """

    name = "cppn"
    pace = 0.1

    def __init__(self, shape: tuple[int, int, int, int], *, correlated: bool = True) -> None:
        super().__init__(shape, correlated=correlated)
        self.widths = [(HIDDEN, 2), *[(HIDDEN, 2 * HIDDEN)] * (LAYERS - 1), (shape[1], 2 * HIDDEN)]

    def values(self, random: Generator, spread: float) -> Tensor:
        """Return the weights and biases of all layers, ``(N, count)``; normal, of variance 1 / inputs."""
        import torch

        parts = []
        for given, taken in self.widths[:-1]:
            parts += [noise((self.shape[0], given * taken), random, taken**-0.5), torch.zeros(self.shape[0], given)]
        given, taken = self.widths[-1]
        return torch.cat([*parts, torch.zeros(self.shape[0], given * taken + given)], dim=1)

    def plain(self, values: Tensor) -> Tensor:
        """Return what the network gives for every place."""
        import torch

        rows, columns = (
            torch.linspace(-REACH, REACH, side, dtype=values.dtype, device=values.device) for side in self.shape[2:]
        )
        places = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).flatten(1)
        hidden, at = places.expand(self.shape[0], -1, -1), 0
        for layer, (given, taken) in enumerate(self.widths):
            if layer:
                bent = hidden.atan()
                # scaled to variance 1, as in Lucid
                hidden = torch.cat([bent / 0.67, bent.square() / 0.6], dim=1)
            weight = values[:, at : at + given * taken].reshape(-1, given, taken)
            at += given * taken
            hidden = torch.baddbmm(values[:, at : at + given, None], weight, hidden)
            at += given
        return hidden.reshape(self.shape)
