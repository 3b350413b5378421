"""Influence functions of a network's last layer, exactly: which training pictures make it answer as it does.

The features before the last layer stay; a softmax regression on them, with a little weight decay, has one optimum, and
its Hessian is small enough to be solved (Koh and Liang 2017, section 2).

This module imports torch: import it inside functions.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from xaiwidgets.errors import NotApplicable
from xaiwidgets.model.targets import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from xaiwidgets.model.model import Model

#: More weights than this have too large a Hessian.
MOST = 6000
#: Newton steps at the most, and the slope at which they end.
STEPS, FLAT = 50, 1e-10


def feature_layer(model: Model) -> str:
    """Return the last layer before the scores that gives one number a channel.

    Raises:
        NotApplicable: there is none.
    """
    flat = [one for one in model.layers if one.leaf and (len(one.shape) == 1 or one.shape[1:] == (1, 1))]
    names = [one.name for one in flat[:-1] if one.order < model.layers[-1].order]
    if not names:
        raise NotApplicable(
            "influence_fragility", "a layer of features before the last one", f"{model.name} has none that is a module"
        )
    return names[-1]


@dataclass(frozen=True, eq=False)
class HeadInfluence:
    """A softmax regression at its optimum, and what each of its training points does to the loss of others.

    Attributes:
        inputs: features and a one, float64 ``(n, d + 1)``. ``labels``: ``(n,)`` from 0 to K - 1.
        decay: half of it times the squared weights is added to the mean loss.
        weights: ``(K, d + 1)``. ``factor``: lower Cholesky factor of the Hessian.
    """

    inputs: Tensor
    labels: Tensor
    decay: float
    weights: Tensor
    factor: Tensor = field(repr=False)

    @classmethod
    def fit(cls, features: Tensor, labels: Tensor, decay: float, start: Tensor | None = None) -> HeadInfluence:
        """Return the regression of labels on features ``(n, d)``.

        Args:
            features: of the training pictures.
            labels: numbers from 0 on, ``(n,)``.
            decay: above 0.
            start: weights to begin with.

        Raises:
            NotApplicable: there are too many weights for an exact Hessian.
        """
        inputs = with_one(features)
        count, classes = inputs.shape[1], int(labels.max()) + 1
        if count * classes > MOST:
            raise NotApplicable(
                "influence_fragility",
                f"at most {MOST:,} weights in the last layer, so that the Hessian can be solved",
                f"{classes} classes of {count - 1} features make {count * classes:,}",
            )
        weights = torch.zeros(classes, count, dtype=torch.float64) if start is None else start.clone()
        slope = _slope(inputs, labels, decay, weights)
        for _ in range(STEPS):
            if float(slope.abs().max()) < FLAT:
                break
            factor = torch.linalg.cholesky(_hessian(inputs, decay, weights))
            step = torch.cholesky_solve(slope.reshape(-1, 1), factor).reshape(weights.shape)
            loss, size = _loss(inputs, labels, decay, weights), 1.0
            promised = float((slope * step).sum())
            while size > 1e-8 and _loss(inputs, labels, decay, weights - size * step) > loss - 1e-4 * size * promised:
                if promised < 1e-14:  # what is left to gain is below rounding
                    break
                size /= 2
            weights = weights - size * step
            slope = _slope(inputs, labels, decay, weights)
        factor = torch.linalg.cholesky(_hessian(inputs, decay, weights))
        return cls(inputs, labels, decay, weights, factor)

    def helps(self, features: Tensor, label: int) -> Tensor:
        """Return ``g_tᵀ H⁻¹ g_i`` for every training point, ``(n,)``: n times what its removal adds to the loss.

        Args:
            features: of one picture, ``(1, d)``.
            label: for which its loss is taken.
        """
        own = with_one(features)
        pulled = self.solved(_errors(own, torch.tensor([label]), self.weights).T @ own)
        return (_errors(self.inputs, self.labels, self.weights) @ pulled * self.inputs).sum(dim=1)

    def solved(self, slope: Tensor) -> Tensor:
        """Return the inverse Hessian times something of the weights' shape."""
        return torch.cholesky_solve(slope.reshape(-1, 1), self.factor).reshape(slope.shape)

    def pull(self, numbers: Tensor) -> Tensor:
        """Return ``H⁻¹ Σ g_i`` over some training points, ``(K, d + 1)``."""
        chosen = self.inputs[numbers]
        return self.solved(_errors(chosen, self.labels[numbers], self.weights).T @ chosen)

    def loss(self, features: Tensor, label: int) -> float:
        """Return the loss of one picture, ``(1, d)``."""
        return float(functional.cross_entropy(with_one(features) @ self.weights.T, torch.tensor([label])))

    def answer(self, features: Tensor) -> int:
        """Return the class of one picture, ``(1, d)``."""
        return int((with_one(features) @ self.weights.T).argmax())

    def without(self, number: int) -> HeadInfluence:
        """Return the regression that has never seen one of its training points, fitted anew."""
        kept = torch.arange(len(self.inputs)) != number
        # the mean is over fewer points, and so is the share of the decay
        count = len(self.inputs)
        decay = self.decay * count / (count - 1)
        return HeadInfluence.fit(self.inputs[kept, :-1], self.labels[kept], decay, self.weights)


