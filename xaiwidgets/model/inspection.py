"""One traced pass over a new model: what layers it has, what it computes, and whether it can be explained at all."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from xaiwidgets.errors import InvalidModel
from xaiwidgets.model.layers import Layer
from xaiwidgets.model.short_numbers import refusal
from xaiwidgets.model.tape import Tape, recording
from xaiwidgets.surgery.trace import TraceMode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from xaiwidgets.surgery.trace import Facts


@dataclass(frozen=True)
class Inspection:
    """What one traced pass has shown.

    Attributes:
        layers: module calls that gave a tensor with one part for each image, in execution order.
        classes: number of outputs.
        pairs: (id of convolution weight, id of running mean) that can be folded.
        same: by a convolution's name, the names of all layers that gave its very output.
        facts: counts of operations, for deciding which methods apply.
        kinds: canonical kinds of all operations met.
        probabilities: the network ends in a softmax.
        largest_batch: 1 if the network takes one image at a time, else ``None``.
        repeatable: the same image gives the same scores again.
        writes_input: the network works in place on its input.
        weighted: (path of the module, kind) of convolutions and dense layers, each once, in execution order.
    """

    layers: tuple[Layer, ...]
    classes: int
    pairs: tuple[tuple[int, int], ...]
    same: Mapping[str, tuple[str, ...]]
    facts: Facts
    kinds: frozenset[str]
    probabilities: bool
    largest_batch: int | None
    repeatable: bool
    writes_input: bool
    weighted: tuple[tuple[str, str], ...] = ()


def probe_like(shape: tuple[int, int, int], count: int, like: Tensor) -> Tensor:
    """Return ``count`` reproducible standard normal images; the global random state is not used."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn((count, *shape), generator=generator).to(like)


def inspect(skeleton: nn.Module, shape: tuple[int, int, int], like: Tensor) -> Inspection:
    """Trace one pass of a hooked skeleton.

    Args:
        skeleton: private skeleton with the tape's hooks.
        shape: ``(C, H, W)`` of an input.
        like: a tensor with the device and number type of inputs.

    Raises:
        InvalidModel: the output is not a finite batch of class scores; the message says what to wrap.
    """
    pair = probe_like(shape, 2, like)
    image = pair[:1].clone()
    devices = [like.device] if like.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.inference_mode(False), torch.no_grad():
        trace = TraceMode(image, (tape := Tape()).where)
        notes = _Notes(skeleton, trace)
        tape.on_output = notes.add
        with recording(tape), trace:
            output = _run(skeleton, image, pair)
        _check_output(output)
        repeatable = _agree(skeleton(pair[:1].clone()), output)
        together = _together(skeleton, pair, output if repeatable else None)
    kept = (layer for layer in notes.layers if together is None or layer.name in together)
    return Inspection(
        layers=tuple(dataclasses.replace(layer, order=order) for order, layer in enumerate(kept)),
        classes=output.shape[1],
        pairs=tuple(trace.pairs),
        same={names[0]: tuple(names) for names in notes.same.values()},
        facts=trace.facts,
        kinds=frozenset(op.kind for op in trace.ops),
        probabilities=_is_probability(output),
        largest_batch=1 if together is None else None,
        repeatable=repeatable,
        writes_input=not torch.equal(image, pair[:1]),
        weighted=tuple(dict.fromkeys((op.path, op.kind) for op in trace.ops if op.weight is not None)),
    )


def takes_larger(skeleton: nn.Module, shape: tuple[int, int, int], like: Tensor) -> bool:
    """Return whether a network gives finite class scores for an image of twice the height and width, too.

    Args:
        skeleton: private skeleton, for this trial only: a refused image may leave it in any state.
        shape: ``(C, H, W)`` of an input.
        like: a tensor with the device and number type of inputs.
    """
    channels, height, width = shape
    image = probe_like((channels, 2 * height, 2 * width), 1, like)
    devices = [like.device] if like.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.inference_mode(False), torch.no_grad():
        try:
            output = skeleton(image)
        except Exception:
            return False
    return output.ndim == 2 and len(output) == 1 and bool(output.isfinite().all())


