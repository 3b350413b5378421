"""Different strategies of one network: its maps in groups, and the place where a group looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidImage
from xaiwidgets.evaluation.boxes import box_of, foreground
from xaiwidgets.evaluation.uses.common import explained, last_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from xaiwidgets.data.scenes import Scene
    from xaiwidgets.evaluation.boxes import Box
    from xaiwidgets.model.model import Model

#: Side to which maps are averaged, neighbors of a map in the graph, and groups, at most.
SIDE, NEIGHBORS, MOST = 12, 10, 8
#: Share of a group's evidence that says how concentrated it is, and of the largest recurrence that a box is around.
HALF = 0.5


@dataclass(frozen=True, eq=False)
class Strategies:
    """Groups of scenes whose maps are alike.

    Attributes:
        groups: int ``(N,)``, the group of each scene; the one whose evidence is most concentrated is 0.
        maps: ``(G, H, W)``, the mean map of each group, each of unit mass.
        sizes: scenes in each group. ``spread``: share of the picture that holds half of the group's evidence.
        eigenvalues: the smallest of the normalized graph Laplacian; groups are as many as come before the largest gap.
        recurrence: ``(s, s)`` cells, the median over all scenes of a cell's share of the evidence, times the number of
            cells: 1 is as much as evidence spread evenly.
    """

    groups: NDArray[np.int64]
    maps: NDArray[np.float64]
    sizes: tuple[int, ...]
    spread: tuple[float, ...]
    eigenvalues: NDArray[np.float64]
    recurrence: NDArray[np.float64]

    @property
    def suspect(self) -> Box | None:
        """The box around the place that most scenes share: an artifact stays where it is, and objects move.

        Cells whose recurrence is at least half of the largest one; ``None`` if most scenes share none.
        """
        if not self.recurrence.max() > 0:
            return None
        box = box_of(foreground(self.recurrence, "value", HALF), largest=True)
        if box is None:
            return None
        down, across = (n / m for n, m in zip(self.maps.shape[1:], self.recurrence.shape, strict=True))
        top, left, bottom, right = box
        return round(top * down), round(left * across), round(bottom * down), round(right * across)


def strategies(model: Model, scenes: Sequence[Scene], method: Any = "lrp", **options: Any) -> Strategies:
    """Return groups of scenes whose maps are alike; see ``strategies_steps``."""
    return last_of(strategies_steps(model, scenes, method, **options))  # type: ignore[no-any-return]


def strategies_steps(
    model: Model, scenes: Sequence[Scene], method: Any = "lrp", *, groups: int | None = None, seed: int = 0
) -> Iterator[Strategies | None]:
    """Yield ``None`` while maps are computed, then their groups by spectral clustering (Lapuschkin et al. 2019).

    Maps are averaged to 12 × 12, made of unit mass, and joined to their nearest neighbors in a graph.

    Args:
        model: under study.
        scenes: of one class, at least six.
        method: as for ``evaluate``.
        groups: how many; by default as many as the largest gap between eigenvalues says, at most 8.
        seed: of the clustering.

    Raises:
        InvalidImage: there are fewer than six scenes.
    """
    if len(scenes) < 6:
        raise InvalidImage(f"scenes must be at least 6, for groups to be found; got {len(scenes)}.")
    maps = []
    for scene in scenes:
        found = yield from explained(model, scene, method)
        maps.append(found / found.sum() if found.any() else found)
        yield None
    yield grouped(np.array(maps, np.float64), groups, seed)


def grouped(maps: NDArray[np.float64], groups: int | None = None, seed: int = 0) -> Strategies:
    """Return the groups of maps ``(N, H, W)`` that are nowhere negative; see ``strategies_steps``."""
    from sklearn.cluster import KMeans
    from sklearn.neighbors import kneighbors_graph

    cells = _small(maps)
    small = cells.reshape(len(maps), -1)
    near = kneighbors_graph(small, min(NEIGHBORS, len(maps) - 1), include_self=True).toarray()
    graph = np.maximum(near, near.T)
    degrees = graph.sum(axis=1)
    laplacian = np.eye(len(maps)) - graph / np.sqrt(np.outer(degrees, degrees))
    values, vectors = np.linalg.eigh(laplacian)
    count = groups or 1 + int(np.argmax(np.diff(values[: min(MOST, len(maps) - 1) + 1])))
    features = vectors[:, :count] / np.sqrt(degrees)[:, None]
    labels = KMeans(count, n_init=10, random_state=seed).fit_predict(features)
    present = np.unique(labels)
    means = np.array([maps[labels == k].mean(axis=0) for k in present])
    spread = np.array([foreground(one, "energy", HALF).mean() for one in _small(means)])
    order = np.argsort(spread, kind="stable")
    new = np.zeros(labels.max() + 1, dtype=np.int64)
    new[present[order]] = np.arange(len(order))
    sizes = tuple(int((labels == present[k]).sum()) for k in order)
    return Strategies(new[labels], means[order], sizes, tuple(map(float, spread[order])), values[: MOST + 1],
        np.median(cells, axis=0) * small.shape[1])  # fmt: skip


def _small(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return maps ``(N, H, W)`` summed in at most 12 × 12 cells."""
    height, width = maps.shape[1:]
    side = min(SIDE, height, width)
    rows, columns = (np.arange(side) * n // side for n in (height, width))
    found: NDArray[np.float64] = np.add.reduceat(np.add.reduceat(maps, rows, axis=1), columns, axis=2)
    return found
