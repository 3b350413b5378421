"""Heads of global average pooling, found by what a network does: scores that are a linear map of the mean of a map.

Names and structure decide nothing. A map ``A`` counts as pooled if the scores are ``W · mean(A) + b`` for pictures, and
also for any other map that is put in its place.
"""

from __future__ import annotations

import warnings
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from xaiwidgets.model.short_numbers import refusal
from xaiwidgets.model.tape import Tape, recording
from xaiwidgets.model.targets import Target
from xaiwidgets.surgery.maps import MapWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from torch import Tensor

    #: Runs one picture's forward pass under a watch.
    Run = Callable[[MapWatch], Tensor]

#: Of a pass's maps, so many of the last are looked at.
LAST = 24
#: Largest difference of scores, relative to the largest.
TOLERANCE = 1e-4
#: Numbers that are differentiated at a time.
AT_ONCE = 2**22


@dataclass(frozen=True)
class Place:
    """Which map of a network is averaged.

    Attributes:
        number: among the maps of a pass, see ``MapWatch``.
        layer: name of a layer that gives it, or an empty string if only an operation does.
        shape: ``(C, h, w)``.
    """

    number: int
    layer: str
    shape: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Head:
    """A linear map from the mean of a map to the scores of all classes.

    Attributes:
        place: of the map ``A``. ``weight``: ``(K, C)``. ``bias``: ``(K,)``; scores are ``W · mean(A) + b``.
        before_softmax: these are the scores before the softmax that the network ends in.
    """

    place: Place
    weight: Tensor
    bias: Tensor
    before_softmax: bool = False

    @property
    def layer(self) -> str:
        """Name of a layer that gives the map, or an empty string."""
        return self.place.layer

    def scores(self, maps: Tensor) -> Tensor:
        """Return the class scores ``(N, K)`` of maps ``(N, C, h, w)``."""
        return maps.mean(dim=(2, 3)) @ self.weight.T + self.bias

    def class_maps(self, maps: Tensor) -> Tensor:
        """Return the class activation maps of all classes ``(N, K, h, w)``, without bias, by one 1×1 convolution."""
        return torch.nn.functional.conv2d(maps, self.weight[..., None, None])


