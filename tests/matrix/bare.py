"""A Model whose every pass is bare PyTorch on the user's own module: what the fast, hooked, folded copies must equal.

Backward rules are followed by a mode of a dozen lines that knows nothing of the package's surgery.
"""

from __future__ import annotations

import copy
from contextlib import ExitStack
from types import SimpleNamespace

import torch
from torch.overrides import TorchFunctionMode

import xaiwidgets as xw
from xaiwidgets.model.meter import spend
from xaiwidgets.model.passes import Gradients
from xaiwidgets.surgery.coverage import Coverage

RELUS = {"relu", "relu_", "clamp_min", "clamp_min_"}
LEAKY = {"leaky_relu", "leaky_relu_"}
CLIPPED = {"relu6", "relu6_", "hardtanh", "hardtanh_", "clamp", "clamp_"}
SMOOTH = {"silu", "silu_", "gelu", "hardswish", "hardswish_", "mish", "elu", "elu_", "softplus", "tanh", "prelu"}


class Bent(torch.autograd.Function):
    """A ReLU, perhaps clipped, whose derivative keeps or drops the forward gate and rectifies or not."""

    @staticmethod
    def forward(ctx, x, high, gated, rectified, slope=0.0):
        ctx.save_for_backward(x)
        ctx.how = high, gated, rectified, slope
        return x.clamp(0, high) + slope * x.clamp(max=0)

    @staticmethod
    def backward(ctx, signal):
        (x,) = ctx.saved_tensors
        high, gated, rectified, slope = ctx.how
        if rectified:
            signal = signal.clamp(min=0)
        if gated:
            signal = torch.where(x > 0, signal * (x < high), signal * slope)
        return signal, None, None, None, None


class OtherReLUs(TorchFunctionMode):
    """Replaces every kind of ReLU call by a function of its input and its upper bound."""

    def __init__(self, other):
        super().__init__()
        self.other = other

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        high = self.bound(name, args, kwargs)
        if high is None:
            return func(*args, **kwargs)
        x = args[0]
        leak = (args[1] if len(args) > 1 else kwargs.get("negative_slope", 0.01)) if name.startswith("leaky") else 0.0
        made = self.other(x.clone(), high, leak) if leak else self.other(x.clone(), high)
        if name.endswith("_") or kwargs.get("inplace") or (name == "relu" and len(args) > 1 and args[1] is True):
            return x.copy_(made)
        return made

    @staticmethod
    def bound(name, args, kwargs):
        if name in RELUS or name in LEAKY:
            return float("inf")
        if name in CLIPPED:
            if name.startswith("relu6"):
                return 6.0
            low = args[1] if len(args) > 1 else kwargs.get("min_val", kwargs.get("min"))
            high = args[2] if len(args) > 2 else kwargs.get("max_val", kwargs.get("max"))
            return float("inf" if high is None else high) if low == 0 else None
        return None


class AfterActivations(TorchFunctionMode):
    """Does something to what every activation gives, gates left alone."""

    def __init__(self, done):
        super().__init__()
        self.done = done

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if OtherReLUs.bound(name, args, kwargs) is None and name not in SMOOTH:
            return func(*args, **kwargs)
        x, *rest = args
        inplace = name.endswith("_") or kwargs.get("inplace") or (rest and rest[-1] is True)
        made = self.done(func(x.clone(), *rest, **kwargs))
        return x.copy_(made) if inplace else made


class BentMap(torch.autograd.Function):
    """Any call whose derivative is that of another call."""

    @staticmethod
    def forward(ctx, x, run, other):
        ctx.save_for_backward(x)
        ctx.other = other
        return run(x)

    @staticmethod
    def backward(ctx, signal):
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (found,) = torch.autograd.grad(ctx.other(leaf), leaf, signal)
        return found, None, None


class OwnWeights(TorchFunctionMode):
    """Sends a signal back through ``w / |w|^2`` in place of ``w``, or through ``w^2 / |w|^2`` (contributions)."""

    def __init__(self, *, contributions):
        super().__init__()
        self.contributions = contributions

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "batch_norm" and func is not torch.batch_norm:
            names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            x, variance, weight, eps = (given[n] for n in ("input", "running_var", "weight", "eps"))
            scale = (weight / (variance + eps).sqrt()).reshape(1, -1, 1, 1)
            back = 1.0 if self.contributions else 1 / scale
            return BentMap.apply(x, lambda x: func(x, *args[1:], **kwargs), lambda x: x * back)
        if name not in {"conv2d", "linear"}:
            return func(*args, **kwargs)
        x, weight = args[0], args[1]
        squares = weight.square().flatten(1).sum(1).reshape(-1, *[1] * (weight.ndim - 1))
        used = (weight.square() if self.contributions else weight) / squares
        run = lambda x: func(x, *args[1:], **kwargs)
        return BentMap.apply(
            x, run, lambda x: func(x, used, None, *args[3:], **{**kwargs, "bias": None} if kwargs else {})
        )


