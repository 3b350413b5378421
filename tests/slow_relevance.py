"""Relevance rules once more, unit by unit in NumPy, from the definitions alone; and a small network to try them on."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional


def matrix(call, shape):
    """Return the matrix ``(outputs, inputs)`` of a linear map of tensors without the batch, and its output's shape."""
    count = int(np.prod(shape))
    columns = call(torch.eye(count, dtype=torch.float64).reshape(count, *shape))
    return columns.reshape(count, -1).T.numpy(), tuple(columns.shape[1:])


def away_from_zero(value, epsilon):
    return value + (epsilon if value >= 0 else -epsilon)


def shares(name, weights, bias, inputs, *, gamma=0.25, alpha=2.0, keep=True, low=None, high=None):
    """Return what one unit with these weights counts for each input, and for its bias, with factors: a list.

    The unit's relevance is split over the list by the factors, and within each entry in proportion.
    """
    contributions = inputs * weights
    plus, minus = np.maximum(contributions, 0), np.minimum(contributions, 0)
    z = contributions.sum() + bias
    bias = bias if keep else 0.0
    if name == "epsilon":
        return [(1.0, contributions, bias)]
    if name == "zplus":
        return [(1.0, plus, max(bias, 0))]
    if name == "alpha_beta":
        return [(alpha, plus, max(bias, 0)), (1 - alpha, minus, min(bias, 0))]
    if name == "gamma":
        if z > 0:
            return [(1.0, contributions + gamma * plus, bias + gamma * max(bias, 0))]
        if z < 0:
            return [(1.0, contributions + gamma * minus, bias + gamma * min(bias, 0))]
        return []
    if name == "w2":
        return [(1.0, weights**2, 0.0)]
    if name == "flat":
        return [(1.0, (weights != 0).astype(float), 0.0)]
    if name == "zbox":
        return [(1.0, contributions - low * np.maximum(weights, 0) - high * np.minimum(weights, 0), 0.0)]
    raise ValueError(name)


def send(name, weights, bias, inputs, relevance, *, epsilon=1e-6, **numbers):
    """Return the relevance of the inputs, what the biases took, and what the stabilizer took."""
    found, taken, lost = np.zeros_like(inputs), 0.0, 0.0
    for unit in range(len(relevance)):
        for factor, parts, constant in shares(name, weights[unit], bias[unit], inputs, **numbers):
            total = parts.sum() + constant
            given = factor * relevance[unit]
            if epsilon == 0 and total == 0:
                continue
            quotient = given / away_from_zero(total, epsilon)
            found += parts * quotient
            taken += constant * quotient
            lost += epsilon * np.sign(total) * quotient
    return found, taken, lost


class Plain:
    """Convolution, ReLU, max-pooling, convolution, ReLU, average pooling, linear, ReLU, linear: forward and back.

    Args:
        weights: (weight, bias) of the four layers, as tensors in float64.
        size: height and width of the input.
    """

    def __init__(self, weights, size):
        self.weights, self.size = weights, size

    def forward(self, image):
        """Return the scores of an input ``(C, H, W)``; all that the way back needs is kept."""
        (w1, b1), (w2, b2), (w3, b3), (w4, b4) = self.weights
        self.inputs = [image.numpy()]
        x = functional.conv2d(image[None], w1, b1, padding=1).relu()
        self.first = x[0].numpy()
        x = functional.max_pool2d(x, 2)
        self.inputs.append(x[0].numpy())
        x = functional.conv2d(x, w2, b2).relu()
        self.second = x[0].numpy()
        x = functional.avg_pool2d(x, 2).flatten(1)
        self.inputs.append(x[0].numpy())
        x = functional.linear(x, w3, b3).relu()
        self.inputs.append(x[0].numpy())
        return functional.linear(x, w4, b4)[0].numpy()

    def back(self, relevance, rules, *, epsilon=1e-6, **numbers):
        """Return the relevance of the input for rules of the four layers, from the last to the first."""
        (w1, b1), (w2, b2), (w3, b3), (w4, b4) = self.weights
        numbers["epsilon"] = epsilon
        relevance, *_ = send(rules[3], w4.numpy(), b4.numpy(), self.inputs[3], relevance, **numbers)
        relevance, *_ = send(rules[2], w3.numpy(), b3.numpy(), self.inputs[2], relevance, **numbers)
        # average pooling: a linear layer with equal weights
        pool, _ = matrix(lambda x: functional.avg_pool2d(x, 2), self.second.shape)
        relevance, *_ = send("epsilon", pool, np.zeros(len(pool)), self.second.ravel(), relevance, epsilon=epsilon)
        relevance = self._conv(rules[1], w2, b2, self.inputs[1], relevance, 0, numbers)
        relevance = self._unpool(relevance.reshape(self.inputs[1].shape))
        return self._conv(rules[0], w1, b1, self.inputs[0], relevance.ravel(), 1, numbers).reshape(self.inputs[0].shape)

    def _conv(self, rule, weight, bias, inputs, relevance, padding, numbers):
        weights, shape = matrix(lambda x: functional.conv2d(x, weight, padding=padding), inputs.shape)
        biases = np.repeat(bias.numpy(), shape[1] * shape[2])
        numbers = {k: v.ravel() if k in {"low", "high"} else v for k, v in numbers.items()}
        return send(rule, weights, biases, inputs.ravel(), relevance, **numbers)[0]

    def _unpool(self, relevance):
        found = np.zeros_like(self.first)
        for channel, row, column in np.ndindex(relevance.shape):
            window = self.first[channel, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            place = np.unravel_index(window.argmax(), window.shape)
            found[channel, 2 * row + place[0], 2 * column + place[1]] = relevance[channel, row, column]
        return found