class _Notes:
    """Writes down every module call of the traced pass."""

    def __init__(self, skeleton: nn.Module, trace: TraceMode) -> None:
        self.trace = trace
        self.kinds = dict(skeleton.named_modules())
        self.layers: list[Layer] = []
        self.same: dict[int, list[str]] = {}

    def add(self, call: str, output: Any) -> None:
        """Note a call and what it gave; outputs that are not one tensor of one image are passed over."""
        if not isinstance(output, torch.Tensor):
            return
        module = self.kinds[call.partition("#")[0]]
        if isinstance(module, nn.modules.conv._ConvNd):
            self.same[id(output)] = [call]  # the trace holds the tensor, so its id stays its own
        elif id(output) in self.same:
            self.same[id(output)].append(call)
        if output.ndim >= 2 and output.shape[0] == 1:
            leaf = all(name == "parametrizations" for name, _ in module.named_children())
            field = self.trace.field_of(output) if output.ndim == 4 else None
            self.layers.append(Layer(call, type(module).__name__, tuple(output.shape[1:]), field, leaf, 0))


def _together(skeleton: nn.Module, pair: Tensor, single: Tensor | None) -> frozenset[str] | None:
    """Return the names of the layers that give two parts for two images, or ``None`` if the network takes one only.

    Args:
        skeleton: private skeleton with the tape's hooks.
        pair: two images.
        single: what the first gave alone, to be compared, or ``None`` if that is no fixed number.
    """
    found = set()

    def note(call: str, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.ndim >= 2 and output.shape[0] == len(pair):
            found.add(call)

    tape = Tape(on_output=note)
    try:
        with recording(tape):
            both = skeleton(pair.clone())
        right = both.ndim == 2 and len(both) == len(pair) and (single is None or _agree(both[:1], single))
    except Exception:
        return None
    return frozenset(found) if right else None


def _agree(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))


def _run(skeleton: nn.Module, image: Tensor, pair: Tensor) -> Any:
    try:
        return skeleton(image)
    except Exception as error:
        if (refused := refusal(error, image)) is not None:
            raise refused from error
        raise InvalidModel(
            f"module must map a batch of images of shape {tuple(image.shape)} to class scores; its forward raised "
            f"{type(error).__name__}: {error}. {_advice(skeleton, pair)}"
        ) from error


def _advice(skeleton: nn.Module, pair: Tensor) -> str:
    try:
        skeleton(pair.clone())
    except Exception:
        return (
            "Pass size=, mean= and std= that fit it (one mean for gray images, three for color), or wrap it so that it "
            "takes one tensor."
        )
    return (
        "It takes two images, but a picture must be scored by itself: use normalization with running statistics, or "
        "wrap the module so that it fills the batch up and returns the first row."
    )


def _check_output(output: Any) -> None:
    if not isinstance(output, torch.Tensor):
        raise InvalidModel(
            f"module must return one tensor of class scores (N, K); it returned {type(output).__name__}. Wrap it in a "
            "small nn.Module whose forward picks the scores, e.g. `return self.net(x)[0]`."
        )
    if output.ndim != 2 or output.shape[0] != 1 or output.shape[1] < 1:
        raise InvalidModel(
            f"module must return class scores of shape (N, K); for one image it returned {tuple(output.shape)}. Wrap "
            "it so that it pools or flattens to one score a class."
        )
    if not output.is_floating_point():
        raise InvalidModel(f"module must return floating-point scores; it returned {output.dtype}.")
    if not bool(output.isfinite().all()):
        short = (
            " float16 has no number above 65504: give it in bfloat16 or float32."
            if output.dtype == torch.float16
            else ""
        )
        raise InvalidModel(
            "module must return finite scores; on a random image it returned NaN or infinity. Check that its weights "
            f"are loaded and finite, and that mean= and std= are those it was trained with.{short}"
        )


def _is_probability(output: Tensor) -> bool:
    return output.shape[1] > 1 and bool((output >= 0).all()) and abs(float(output.sum()) - 1) < 1e-4
