"""Linear surrogates of a score over segments that are shown or hidden, fitted from sums that grow batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

#: Ridge under which LIME's authors rank segments before they choose some, and up to how many are chosen one by one.
RANKING, ONE_BY_ONE = 0.01, 6
#: Directions of a fit that carry less than this share of the largest are not determined by the samples.
UNDETERMINED = 1e-10
#: Draws for each coalition that is wanted, until the rest is listed instead.
MOST_DRAWS = 50


class Sums:
    """Weighted sums of samples ``z`` (n, M) with results ``y`` (n,), from which any ridge fit follows.

    ``y`` is counted from the first one, so that equal results give coefficients of exactly 0.
    """

    def __init__(self, players: int) -> None:
        self.count, self.weight, self.y, self.yy = 0, 0.0, 0.0, 0.0
        self.first = 0.0
        self.z, self.zy, self.zs = np.zeros(players), np.zeros(players), np.zeros(players)
        self.zz, self.squared = np.zeros((players, players)), np.zeros((players, players))
        self.square = 0.0

    def add(self, z: Array, y: Array, weights: Array) -> None:
        """Add samples."""
        if not self.count:
            self.first = float(y[0])
        y = y - self.first
        self.count += len(y)
        self.weight += float(weights.sum())
        self.y += float(weights @ y)
        self.yy += float(weights @ (y * y))
        self.z += weights @ z
        self.zy += (weights * y) @ z
        self.zz += z.T @ (z * weights[:, None])
        self.square += float(weights @ weights)
        self.zs += (weights**2) @ z
        self.squared += z.T @ (z * (weights**2)[:, None])


@dataclass(frozen=True)
class Fit:
    """A weighted ridge fit with an intercept that is not shrunk.

    Attributes:
        coefficients: ``(M,)``. ``intercept``: what is left with everything hidden.
        errors: standard errors of the coefficients, ``(M,)``.
        fidelity: weighted R², the share of the results' variance that the fit explains; NaN if there is none.
    """

    coefficients: Array
    intercept: float
    errors: Array
    fidelity: float


def ridge(sums: Sums, alpha: float, chosen: NDArray[np.intp] | None = None) -> Fit:
    """Fit the chosen segments (all by default); the others get 0."""
    chosen = np.arange(len(sums.z)) if chosen is None else chosen
    mean, level = sums.z[chosen] / sums.weight, sums.y / sums.weight
    inner = sums.zz[np.ix_(chosen, chosen)] - sums.weight * np.outer(mean, mean)
    mixed = sums.zy[chosen] - sums.weight * mean * level
    total = max(sums.yy - sums.weight * level**2, 0.0)
    inverse = np.linalg.pinv(inner + alpha * np.eye(len(chosen)), rcond=UNDETERMINED, hermitian=True)
    found = inverse @ mixed
    left = max(total - 2 * found @ mixed + found @ inner @ found, 0.0)
    # residuals of one variance, each seen with its own weight
    degrees = max(1 - (len(chosen) + 1) / sums.count, 1 / sums.count)
    moved = sums.squared[np.ix_(chosen, chosen)] + sums.square * np.outer(mean, mean)
    moved -= np.outer(sums.zs[chosen], mean) + np.outer(mean, sums.zs[chosen])
    spread = left / (sums.weight * degrees) * np.einsum("ij,jk,ki->i", inverse, moved, inverse)
    coefficients, errors = np.zeros(len(sums.z)), np.zeros(len(sums.z))
    coefficients[chosen], errors[chosen] = found, np.sqrt(np.maximum(spread, 0.0))
    intercept = level - float(mean @ found) + sums.first
    return Fit(coefficients, intercept, errors, 1 - left / total if total > 0 else float("nan"))


def choose(sums: Sums, count: int) -> NDArray[np.intp]:
    """Return the segments that a sparse fit keeps: up to six one after another, each the one that explains most.

    More are those with the largest coefficients of a fit to all.
    """
    if count > ONE_BY_ONE:
        return np.sort(np.argsort(-np.abs(ridge(sums, RANKING).coefficients), kind="stable")[:count])
    kept: list[int] = []
    left = list(range(len(sums.z)))
    for _ in range(min(count, len(left))):
        scores = [np.nan_to_num(ridge(sums, 0.0, np.array([*kept, one])).fidelity, nan=-np.inf) for one in left]
        kept.append(left.pop(int(np.argmax(scores))))
    return np.sort(np.array(kept, dtype=np.intp))


def closeness(z: Array, width: float) -> Array:
    """Return LIME's weights: ``sqrt(exp(-D² / width²))`` of the cosine distance ``D`` to the whole picture."""
    distance = 1 - np.sqrt(z.sum(axis=1) / z.shape[1])
    weights: Array = np.sqrt(np.exp(-(distance**2) / width**2))
    return weights


# -- Shapley values ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Coalitions:
    """Coalitions to be scored and their weights in the fit; neither the empty nor the whole one is among them."""

    members: NDArray[np.bool_]
    weights: Array


