"""Linear surrogates of a score over segments that are shown or hidden, fitted from sums that grow batch by batch."""

from __future__ import annotations

import warnings
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
#: Parts of the draws that standard errors are told from.
GROUPS = 20
#: From so many players on, their coalitions cannot all be listed.
ENDLESS = 60


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
    inner, mixed = _centered(sums, chosen)
    total = max(float(sums.yy - sums.weight * level**2), 0.0)
    inverse = np.linalg.pinv(inner + alpha * np.eye(len(chosen)), rcond=UNDETERMINED, hermitian=True)
    found = inverse @ mixed
    left = max(float(total - 2 * found @ mixed + found @ inner @ found), 0.0)
    # residuals of one variance, each seen with its own weight
    degrees = max(1 - (len(chosen) + 1) / sums.count, 1 / sums.count)
    moved = sums.squared[np.ix_(chosen, chosen)] + sums.square * np.outer(mean, mean)
    moved -= np.outer(sums.zs[chosen], mean) + np.outer(mean, sums.zs[chosen])
    spread = left / (sums.weight * degrees) * ((inverse @ moved) * inverse).sum(axis=1)
    coefficients, errors = np.zeros(len(sums.z)), np.zeros(len(sums.z))
    coefficients[chosen], errors[chosen] = found, np.sqrt(np.maximum(spread, 0.0))
    intercept = level - float(mean @ found) + sums.first
    return Fit(coefficients, intercept, errors, 1 - left / total if total > 0 else float("nan"))


def _centered(sums: Sums, chosen: NDArray[np.intp] | slice = slice(None)) -> tuple[Array, Array]:
    """Return the weighted sums of products of the chosen segments, and with the results, about their means."""
    mean, level = sums.z[chosen] / sums.weight, sums.y / sums.weight
    inner = sums.zz[chosen][:, chosen] - sums.weight * np.outer(mean, mean)
    return inner, sums.zy[chosen] - sums.weight * mean * level


def choose(sums: Sums, count: int, how: str = "auto") -> NDArray[np.intp]:
    """Return the segments that a sparse fit keeps, at most ``count``, in order of their numbers.

    Args:
        sums: over the samples.
        count: how many are wanted.
        how: ``forward_selection``, one after another, each the one that explains most; ``highest_weights``, those with
            the largest coefficients of a fit to all; ``lasso_path``, the last on the way from the strongest to the
            weakest L1 penalty that are no more than ``count``; ``auto``, the first for up to six and the second for
            more.
    """
    if how == "auto":
        how = "forward_selection" if count <= ONE_BY_ONE else "highest_weights"
    if how == "highest_weights":
        return np.sort(np.argsort(-np.abs(ridge(sums, RANKING).coefficients), kind="stable")[:count])
    return _along_lasso(sums, count) if how == "lasso_path" else _one_by_one(sums, count)


def _one_by_one(sums: Sums, count: int) -> NDArray[np.intp]:
    inner, mixed = _centered(sums)
    least = UNDETERMINED * max(inner.diagonal().max(), 0.0)
    kept: list[int] = []
    for _ in range(min(count, len(mixed))):
        left = inner.diagonal()
        # what each would add to what is explained, given those that are kept
        gains = np.where(left > least, mixed**2 / np.where(left > least, left, 1.0), 0.0)
        gains[kept] = -np.inf
        best = int(np.argmax(gains))
        kept.append(best)
        if left[best] > least:
            share = inner[best] / left[best]
            inner, mixed = inner - np.outer(share, inner[best]), mixed - share * mixed[best]
    return np.sort(np.array(kept, dtype=np.intp))


def _along_lasso(sums: Sums, count: int) -> NDArray[np.intp]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import lars_path_gram

    inner, mixed = _centered(sums)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the path ends where few samples leave it undetermined
        _, _, path = lars_path_gram(mixed, inner, n_samples=sums.count, method="lasso")
    fits = np.flatnonzero(np.count_nonzero(path, axis=0) <= count)
    found: NDArray[np.intp] = np.flatnonzero(path[:, fits[-1]])
    return found


def strongest(coefficients: Array, count: int) -> NDArray[np.bool_]:
    """Return which are the largest positive coefficients, at most ``count``, the first of equal ones."""
    kept = np.zeros(len(coefficients), dtype=bool)
    kept[np.argsort(-coefficients, kind="stable")[:count]] = True
    return kept & (coefficients > 0)


def closeness(z: Array, width: float) -> Array:
    """Return LIME's weights: ``sqrt(exp(-D² / width²))`` of the cosine distance ``D`` to the whole picture."""
    distance = 1 - np.sqrt(z.sum(axis=1) / z.shape[1])
    weights: Array = np.sqrt(np.exp(-(distance**2) / width**2))
    return weights