def softplus(beta):
    """Return softplus_beta, less its shifted self where there is an upper bound."""

    def run(x, high):
        zero = torch.zeros((), dtype=x.dtype)
        low = torch.logaddexp(zero, beta * x) / beta
        return low if high == float("inf") else low - torch.logaddexp(zero, beta * (x - high)) / beta

    return run


class Bare(xw.Model):
    """Plain passes: no folding, no channels-last, no batching, no tape."""

    def __init__(self, model):
        self.__dict__.update(model.__dict__)
        self._memo = {}
        self.captures = None
        self.plain = copy.deepcopy(model.module).eval()

    def run(self, image, layers, altered=None):
        """Return outputs and layers' outputs of one picture, in one graph; outputs may take the place of a layer's."""
        found, handles, calls = {}, [], {}

        def watch(name, module):
            def hook(_module, _inputs, output):
                calls[name] = calls.get(name, 0) + 1
                call = name if calls[name] == 1 else f"{name}#{calls[name]}"
                if call in (altered or {}):
                    output = altered[call]
                if call in layers:
                    found[call] = output if output.requires_grad else output.detach().requires_grad_()
                    return found[call].clone()
                return output.clone() if call in (altered or {}) else None

            handles.append(module.register_forward_hook(hook))

        modules = dict(self.plain.named_modules())
        for name in {layer.partition("#")[0] for layer in (*layers, *(altered or {}))}:
            watch(name, modules[name])
        try:
            return self.plain(image.clone()), found
        finally:
            for handle in handles:
                handle.remove()

    def logits(self, images):
        with torch.no_grad():
            spend(forward=len(images))
            return torch.cat([self.plain(image[None].clone()) for image in images])

    def scores(self, images, target):
        layers = {target.layer} if target.layer else set()
        spend(forward=len(images))
        with torch.no_grad():
            found = [self.run(image[None], layers) for image in images]
        return torch.cat([target.score(outputs, records) for outputs, records in found])

    def activations(self, images, layers):
        layers = list(layers)
        spend(forward=len(images))
        with torch.no_grad():
            found = [self.run(image[None], set(layers))[1] for image in images]
        return {name: torch.cat([records[name] for records in found]) for name in layers}

    def tail(self, image, target, layer):
        name = self.layer(layer).name
        layers = {name, target.layer} if target.layer else {name}
        spend(forward=1)
        with torch.no_grad():
            outputs, records = self.run(image, layers)

        def scores(every):
            spend(forward=len(every))
            with torch.no_grad():
                found = [self.run(image, layers, {name: one[None]}) for one in every]
            return torch.cat([target.score(outputs, records) for outputs, records in found])

        activation, score = records[name].detach(), target.score(outputs, records)
        return SimpleNamespace(activation=activation, score=score, scores=scores, whole=False)

    def gradient(self, images, target, *, layers=(), wrt_input=True, recipe=None):
        layers = tuple(dict.fromkeys(layers))
        spend(forward=len(images), backward=len(images))
        wanted = {*layers, target.layer} if target.layer else set(layers)
        scores, outputs, by_input, pairs = [], [], [], {name: [] for name in layers}
        for image in images:
            leaf = image[None].detach().clone().requires_grad_()
            with ExitStack() as stack:
                if recipe is not None:
                    name = dict(recipe.rules)["relu"]
                    how = name == "guided", name in {"guided", "deconv"}
                    stack.enter_context(OtherReLUs(lambda x, high, leak=0.0, how=how: Bent.apply(x, high, *how, leak)))
                out, records = self.run(leaf, wanted)
            score = target.score(out, records)
            held = [leaf, *(records[name] for name in layers)]
            found = torch.autograd.grad(score.sum(), held, allow_unused=True)
            found = [torch.zeros_like(h) if g is None else g for h, g in zip(held, found, strict=True)]
            scores.append(score.detach())
            outputs.append(out.detach())
            by_input.append(found[0])
            for name, activation, gradient in zip(layers, held[1:], found[1:], strict=True):
                pairs[name].append((activation.detach(), gradient))
        joined = {n: tuple(torch.cat(side) for side in zip(*p, strict=True)) for n, p in pairs.items()}
        coverage = None if recipe is None else Coverage({"relu": 1}, {"relu": 1})
        return Gradients(
            torch.cat(scores), torch.cat(outputs), torch.cat(by_input) if wrt_input else None, joined, coverage
        )

    def exactly(self):
        return self

    def sharing(self):
        return self
