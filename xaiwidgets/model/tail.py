"""The rest of a network: what follows a layer, for one image and many altered outputs of that layer.

One pass writes down what each outermost module call before the layer gives; no flag, hook or copy of the network is
needed for it. Later passes take these calls as given, for as many images as there are altered outputs, so that only
what follows the layer is run. Two altered outputs are first run both ways, once a layer: where that does not agree (an
operation wrote to what a module had given, chance, a state), every pass runs the whole network.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from xaiwidgets.model import passes
from xaiwidgets.model.meter import spend, uncounted
from xaiwidgets.model.tape import around_calls

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from xaiwidgets.model.prepare import Prepared
    from xaiwidgets.model.targets import Target

#: Largest difference of two runs of one function, relative to the largest value, by type of number.
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-10}

Found = tuple["Tensor", dict[str, "Tensor"]]


@dataclass
class _Given:
    """What a module call before the layer gave.

    Attributes:
        module: its dotted name. ``output``: the very tensors, which later operations may have written to.
        kept: a copy from when the call ended. ``written``: whether somebody wrote to the output later.
    """

    module: str
    output: Any
    kept: Any
    versions: list[int]
    written: bool = False

    def close(self) -> None:
        """Note whether somebody wrote to the output, and let go of it."""
        self.written = self.versions != _versions(self.output)
        self.output = None

    def of(self, count: int) -> Any:
        """Return what the call would give for so many copies of the image."""

        def spread(tensor: Tensor) -> Tensor:
            if count > 1 and tensor.ndim and len(tensor) == 1:
                tensor = tensor.expand(count, *tensor.shape[1:])
            return tensor.clone() if self.written else tensor

        return _each(self.kept, spread)


@dataclass
class _Recording:
    """Writes down the calls of one pass, up to the layer's."""

    layer: str
    wanted: frozenset[str]
    calls: Counter[str] = field(default_factory=Counter)
    given: list[_Given] = field(default_factory=list)
    before: Counter[str] | None = None  # calls that had ended when the layer's had
    records: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, module: str, run: Callable[[], Any]) -> Any:
        mark = len(self.given)
        output = run()
        name = _next(self.calls, module)
        if name in self.wanted and isinstance(output, torch.Tensor):
            self.records[name] = output.clone()
        if self.before is None:
            del self.given[mark:]  # those inside this one
            self.given.append(_Given(module, output, _each(output, torch.clone), _versions(output)))
            if name == self.layer:
                self.before = Counter(self.calls)
        return output


@dataclass
class _Playing:
    """Gives what was written down for the calls up to the layer's, and for that what takes its place."""

    known: _Recording
    altered: Tensor
    calls: Counter[str]
    records: dict[str, Tensor]
    at: int = 0

    def __call__(self, module: str, run: Callable[[], Any]) -> Any:
        given = self.known.given
        if self.at < len(given) and given[self.at].module == module:
            self.at += 1
            if self.at < len(given):
                return given[self.at - 1].of(len(self.altered))
            return self.altered.clone() if given[-1].written else self.altered
        output = run()
        if self.at < len(given):
            return output
        name = _next(self.calls, module)
        if name in self.known.wanted and isinstance(output, torch.Tensor):
            self.records[name] = output
            return output.clone()  # the next operation may work in place
        return output


class Tail:
    """The rest of a network from a layer on, for one image; from ``Model.tail``.

    Attributes:
        activation: what the layer gives, ``(1, …)``. ``score``: the target's, ``(1,)``.
        whole: every pass runs the whole network, for what comes before the layer could not be taken as given.
    """

    activation: Tensor
    score: Tensor

    def __init__(self, network: Prepared, image: Tensor, target: Target, layer: str) -> None:
        self.network, self.image, self.target, self.layer, self.whole = network, image, target, layer, False
        wanted = (layer, target.layer) if target.layer else (layer,)
        self._known = _Recording(layer, frozenset(wanted))
        outputs = self._pass(1, self._known)
        for given in self._known.given:
            given.close()
        self.activation, self.score = self._known.records[layer], target.score(outputs, self._known.records)

    def check(self, splits: bool) -> None:
        """Take note of what ``splits`` has found."""
        self.whole = not splits
        if self.whole:
            self._known.given.clear()

    def scores(self, altered: Tensor) -> Tensor:
        """Return the target's scores ``(N,)`` with each of ``(N, …)`` in place of what the layer gives.

        Each counts as one forward pass, which is the most it can take.
        """
        return self.target.score(*self._rest(altered, whole=self.whole))

    def splits(self) -> bool:
        """Return whether the rest alone, on two altered outputs at once, gives what the network gives for each."""
        flat, shape = self.activation.flatten(), self.activation.shape
        fading = torch.linspace(0, 1.5, len(flat)).to(flat)
        others = [(2 * flat.flip(0)).reshape(shape), (flat * fading).reshape(shape)]
        with uncounted():
            alone = [self._rest(other, whole=True) for other in others]
            try:
                together = self._rest(torch.cat(others), whole=False)
            except Exception:  # whatever the network makes of a batch whose parts it has not made
                return False
        pairs = [(torch.cat([one[0] for one in alone]), together[0])]
        if name := self.target.layer:
            pairs.append((torch.cat([one[1][name] for one in alone]), together[1][name]))
        return all(_same(one, other) for one, other in pairs)

    def _rest(self, altered: Tensor, *, whole: bool) -> Found:
        count = len(altered)
        if self.network.channels_last and altered.ndim == 4:  # another format would be a slower one
            altered = altered.contiguous(memory_format=torch.channels_last)
        if whole:
            names = [self.target.layer] if self.target.layer else []
            images = self.network.fit(self.image.expand(count, *self.image.shape[1:]))
            outputs, records = passes.replaced(self.network.module, images, self.layer, altered, names)
            return outputs, {**records, self.layer: altered}
        known = self._known
        # a hidden unit before the layer stays what it was
        records = {name: found.expand(count, *found.shape[1:]) for name, found in known.records.items()}
        playing = _Playing(known, altered, Counter(known.before), records)
        outputs = self._pass(count, playing)
        if playing.at < len(known.given):
            raise RuntimeError(f"this pass has not come to {self.layer!r}")
        return outputs, {**playing.records, self.layer: altered}

    def _pass(self, count: int, run: Callable[[str, Callable[[], Any]], Any]) -> Tensor:
        images = self.network.fit(self.image)
        shape = (count, *images.shape[1:])
        images = images.repeat(count, 1, 1, 1) if self.network.writes_input else images.expand(shape)
        with torch.inference_mode(False), torch.no_grad(), around_calls(run):
            outputs: Tensor = self.network.module(images)
        spend(forward=count)
        return outputs


def _next(calls: Counter[str], module: str) -> str:
    """Return the name of the call that has ended now."""
    calls[module] += 1
    return module if calls[module] == 1 else f"{module}#{calls[module]}"


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return nested outputs with every tensor changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)(_each(part, change) for part in value)
    if type(value) is dict:
        return {key: _each(part, change) for key, part in value.items()}
    return value


def _versions(value: Any) -> list[int]:
    """Return how often somebody has written to each tensor of nested outputs."""
    found: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(-1 if tensor.is_inference() else tensor._version)
        return tensor

    _each(value, note)
    return found


def _same(one: Tensor, other: Tensor) -> bool:
    scale = one.abs().max().clamp_min(torch.finfo(one.dtype).tiny)
    return one.shape == other.shape and bool((one - other).abs().max() <= TOLERANCE.get(one.dtype, 1e-2) * scale)