# -- Shapley values ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Coalitions:
    """Coalitions to be scored; neither the empty nor the whole one is among them.

    Attributes:
        members: who is in, ``(n, M)``.
        listed: the weight in the fit of those that are listed with their whole size, 0 of the others, ``(n,)``.
        drawn: the weight of the others, each by the part of the draws that it came up in, ``(n, GROUPS)``.
    """

    members: NDArray[np.bool_]
    listed: Array
    drawn: Array

    @property
    def weights(self) -> Array:
        """The weight of each coalition in the fit, ``(n,)``."""
        total: Array = self.listed + self.drawn.sum(axis=1)
        return total


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
    samples = min(samples, 2**players - 2) if players < ENDLESS else samples
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
    counts = np.zeros((len(rows), GROUPS))
    if sizes and left:
        found, more = _draw(players, sizes, masses, left, np.random.default_rng(seed))
        rows += found
        weights += [0.0] * len(found)
        counts = np.concatenate([counts, more * (sum(masses) / more.sum())])
    return Coalitions(np.array(rows, dtype=bool).reshape(len(rows), players), np.array(weights), counts)


def _all_of(players: int, size: int) -> list[NDArray[np.bool_]]:
    found = []
    for chosen in combinations(range(players), size):
        row = np.zeros(players, dtype=bool)
        row[list(chosen)] = True
        found.append(row)
    return found


def _draw(
    players: int, sizes: list[tuple[int, ...]], masses: list[float], count: int, chance: np.random.Generator
) -> tuple[list[NDArray[np.bool_]], Array]:
    """Return ``count`` different coalitions of these sizes, and how often each came up in each part of the draws."""
    small, share = np.array([pair[0] for pair in sizes]), np.array(masses) / sum(masses)
    places: dict[bytes, int] = {}
    found: list[NDArray[np.bool_]] = []
    counts = np.zeros((count, GROUPS))
    for start in range(0, MOST_DRAWS * count, count):
        drawn = small[chance.choice(len(sizes), size=count, p=share)]
        ranks = chance.random((count, players)).argsort(axis=1).argsort(axis=1)
        for number, row in enumerate(ranks < drawn[:, None], start):
            for one in (row, ~row):
                place = places.get(one.tobytes())
                if place is None and len(found) < count:
                    place = places[one.tobytes()] = len(found)
                    found.append(one)
                if place is not None:
                    counts[place, number % GROUPS] += 1
            if len(found) == count:
                return found, counts
    # the last few are too rare to wait for
    for row in (row for pair in sizes for size in pair for row in _all_of(players, size)):
        if len(found) < count and row.tobytes() not in places:
            counts[len(found), len(found) % GROUPS] += 1
            found.append(row)
    return found, counts


class Game:
    """The sums over coalitions that Shapley values follow from, once the whole and the empty one are known.

    The values are to sum to ``whole - empty``. What is fitted is how they differ from equal shares of it: those
    differences sum to 0, whatever the coalitions, so that the constraint is always kept, and what is not determined
    yet stays an equal share.
    """

    def __init__(self, chosen: Coalitions, whole: float, empty: float) -> None:
        players = chosen.members.shape[1]
        self.members, self.whole, self.empty, self.count = chosen.members, whole, empty, 0
        # of those listed, and of each part of the draws
        self.zz = np.zeros((1 + GROUPS, players, players))
        self.zy = np.zeros((1 + GROUPS, players))
        self.weights = np.column_stack([chosen.listed, chosen.drawn])
        self.drawn, self.known = float(chosen.drawn.sum()), 0.0

    def add(self, y: Array) -> None:
        """Add the scores of the next coalitions."""
        part = slice(self.count, self.count + len(y))
        shown, weights = self.members[part].astype(np.float64), self.weights[part]
        share = shown.mean(axis=1)
        z = shown - share[:, None]
        y = y - self.empty - share * (self.whole - self.empty)
        for group in np.flatnonzero(weights.any(axis=0)):
            weighted = z * weights[:, group, None]
            self.zz[group] += z.T @ weighted
            self.zy[group] += y @ weighted
        self.known += float(weights[:, 1:].sum())
        self.count += len(y)

    def values(self) -> tuple[Array, Array | None]:
        """Return the Shapley values ``(M,)`` of the best fit to the coalitions so far, and their standard errors.

        The errors tell what other draws would change, from how differently ``GROUPS`` parts of them pull at the fit
        (batch means): 0 once all coalitions are known, ``None`` until half of the draws are.
        """
        inverse = np.linalg.pinv(self.zz.sum(axis=0), rcond=UNDETERMINED, hermitian=True)
        found = inverse @ self.zy.sum(axis=0)
        players = len(found)
        values = found + (self.whole - self.empty) / players
        if players < ENDLESS and self.count == 2**players - 2:
            return values, np.zeros(players)
        if not self.drawn or self.known < self.drawn / 2:
            return values, None
        pulls = (self.zy[1:] - self.zz[1:] @ found) @ inverse
        # a fit comes nearer to the coalitions it was made from than to others
        nearer = self.count / max(self.count - 2 * players, 2)
        return values, pulls.std(axis=0, ddof=1) * np.sqrt(GROUPS * nearer)


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