class Response(Target):
    """A target that a pass under its own ``watch`` gives: half the sum of squares of each picture's class map.

    Attributes:
        watch: for one pass. ``maps``: the pooled maps ``(N, C, h, w)`` of that pass.
    """

    watch: MapWatch
    maps: Tensor

    def __init__(self, head: Head, kernels: Tensor | None = None) -> None:
        super().__init__()

        def seen(number: int, output: Tensor, over: bool) -> Tensor | None:
            if number != head.place.number:
                return None
            object.__setattr__(self, "maps", output)
            return None if over else output.clone()

        object.__setattr__(self, "watch", MapWatch(seen))
        object.__setattr__(self, "_kernels", kernels)

    def score(self, outputs: Tensor, records: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return ``(N,)``; its derivative by the pooled map is the class map times the class's kernel."""
        kernels: Tensor = self.__dict__["_kernels"]
        return 0.5 * torch.einsum("nk,nkhw->nhw", kernels, self.maps).square().sum(dim=(1, 2))


class _Seen(NamedTuple):
    number: int
    map: Tensor
    names: list[str]


def find_place(runs: tuple[Run, Run], layers: Collection[str], stages: Collection[str]) -> Place | None:
    """Return the map that a network averages before its scores, or ``None`` if there is none.

    Args:
        runs: the network on two pictures.
        layers: names that may be given to a map.
        stages: those that are preferred.
    """
    with torch.inference_mode(False):
        (first, scores, count), (second, others, _) = (_look(run) for run in runs)
        shapes = {seen.number: seen.map.shape for seen in second}
        slopes, other_slopes = (_slopes(run, max(0, count - LAST), scores.shape[1]) for run in runs)
        twins = dict(zip((seen.number for seen in first), second, strict=False))
        found: _Seen | None = None
        for seen in reversed(first):
            slope, other = slopes.get(seen.number), other_slopes.get(seen.number)
            if slope is None or other is None or shapes.get(seen.number) != seen.map.shape:
                continue
            if float((slope - other).abs().max()) > TOLERANCE * float(slope.abs().max()):
                continue  # some function of the mean, but no linear one
            made = _weights(runs[0], seen)
            if made is None or not _holds(runs[0], seen, made, ((seen.map, scores), (twins[seen.number].map, others))):
                continue
            found = seen
            # a map of classes, one a class, only names what it was made of
            if not _diagonal(made[0]):
                break
    if found is None:
        return None
    same = [seen for seen in first if seen.map.shape == found.map.shape and torch.equal(seen.map, found.map)]
    names = [name for seen in same for name in seen.names if name in layers]
    layer = next((name for name in reversed(names) if name in stages), names[0] if names else "")
    return Place(found.number, layer, tuple(found.map.shape[1:]))  # type: ignore[arg-type]


def read_head(run: Run, place: Place, *, before_softmax: bool) -> Head | None:
    """Return the weights and the bias behind a place, or ``None`` if with these weights it is none."""
    with torch.inference_mode(False):
        seen = next((seen for seen in _look(run)[0] if seen.number == place.number), None)
        made = None if seen is None else _weights(run, seen)
        if seen is None or made is None or not _holds(run, seen, made, ()):
            return None
    return Head(place, *made, before_softmax=before_softmax)


def _look(run: Run) -> tuple[list[_Seen], Tensor, int]:
    """Return the last maps of a pass with the names of the layers that gave them, the scores, and the maps' number."""
    kept: deque[tuple[_Seen, Tensor]] = deque(maxlen=LAST)

    def seen(number: int, output: Tensor, _over: bool) -> None:
        # what follows may work in place; the tensor itself is held so that no other gets its identity
        kept.append((_Seen(number, output.clone(), []), output))

    def named(call: str, output: object) -> None:
        newest = next((one for one, tensor in reversed(kept) if tensor is output), None)
        if newest is not None:
            newest.names.append(call)

    watch = MapWatch(seen)
    with torch.no_grad(), recording(Tape(on_output=named)):
        scores = run(watch)
    return [one for one, _ in kept if one.map.shape[2] * one.map.shape[3] > 1], scores, watch.count


def _slopes(run: Run, start: int, classes: int) -> dict[int, Tensor]:
    """Return the derivative of a random mixture of the scores by each map whose places all count the same, ``(C,)``."""
    held: dict[int, Tensor] = {}

    def seen(number: int, output: Tensor, over: bool) -> Tensor | None:
        if number < start:
            return None
        if output.requires_grad:
            held[number] = output
            # a copy, for what follows may work in place; what has done so itself may have kept its result for backward
            return None if over else output.clone()
        held[number] = output.detach().clone().requires_grad_()
        return held[number].clone()

    with torch.enable_grad():
        scores = run(MapWatch(seen))
        mixture = torch.randn(classes, generator=torch.Generator().manual_seed(0)).to(scores)
        if not scores.requires_grad:
            return {}
        try:
            found = torch.autograd.grad((scores @ mixture).sum(), list(held.values()), allow_unused=True)
        except RuntimeError as error:
            if refusal(error, scores) is None:
                raise
            return {}  # no derivative in these numbers: methods that need none still work
    return {
        number: gradient[0, :, 0, 0]
        for number, gradient in zip(held, found, strict=True)
        if gradient is not None and _spread(gradient) <= TOLERANCE * float(gradient.abs().max())
    }


def _spread(gradient: Tensor) -> float:
    return float((gradient.amax(dim=(2, 3)) - gradient.amin(dim=(2, 3))).max())


def _weights(run: Run, seen: _Seen) -> tuple[Tensor, Tensor] | None:
    """Return ``W (K, C)`` and ``b (K,)``, differentiated at a map of random numbers."""
    maps = _random(seen.map, 1)
    shift = torch.zeros_like(maps[:, :, :1, :1]).requires_grad_()
    with torch.enable_grad():
        scores = run(_replacing(seen.number, maps + shift))
        if not scores.requires_grad:
            return None
        weight = _jacobian(scores, shift, max(1, AT_ONCE // maps.numel()))
    bias = scores.detach()[0] - weight @ maps.mean(dim=(2, 3))[0]
    return weight, bias


def _jacobian(scores: Tensor, shift: Tensor, count: int) -> Tensor:
    rows = torch.eye(scores.shape[1], dtype=scores.dtype, device=scores.device)[:, None]
    found = []
    for some in torch.split(rows, count):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                (part,) = torch.autograd.grad(scores, shift, some, retain_graph=True, is_grads_batched=True)
        except Exception:  # some operation cannot be batched
            part = torch.stack([torch.autograd.grad(scores, shift, row, retain_graph=True)[0] for row in some])
        found.append(part.flatten(1))
    return torch.cat(found).detach()


def _holds(run: Run, seen: _Seen, made: tuple[Tensor, Tensor], pictures: Collection[tuple[Tensor, Tensor]]) -> bool:
    """Return whether weight and bias give the scores of pictures, and of random maps in place of the real one."""
    weight, bias = made
    pairs = list(pictures)
    for seed, size in ((2, 1.0), (3, -5.0)):
        maps = _random(seen.map, seed) * size
        with torch.no_grad():
            pairs.append((maps, run(_replacing(seen.number, maps))))
    for maps, scores in pairs:
        ours = maps.mean(dim=(2, 3)) @ weight.T + bias
        scale = max(float(scores.abs().max()), float(ours.abs().max()))
        if not float((ours - scores).abs().max()) <= TOLERANCE * scale:
            return False
    return True


def _diagonal(weight: Tensor) -> bool:
    """Return whether each class has a map of its own."""
    if weight.shape[0] != weight.shape[1] or not bool(weight.any()):
        return False
    rest = weight - torch.diag(weight.diag())
    return float(rest.abs().max()) <= TOLERANCE * float(weight.abs().max())


def _random(like: Tensor, seed: int) -> Tensor:
    """Return a map of random numbers about as large as a real one, with a mean of its own in each channel."""
    generator = torch.Generator().manual_seed(seed)
    places, means = (torch.randn(s, generator=generator, dtype=torch.float64) for s in (like.shape, like.shape[:2]))
    return ((places + means[..., None, None]) * max(float(like.abs().max()), 1e-3)).to(like)


def _replacing(number: int, maps: Tensor) -> MapWatch:
    return MapWatch(lambda at, _map, _over: maps.clone() if at == number else None)
