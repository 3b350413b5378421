"""DeepLIFT written out once more: every linear layer as a matrix, every window and unit by itself, in plain loops."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

LINEAR = (nn.Conv2d, nn.Linear, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity, nn.BatchNorm2d)
WEIGHTED = {"": (), "dense": (nn.Linear,), "all": (nn.Linear, nn.Conv2d)}


def matrix(layer, shape):
    """The matrix of a linear layer, one column for each unit vector."""
    count = int(np.prod(shape))
    units = torch.eye(count, dtype=torch.float64).reshape(count, *shape)
    with torch.no_grad():
        return (layer(units) - layer(torch.zeros_like(units))).reshape(count, -1).T.numpy()


def multipliers(layers, image, reference, unit, where=""):
    """Multipliers ``(C, H, W)`` of one output of a chain of layers, for single pictures ``(C, H, W)`` in float64."""
    acts = [(image, reference)]
    for layer in layers:
        with torch.no_grad():
            acts.append(tuple(layer(a.clone()[None])[0] for a in acts[-1]))
    m = np.zeros(acts[-1][0].numel())
    m[unit] = 1
    number = len(layers) - 1
    while number >= 0:
        layer, ends = layers[number], acts[number]
        if isinstance(layer, LINEAR):
            m = matrix(layer, ends[0].shape).T @ m
        elif isinstance(layer, nn.MaxPool2d):
            m = max_pool(layer, ends, acts[number + 1], m)
        elif number and isinstance(layers[number - 1], WEIGHTED[where]):
            number -= 1
            m = revealed(layer, matrix(layers[number], acts[number][0].shape), acts[number], ends, m)
        else:
            m = rescaled(layer, ends, acts[number + 1], m)
        number -= 1
    return m.reshape(image.shape)


def flat(pair):
    return [a.numpy().ravel() for a in pair]


def slope(function, u):
    leaf = torch.tensor(u, dtype=torch.float64, requires_grad=True)
    return float(torch.autograd.grad(function(leaf.clone()), leaf)[0])


def value(function, u):
    return float(function(torch.tensor(u, dtype=torch.float64)))


def rescaled(function, ends, results, m):
    (u, u0), (h, h0) = flat(ends), flat(results)
    found = np.zeros_like(m)
    for k in range(len(m)):
        found[k] = m[k] * (slope(function, u0[k]) if u[k] == u0[k] else (h[k] - h0[k]) / (u[k] - u0[k]))
    return found


def revealed(function, weights, inputs, ends, m):
    (x, x0), (u, u0) = flat(inputs), flat(ends)
    change = x - x0
    found = np.zeros(len(x))
    for k in range(len(m)):
        terms = weights[k] * change
        up, down = terms[terms > 0].sum(), terms[terms < 0].sum()
        at = [value(function, u0[k] + step) for step in (0, up, down)] + [value(function, u[k])]
        rise = 0.5 * (at[1] - at[0]) + 0.5 * (at[3] - at[2])
        fall = 0.5 * (at[2] - at[0]) + 0.5 * (at[3] - at[1])
        plus = rise / up if up else slope(function, u0[k])
        minus = fall / down if down else slope(function, u0[k])
        for j in range(len(x)):
            share = (plus + minus) / 2 if change[j] == 0 else plus if terms[j] > 0 else minus
            found[j] += m[k] * weights[k, j] * share
    return found


def max_pool(layer, ends, results, m):
    """The part of ``max(o, o0)`` above ``o0`` to the picture's winner, the rest to the reference's."""
    _, places = functional.max_pool2d(
        torch.stack(ends), layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode, True
    )
    x, x0 = (a.reshape(len(a), -1).numpy() for a in ends)
    o, o0 = (a.reshape(len(a), -1).numpy() for a in results)
    here, there = (p.reshape(len(p), -1).numpy() for p in places)
    given, m = np.zeros_like(x), m.reshape(o.shape)
    for c in range(len(o)):
        for k in range(o.shape[1]):
            top = max(o[c, k], o0[c, k])
            given[c, here[c, k]] += m[c, k] * (top - o0[c, k])
            given[c, there[c, k]] += m[c, k] * (o[c, k] - top)
    change = x - x0
    return np.divide(given, change, out=np.zeros_like(given), where=change != 0).ravel()