@dataclass(frozen=True)
class Helped(Target):
    """How much some training points help: a score of a picture, whose derivative by the picture is the attack's way."""

    head: HeadInfluence | None = None
    pulled: Tensor | None = None
    label: int = 0

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return ``Σ_i g_tᵀ H⁻¹ g_i`` for each picture, ``(N,)``."""
        if self.head is None or self.pulled is None or records is None:
            raise ValueError("a head and what it is pulled by are needed")
        inputs = with_one(records[self.layer].flatten(1))
        labels = torch.full((len(inputs),), self.label)
        return (_errors(inputs, labels, self.head.weights) @ self.pulled * inputs).sum(dim=1)


def helped(layer: str, head: HeadInfluence, numbers: Tensor, label: int) -> Target:
    """Return the target for how much some training points help a picture of a label."""
    return dataclasses.replace(Helped(layer=layer, name="influence"), head=head, pulled=head.pull(numbers), label=label)


def with_one(features: Tensor) -> Tensor:
    """Return features and a one, float64 ``(n, d + 1)``."""
    return torch.cat([features.double(), torch.ones(len(features), 1, dtype=torch.float64)], dim=1)


def _errors(inputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return probabilities less truth, ``(n, K)``: a point's gradient is this times its features."""
    return (inputs @ weights.T).softmax(dim=1) - functional.one_hot(labels, len(weights))


def _loss(inputs: Tensor, labels: Tensor, decay: float, weights: Tensor) -> float:
    return float(functional.cross_entropy(inputs @ weights.T, labels) + decay / 2 * weights.square().sum())


def _slope(inputs: Tensor, labels: Tensor, decay: float, weights: Tensor) -> Tensor:
    return _errors(inputs, labels, weights).T @ inputs / len(inputs) + decay * weights


def _hessian(inputs: Tensor, decay: float, weights: Tensor) -> Tensor:
    """Return ``(K (d + 1), K (d + 1))``."""
    shares = (inputs @ weights.T).softmax(dim=1)
    classes, count = weights.shape
    found = torch.zeros(classes, count, classes, count, dtype=torch.float64)
    for one in range(classes):
        for other in range(one + 1):
            weight = shares[:, one] * (float(one == other) - shares[:, other])
            block = inputs.T @ (weight[:, None] * inputs) / len(inputs)
            found[one, :, other] = found[other, :, one] = block
    return found.reshape(classes * count, classes * count) + decay * torch.eye(classes * count, dtype=torch.float64)
