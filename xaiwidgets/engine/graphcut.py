"""From a saliency map to one object: seeds, color mixtures, a minimum cut, its largest part (Boykov and Jolly 2001)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    #: (top, left, bottom, right) in pixels, bottom and right not included.
    Box = tuple[int, int, int, int]

#: What a seed says about its pixel.
FOREGROUND, UNKNOWN, BACKGROUND = 1, 0, -1
#: A component of a mixture is fitted to at least this many pixels, and is at least this wide (variance, pixels in [0,
#: 1]): two or three gray levels of 256.
PIXELS_EACH, NARROWEST = 10, 1e-4
#: Differences in a map below this share of its largest value are none.
ROUNDING = 1e-6
#: The largest capacity in the whole numbers of the flow: sums of two of them stay within 32 bits.
LARGEST = 2**28


@dataclass(frozen=True, eq=False)
class Pairs:
    """Neighboring pixels and what it costs to part them.

    Attributes:
        first: flat indices ``(n,)``, each pair once; ``second``: those of the neighbors.
        weight: costs ``(n,)`` in nats.
        around: an upper bound on the cost of parting one pixel from all its neighbors.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    weight: NDArray[np.float64]
    around: float


def seeds_of(map: NDArray[Any], foreground: float = 0.95, background: float = 0.30) -> NDArray[np.int8]:
    """Return ``FOREGROUND``, ``BACKGROUND`` or ``UNKNOWN`` for each value of a map ``(h, w)``, int8.

    Foreground are the values from the ``foreground`` quantile on, background those up to the ``background`` quantile.
    Values equal to the latter are never foreground, so a map that is constant up to rounding is all background.
    """
    if np.ptp(map) <= ROUNDING * np.abs(map).max():
        return np.full(map.shape, BACKGROUND, dtype=np.int8)
    high, low = np.quantile(map, (foreground, background))
    seeds = np.full(map.shape, UNKNOWN, dtype=np.int8)
    seeds[map >= high] = FOREGROUND
    seeds[map <= low] = BACKGROUND
    return seeds