def shapley_weight(players: int, size: int) -> float:
    """Return the kernel's weight of all coalitions of a size together."""
    return (players - 1) / (size * (players - size))


def by_size(players: int) -> list[tuple[int, ...]]:
    """Return the sizes of coalitions with their complements, the heaviest first: (1, M - 1), (2, M - 2) and so on."""
    half = players // 2
    return [(size,) if 2 * size == players else (size, players - size) for size in range(1, half + 1)]


def coalitions(players: int, samples: int, seed: int) -> Coalitions:
    """Return at most ``samples`` coalitions: whole sizes while they fit, then drawn ones with their complements.

    A drawn coalition's weight is its share of the draws times the kernel's weight of all sizes that are drawn from
    (Lundberg, Lee 2017, supplement; duplicates count as one with more weight).
    """
    samples = min(samples, 2**players - 2) if players < 60 else samples
    rows: list[NDArray[np.bool_]] = []
    weights: list[float] = []
    sizes, left = by_size(players), samples
    masses = [sum(shapley_weight(players, size) for size in pair) for pair in sizes]
    while sizes:
        each, mass = [comb(players, size) for size in sizes[0]], masses[0]
        if sum(each) > left * mass / sum(masses) * (1 + 1e-9):
            break
        for size, many in zip(sizes[0], each, strict=True):
            rows += _all_of(players, size)
            weights += [shapley_weight(players, size) / many] * many
        left -= sum(each)
        sizes, masses = sizes[1:], masses[1:]
    if sizes and left:
        drawn = _draw(players, sizes, masses, left, np.random.default_rng(seed))
        rows += [np.array(row, dtype=bool) for row in drawn]
        share = sum(masses) / sum(drawn.values())
        weights += [count * share for count in drawn.values()]
    members = np.array(rows, dtype=bool).reshape(len(rows), players)
    return Coalitions(members, np.array(weights))


def _all_of(players: int, size: int) -> list[NDArray[np.bool_]]:
    found = []
    for chosen in combinations(range(players), size):
        row = np.zeros(players, dtype=bool)
        row[list(chosen)] = True
        found.append(row)
    return found


def _draw(
    players: int, sizes: list[tuple[int, ...]], masses: list[float], count: int, chance: np.random.Generator
) -> dict[tuple[bool, ...], int]:
    """Return ``count`` different coalitions of these sizes, with how often each was drawn."""
    share, found = np.array(masses) / sum(masses), {}
    for _ in range(MOST_DRAWS * count):
        size = sizes[int(chance.choice(len(sizes), p=share))][0]
        row = np.zeros(players, dtype=bool)
        row[chance.permutation(players)[:size]] = True
        for one in (row, ~row):
            key = tuple(one.tolist())
            if key in found or len(found) < count:
                found[key] = found.get(key, 0) + 1
        if len(found) == count:
            return found
    rest = (tuple(row.tolist()) for pair in sizes for size in pair for row in _all_of(players, size))
    for key in rest:
        if len(found) == count:
            break
        found.setdefault(key, 1)
    return found


def kernel_shap(sums: Sums, whole: float, empty: float) -> Fit:
    """Return the values that fit best among those that sum to ``whole - empty``, the constraint eliminated.

    ``sums`` are of coalitions with their last player's column subtracted from the others' and from the result, see
    ``eliminated``.
    """
    inverse = np.linalg.pinv(sums.zz, rcond=UNDETERMINED, hermitian=True)
    found = inverse @ (sums.zy + sums.first * sums.z)
    raw = sums.yy + 2 * sums.first * sums.y + sums.first**2 * sums.weight
    mixed = sums.zy + sums.first * sums.z
    left = max(raw - 2 * found @ mixed + found @ sums.zz @ found, 0.0)
    degrees = max(1 - len(found) / max(sums.count, 1), 1 / max(sums.count, 1))
    spread = left / max(sums.weight * degrees, 1e-300) * (inverse @ sums.squared @ inverse)
    errors = np.sqrt(np.maximum([*np.diag(spread), spread.sum()], 0.0))
    values = np.append(found, whole - empty - found.sum())
    return Fit(values, empty, errors, float("nan"))


def eliminated(members: NDArray[np.bool_], y: Array, whole: float, empty: float) -> tuple[Array, Array]:
    """Return samples and results in which the last player's value is what the others leave of the whole difference."""
    z = members.astype(np.float64)
    return z[:, :-1] - z[:, -1:], y - empty - z[:, -1] * (whole - empty)


def shapley(values: Array) -> Array:
    """Return the exact Shapley values of a game, from the value of each coalition by its bit mask, ``(2^M,)``."""
    players = len(values).bit_length() - 1
    masks = np.arange(len(values))
    sizes = np.array([int(mask).bit_count() for mask in masks])
    found = np.zeros(players)
    for player in range(players):
        without = masks[(masks >> player) & 1 == 0]
        weights = np.array([1 / (players * comb(players - 1, int(sizes[mask]))) for mask in without])
        found[player] = weights @ (values[without | (1 << player)] - values[without])
    return found
