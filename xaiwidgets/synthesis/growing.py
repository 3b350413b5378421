"""Painting networks whose structure evolves, too: from none to many nodes, as in NEAT (Stanley and Miikkulainen 2002).

This module imports torch inside functions only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.synthesis.encodings import FUNCTIONS, INPUTS, SWITCHED, WEIGHTS, activate, places

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Generator, Tensor

#: Places for hidden nodes. They are in order: a node takes only from what stands before it, so nothing goes in circles.
ROOM = 24
#: How often an offspring gets or loses a connection or a node, or has a connection moved: as in the released code.
ADD_CONNECTION, DROP_CONNECTION, MOVE_CONNECTION, ADD_NODE, DROP_NODE = 0.5, 0.3, 0.5, 0.5, 0.2
#: The function of a place without a node.
EMPTY = -1.0
#: Uniform numbers that one offspring's structure can take: one a kind of change, and three for each.
DRAWS = 20


class Growing:
    """Genes are the weights of all connections that there can be, 0 where there is none, and functions of the nodes.

    It begins without hidden nodes: every color is one sum of column, row, distance and a constant. A new node stands
    in the middle of a connection: it takes what that took, by a weight of 1, and gives it on by the old weight.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.grid = places(shape)
        self.given, self.taken = ROOM + shape[0], INPUTS + ROOM
        self.weights = self.given * self.taken
        self._open = np.tri(self.given, self.taken, INPUTS - 1, dtype=bool)
        self._open[ROOM:] = True

    @property
    def genes(self) -> int:
        """How many numbers make a picture."""
        return self.weights + ROOM

    def draw(self, count: int, random: Generator) -> Tensor:
        """Return genes of networks from the inputs straight to the colors."""
        import torch

        table = torch.zeros(count, self.given, self.taken)
        table[:, ROOM:, :INPUTS] = WEIGHTS * torch.randn((count, self.shape[0], INPUTS), generator=random)
        return torch.cat([table.flatten(1), torch.full((count, ROOM), EMPTY)], dim=1)

    def mutate(self, genes: Tensor, random: Generator, rate: float, strength: float, generation: int) -> Tensor:
        """Return genes with noise on some weights, a few other functions, and now and then another structure."""
        import torch

        count = len(genes)
        table = genes[:, : self.weights].reshape(count, self.given, self.taken)
        codes = genes[:, self.weights :]
        chosen = (torch.rand(table.shape, generator=random) < rate) & (table != 0)
        table = table + strength * chosen * torch.randn(table.shape, generator=random)
        switched = (torch.rand(codes.shape, generator=random) < SWITCHED) & (codes != EMPTY)
        codes = torch.randint(0, len(FUNCTIONS), tuple(codes.shape), generator=random).float().where(switched, codes)
        drawn = torch.rand((count, DRAWS), generator=random).numpy()
        fresh = WEIGHTS * torch.randn(count, generator=random).numpy()
        own, functions = table.numpy().copy(), codes.numpy().copy()
        for number in range(count):
            self._restructure(own[number], functions[number], drawn[number], float(fresh[number]))
        return torch.cat([torch.from_numpy(own).flatten(1), torch.from_numpy(functions)], dim=1)

    def render(self, genes: Tensor) -> Tensor:
        """Return what the networks paint."""
        import torch

        pictures = torch.stack([self._painted(one) for one in genes])
        return (255 * pictures.sigmoid()).round().reshape(-1, *self.shape)

    def told(self, genes: Tensor) -> dict[str, float]:
        """Return how large the network of these genes is."""
        connections = int((genes[: self.weights] != 0).sum())
        return {"nodes": float((genes[self.weights :] != EMPTY).sum()), "connections": float(connections)}

    # -- structure ------------------------------------------------------------------------------------------------

    def _restructure(
        self, table: NDArray[np.float32], codes: NDArray[np.float32], drawn: NDArray[np.float32], fresh: float
    ) -> None:
        """Change one network's structure in place, by uniform numbers, and the weight of what is new."""
        kinds, picks = drawn[:5], drawn[5:].reshape(5, 3)
        if kinds[0] < ADD_CONNECTION:
            free = np.argwhere(self._possible(codes) & (table == 0))
            if len(free):
                table[tuple(_one(free, picks[0, 0]))] = fresh
        if kinds[1] < DROP_CONNECTION and len(there := np.argwhere(table)):
            left = table.copy()
            left[tuple(_one(there, picks[1, 0]))] = 0
            _keep_if_painted(table, left)
        if kinds[2] < MOVE_CONNECTION:
            self._move(table, codes, picks[2])
        if kinds[3] < ADD_NODE:
            self._add_node(table, codes, picks[3])
        if kinds[4] < DROP_NODE and len(nodes := np.flatnonzero(codes != EMPTY)):
            gone = int(_one(nodes, picks[4, 0]))
            left = table.copy()
            left[gone], left[:, INPUTS + gone] = 0, 0
            if _keep_if_painted(table, left):
                codes[gone] = EMPTY

    def _possible(self, codes: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which connections there can be between the nodes that there are, ``(given, taken)``."""
        nodes = codes != EMPTY
        gives = np.concatenate([nodes, np.ones(self.shape[0], bool)])
        takes = np.concatenate([np.ones(INPUTS, bool), nodes])
        found: NDArray[np.bool_] = self._open & gives[:, None] & takes
        return found

    def _move(self, table: NDArray[np.float32], codes: NDArray[np.float32], picks: NDArray[np.float32]) -> None:
        """Let a connection come from elsewhere."""
        there = np.argwhere(table)
        if not len(there):
            return
        to, source = _one(there, picks[0])
        free = np.flatnonzero(self._possible(codes)[to] & (table[to] == 0))
        if len(free):
            table[to, int(_one(free, picks[1]))], table[to, source] = table[to, source], 0

    def _add_node(self, table: NDArray[np.float32], codes: NDArray[np.float32], picks: NDArray[np.float32]) -> None:
        """Put a node into the middle of a connection, if there is a free place between its ends."""
        there = np.argwhere(table)
        if not len(there):
            return
        to, source = _one(there, picks[0])
        after, before = source - INPUTS + 1, min(int(to), ROOM)
        free = max(after, 0) + np.flatnonzero(codes[max(after, 0) : before] == EMPTY)
        if len(free):
            node = int(_one(free, picks[1]))
            codes[node] = int(picks[2] * len(FUNCTIONS))
            table[node, source], table[to, INPUTS + node], table[to, source] = 1.0, table[to, source], 0

    # -- painting -------------------------------------------------------------------------------------------------

    def _painted(self, genes: Tensor) -> Tensor:
        """Return the sums ``(C, places)`` of the colors of one network; nodes that lead to no color cost nothing."""
        import torch

        table = genes[: self.weights].reshape(self.given, self.taken)
        codes = genes[self.weights :]
        needed = table[ROOM:].ne(0).any(dim=0)
        for node in range(ROOM - 1, -1, -1):
            if needed[INPUTS + node]:
                needed |= table[node] != 0
        values = list(self.grid) + [self.grid[0]] * ROOM  # places that are not needed are not looked at
        for node in torch.nonzero(needed[INPUTS:]).flatten().tolist():
            total = self._sum(table[node], values)
            values[INPUTS + node] = activate(total[None, None], codes[node].long().reshape(1, 1, 1))[0, 0]
        return torch.stack([self._sum(row, values) for row in table[ROOM:]])

    def _sum(self, row: Tensor, values: list[Tensor]) -> Tensor:
        import torch

        sources = torch.nonzero(row).flatten().tolist()
        total = torch.zeros_like(self.grid[0])
        for source in sources:
            total += row[source] * values[source]
        return total


def _keep_if_painted(table: NDArray[np.float32], changed: NDArray[np.float32]) -> bool:
    """Take a change over unless nothing would lead to a color any more; return whether it was."""
    painted = bool(changed[ROOM:].any())
    if painted:
        table[:] = changed
    return painted


def _one(things: NDArray[np.int64], drawn: float) -> NDArray[np.int64]:
    """Return one of several things, by a uniform number below 1."""
    found: NDArray[np.int64] = things[min(int(drawn * len(things)), len(things) - 1)]
    return found