def as_seeds(labels: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Return every pixel as a seed of its label, for mixtures fitted to a finished cut."""
    return np.where(labels, FOREGROUND, BACKGROUND).astype(np.int8)


def color_costs(
    pixels: NDArray[Any], seeds: NDArray[np.int8], components: int = 5, seed: int = 0
) -> NDArray[np.float64]:
    """Return −log P(color | background) and −log P(color | foreground) of each pixel in nats, ``(2, h, w)``.

    Two Gaussian mixtures with full covariances are fitted to the seeds' colors (pixels ``(h, w, C)`` in [0, 1]), with
    fewer components where there are few pixels or few colors.

    Raises:
        ValueError: there is no seed of one kind.
    """
    colors = np.asarray(pixels, dtype=np.float64).reshape(-1, pixels.shape[-1])
    flat = seeds.ravel()
    costs = [-_mixture(colors[flat == kind], components, seed).score_samples(colors) for kind in (-1, 1)]
    return np.stack(costs).reshape(2, *seeds.shape)


def _mixture(colors: NDArray[np.float64], components: int, seed: int) -> Any:
    from sklearn.mixture import GaussianMixture

    if not len(colors):
        raise ValueError("a mixture needs at least one pixel of its kind; there are no such seeds.")
    count = min(components, max(1, len(colors) // PIXELS_EACH), len(np.unique(colors, axis=0)))
    colors = colors if len(colors) > 1 else np.repeat(colors, 2, axis=0)
    return GaussianMixture(count, reg_covar=NARROWEST, max_iter=500, random_state=seed).fit(colors)


def pairs_of(pixels: NDArray[Any], smoothness: float = 50.0) -> Pairs:
    """Return all pairs of 8-neighbors of an image ``(h, w, C)``: cost λ·exp(−‖Δ‖² / 2β) / distance, β = mean ‖Δ‖²."""
    height, width, channels = pixels.shape
    colors = np.asarray(pixels, dtype=np.float64).reshape(-1, channels)
    numbers = np.arange(height * width).reshape(height, width)
    sides = [(numbers[:, :-1], numbers[:, 1:], 1.0), (numbers[:-1], numbers[1:], 1.0)]
    corners = [(numbers[:-1, :-1], numbers[1:, 1:], 2**0.5), (numbers[:-1, 1:], numbers[1:, :-1], 2**0.5)]
    first = np.concatenate([a.ravel() for a, _, _ in sides + corners])
    second = np.concatenate([b.ravel() for _, b, _ in sides + corners])
    distance = np.concatenate([np.full(a.size, d) for a, _, d in sides + corners])
    change = ((colors[first] - colors[second]) ** 2).sum(axis=1)
    mean = change.mean() if change.size else 0.0
    weight = smoothness * np.exp(-change / (2 * mean) if mean > 0 else np.zeros_like(change)) / distance
    return Pairs(first, second, weight, smoothness * (4 + 4 / 2**0.5))


def energy(labels: NDArray[np.bool_], costs: NDArray[np.float64], pairs: Pairs) -> float:
    """Return what a labeling ``(h, w)`` costs in nats: its colors, and the neighbors that it parts."""
    flat = labels.ravel()
    return float(
        np.where(labels, costs[1], costs[0]).sum() + pairs.weight[flat[pairs.first] != flat[pairs.second]].sum()
    )


def decide(costs: NDArray[np.float64], seeds: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Return the labels ``(h, w)`` that each pixel's own color speaks for; seeds keep theirs."""
    labels: NDArray[np.bool_] = np.where(seeds == UNKNOWN, costs[1] < costs[0], seeds == FOREGROUND)
    return labels


def cut(costs: NDArray[np.float64], seeds: NDArray[np.int8], pairs: Pairs) -> NDArray[np.bool_]:
    """Return the labels ``(h, w)`` of least energy among those that keep the seeds; in a tie, the least foreground.

    Exact up to rounding to whole capacities, some 1e-8 of the largest.
    """
    # what outweighs all neighbors together decides its pixel, however much larger it is
    bound = pairs.around + 1.0
    speaks = np.clip(costs[0] - costs[1], -bound, bound).ravel()
    speaks[seeds.ravel() == FOREGROUND] = bound
    speaks[seeds.ravel() == BACKGROUND] = -bound
    whole = np.rint(speaks * (LARGEST / bound)).astype(np.int32)
    weight = np.rint(pairs.weight * (LARGEST / bound)).astype(np.int32)
    return source_side(whole, pairs.first, pairs.second, weight)[0].reshape(seeds.shape)


def source_side(
    terminal: NDArray[np.int32], first: NDArray[np.intp], second: NDArray[np.intp], weight: NDArray[np.int32]
) -> tuple[NDArray[np.bool_], int]:
    """Return the source's side ``(n,)`` of a minimum cut, the smallest there is, and the maximum flow.

    Args:
        terminal: capacity ``(n,)`` from the source where positive, to the sink where negative.
        first: nodes ``(m,)`` at one end of the undirected edges.
        second: those at the other end.
        weight: capacities of the edges.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    count = len(terminal)
    source, sink = count, count + 1
    gives, takes = np.flatnonzero(terminal > 0), np.flatnonzero(terminal < 0)
    rows = np.concatenate([first, second, np.full(len(gives), source), takes])
    columns = np.concatenate([second, first, gives, np.full(len(takes), sink)])
    capacity = np.concatenate([weight, weight, terminal[gives], -terminal[takes]])
    graph = coo_array((capacity, (rows, columns)), shape=(count + 2, count + 2)).tocsr()
    found = maximum_flow(graph, source, sink)
    rest = graph - found.flow
    rest.eliminate_zeros()
    side = np.zeros(count + 2, dtype=bool)
    side[breadth_first_order(rest, source, return_predecessors=False)] = True
    return side[:count], int(found.flow_value)


def largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest 8-connected part of a mask ``(h, w)``, the upper one of two; an empty mask stays empty."""
    from scipy.ndimage import label

    parts, count = label(mask, structure=np.ones((3, 3)))
    if not count:
        return np.zeros_like(mask, dtype=bool)
    return parts == 1 + np.bincount(parts.ravel())[1:].argmax()  # type: ignore[no-any-return]


def box_of(mask: NDArray[np.bool_]) -> Box | None:
    """Return the tight bounding box of a mask ``(h, w)``, or ``None`` when it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def shrunk(values: NDArray[Any], longest: int) -> NDArray[np.float32]:
    """Return ``(h, w)`` or ``(h, w, C)`` with its longer side at most ``longest``, float32: means over areas."""
    from PIL import Image

    values = np.asarray(values, dtype=np.float32)
    height, width = values.shape[:2]
    if max(height, width) <= longest:
        return values
    share = longest / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    planes = values.reshape(height, width, -1)
    pictures = [Image.fromarray(planes[..., c]).resize(size, Image.Resampling.BOX) for c in range(planes.shape[2])]
    small = [np.asarray(picture) for picture in pictures]
    return np.stack(small, axis=-1).reshape(size[1], size[0], *values.shape[2:])


def enlarged(labels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return labels ``(h, w)`` at a larger size (H, W), each pixel with the label of the cell it lies in."""
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for old, new in zip(labels.shape, size, strict=True))
    found: NDArray[Any] = labels[rows][:, columns]
    return found
