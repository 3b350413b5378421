"""``Model``: a classifier under study, and everything that touches autograd."""

from __future__ import annotations

import copy
import dataclasses
import threading
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from xaiwidgets.errors import InvalidLayer, InvalidModel, InvalidTarget, did_you_mean
from xaiwidgets.model import passes
from xaiwidgets.model.captures import Captures
from xaiwidgets.model.inspection import Inspection, inspect, probe_like
from xaiwidgets.model.labels import Labels, numbered_labels
from xaiwidgets.model.layers import Layer, stages
from xaiwidgets.model.meter import looked_at
from xaiwidgets.model.pictures import read_picture
from xaiwidgets.model.prepare import Prepared, prepare
from xaiwidgets.model.preprocess import Preprocessing
from xaiwidgets.model.skeleton import keep_tensors, make_skeleton, stamp
from xaiwidgets.model.tape import install
from xaiwidgets.model.targets import Question, Target, check_target, class_target, unit_target
from xaiwidgets.surgery.mode import refuse_compiled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.passes import Gradients
    from xaiwidgets.surgery.recipes import Recipe


#: Activations that are not on or off, for which rules made for ReLUs have no meaning. A sigmoid may be a mere gate: the
#: rules themselves decide about it, and name it if they refuse.
WITHOUT_GATE = frozenset({"silu", "gelu", "hardswish", "mish", "softplus"})


class LogScores(nn.Module):
    """A network that ends in a softmax, with the logarithm of its probabilities as its scores."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return log probabilities ``(N, K)``."""
        outputs = self.network(images)
        return outputs.clamp_min(torch.finfo(outputs.dtype).tiny).log()  # type: ignore[no-any-return]


class Model:
    """A classifier from images to class scores, explained on a private copy.

    The user's module is only read: hooks, modes, flags and folded weights live on copies that share its weights, and
    follow them when they are trained further. One Model may be used from several threads at once.

    Attributes:
        name: for people and for code that redoes a result.
        labels: names of the classes. ``preprocessing``: from photos to inputs and back.
        notes: what a user should know about this network, one sentence each.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        labels: Labels | Sequence[str] | None = None,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        size: int | tuple[int, int] = 224,
        crop: float = 0.875,
        interpolation: str = "bicubic",
        name: str = "",
    ) -> None:
        if not isinstance(module, nn.Module):
            raise InvalidModel(f"module must be a torch.nn.Module; got {type(module).__name__}.")
        refuse_compiled(module)
        self.module = module
        self.name = name or type(module).__name__
        pair: Any = (size, size) if isinstance(size, Integral) else size
        colors: tuple[Any, Any] = (mean, std)
        self.preprocessing = Preprocessing(pair, *colors, crop, interpolation)
        self._lock = threading.RLock()
        self._memo: dict[Any, Any] = {}
        self.captures: Captures | None = None
        self._exact = False
        self._build(lambda: make_skeleton(module))
        self.labels = self._check_labels(labels)

    def _build(self, make: Callable[[], nn.Module]) -> None:
        self._make = make
        now = stamp(self.module)
        with torch.inference_mode(False):
            self._plain = make()
            self._network: nn.Module = copy.deepcopy(self._plain, keep_tensors(self._plain))
        install(self._network)
        first = next((t for t in (*self._plain.parameters(), *self._plain.buffers()) if t.is_floating_point()), None)
        self._like = torch.empty(0) if first is None else first
        self.inspection: Inspection = inspect(self._network, self.input_shape, self._like)
        if self.inspection.probabilities:
            self._network = LogScores(self._network)
        for name in ("stages", "_by_name"):
            self.__dict__.pop(name, None)
        self._stamp = now

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of an input."""
        return self.preprocessing.channels, *self.preprocessing.size

    @property
    def classes(self) -> int:
        """How many class scores the network gives."""
        return self.inspection.classes

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All module calls that give a tensor, in execution order."""
        return self.inspection.layers

    @cached_property
    def stages(self) -> tuple[Layer, ...]:
        """A slider-sized list of spatial layers that stand for the network's depth."""
        return stages(self.layers)

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @property
    def offers(self) -> frozenset[str]:
        """What methods may need: ``gradient``, ``relu``, ``max_pool``, ``spatial``."""
        facts = self.inspection.facts
        found = {
            "gradient": True,
            "relu": facts.relu_like > 0 and self.inspection.kinds.isdisjoint(WITHOUT_GATE),
            "max_pool": facts.max_pool > 0,
            "spatial": bool(self.stages),
        }
        return frozenset(name for name, there in found.items() if there)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about this network, one sentence each."""
        notes = []
        if self.inspection.probabilities:
            notes.append("The network ends in a softmax: log probabilities are explained in place of logits.")
        if self.inspection.largest_batch == 1:
            notes.append("The network takes one image at a time: methods of many passes are slower.")
        if not self.inspection.repeatable:
            notes.append(
                "The network gives other scores each time it sees a picture (chance or a state): so do its maps."
            )
        if not self.stages:
            notes.append("No layer gives a spatial map: class activation maps do not apply.")
        return tuple(notes)

    def layer(self, name: str, *, spatial: bool = False) -> Layer:
        """Return the layer with this name; an empty name is the last spatial stage.

        Raises:
            InvalidLayer: no such layer, or (with ``spatial``) one without a spatial map.
        """
        if not name:
            if self.stages:
                return self.stages[-1]
            raise InvalidLayer("layer must give a spatial map, and no layer of this network does.")
        layer = self._by_name.get(name) if isinstance(name, str) else None
        if layer is None:
            raise InvalidLayer(
                f"layer must be one of the {len(self.layers)} in model.layers; got {name!r}."
                f"{did_you_mean(name, self._by_name, 10)}"
            )
        if spatial and len(layer.shape) != 3:
            raise InvalidLayer(
                f"layer must give a spatial map (channels, rows, columns); {name!r} gives {layer.shape}. "
                f"These do: {', '.join(stage.name for stage in self.stages)}."
            )
        return layer

    def target(self, wanted: Any = None, images: Tensor | None = None) -> Target:
        """Return the target for a class (index, name, WordNet id), several, a ``Target``, or ``None`` for the top-1.

        Raises:
            InvalidTarget: no such class or unit.
        """
        if isinstance(wanted, Target):
            return check_target(wanted, self.labels, self.layer(wanted.layer).shape if wanted.layer else ())
        if isinstance(wanted, Question):
            if not wanted.layer:
                several = wanted.classes[0] if len(wanted.classes) == 1 else wanted.classes
                return class_target(self.labels, several, wanted.minus)
            return unit_target(wanted, self.layer(wanted.layer).shape)
        if wanted is None:
            if images is None:
                raise InvalidTarget("target None means the top-1 class of an image, and no image was given.")
            return class_target(self.labels, int(self.logits(images)[0].argmax()))
        return class_target(self.labels, wanted)

    def unit(self, layer: str, channel: Any, position: str | tuple[int, int] = "mean") -> Target:
        """Return the target for one channel of a layer; where a layer gives one score a class, a label will do.

        Raises:
            InvalidTarget: no such channel or position.
        """
        found = self.layer(layer)
        if found.shape == (self.classes,) and not isinstance(channel, int):
            channel = self.labels.index(channel)
        return unit_target(Question(layer=found.name, channel=channel, position=position), found.shape)

    def _check_labels(self, labels: Labels | Sequence[str] | None) -> Labels:
        if labels is None:
            return numbered_labels(self.classes)
        found = labels if isinstance(labels, Labels) else Labels(tuple(map(str, labels)))
        if len(found) != self.classes:
            raise InvalidModel(f"labels must name the network's {self.classes} classes; got {len(found)} names.")
        return found

    @property
    def like(self) -> Tensor:
        """A tensor with the device and the number type of the network's weights."""
        return self._like

    # -- from photos to inputs ----------------------------------------------------------------------------------

    def input(self, image: Any) -> Tensor:
        """Return the network's input ``(1, C, H, W)`` for anything that ``read_picture`` takes."""
        return self.from_pixels(self.preprocessing.pixels(read_picture(image)))

    def from_pixels(self, pixels: NDArray[np.float32]) -> Tensor:
        """Return the input ``(1, C, H, W)`` for pixels ``(H, W, C)`` in [0, 1] at the model's size."""
        tensor = torch.from_numpy(self.preprocessing.normalize(pixels).copy()).permute(2, 0, 1)[None]
        return tensor.to(self._like).contiguous(memory_format=torch.channels_last)

    def to_pixels(self, images: Tensor) -> NDArray[np.float32]:
        """Return pixels ``(H, W, C)`` for the first of a batch of inputs; the inverse of ``from_pixels``."""
        values: NDArray[np.float32] = images[0].detach().permute(1, 2, 0).float().cpu().numpy()
        return self.preprocessing.denormalize(values)

    # -- passes -------------------------------------------------------------------------------------------------

    @property
    def prepared(self) -> Prepared:
        """The fast copy without hooks; made on first use, and anew when the user's weights have changed."""
        return self._fast(hooked=False)

    def _fast(self, *, hooked: bool) -> Prepared:
        with self._lock, torch.inference_mode(False):
            self._refresh()
            bare: Prepared = self._memo.get("bare") or self._memo.setdefault("bare", self._prepare())
            if ("fast", hooked) not in self._memo:
                module = copy.deepcopy(bare.module, keep_tensors(bare.module)) if hooked else bare.module
                if hooked:
                    install(module)
                ended = LogScores(module) if self.inspection.probabilities else module
                self._memo["fast", hooked] = dataclasses.replace(bare, module=ended)
            return self._memo["fast", hooked]  # type: ignore[no-any-return]

    def _prepare(self) -> Prepared:
        plain = copy.deepcopy(self._plain, keep_tensors(self._plain))
        fast = prepare(plain, self.inspection.pairs, probe_like(self.input_shape, 1, self._like))
        same = self.inspection.same
        folded = frozenset(name for conv in fast.folded for name in same.get(conv, (conv,)))
        return dataclasses.replace(fast, folded=folded, writes_input=self.inspection.writes_input)

    def _as_built(self) -> Prepared:
        """The hooked copy on which nothing was folded."""
        with self._lock:
            self._refresh()
            writes = self.inspection.writes_input
            return Prepared(self._network, frozenset(), "as built", channels_last=False, writes_input=writes)

    def _refresh(self) -> None:
        if looked_at(self):
            return
        if stamp(self.module) != self._stamp:
            self._memo.clear()
            self._build(self._make)

    def logits(self, images: Tensor) -> Tensor:
        """Return class scores ``(N, K)``, without a graph."""
        network = self.prepared
        return passes.forward(network.module, network.fit(images))[0]

    def probabilities(self, images: Tensor) -> Tensor:
        """Return softmax probabilities ``(N, K)``."""
        return self.logits(images).softmax(dim=1)

    def scores(self, images: Tensor, target: Target) -> Tensor:
        """Return the target's scores ``(N,)``, without a graph."""
        names = [target.layer] if target.layer else []
        network = self._for(names)
        outputs, records = passes.forward(network.module, network.fit(images), names)
        return target.score(outputs, records)

    def activations(self, images: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Return the named layers' outputs, by name."""
        names = [self.layer(name).name for name in layers]
        network = self._for(names)
        return passes.forward(network.module, network.fit(images), names)[1]

    def gradient(
        self,
        images: Tensor,
        target: Target,
        *,
        layers: Iterable[str] = (),
        wrt_input: bool = True,
        recipe: Recipe | None = None,
    ) -> Gradients:
        """Return the target's scores on a batch, and their gradients with respect to images and named layers.

        Args:
            images: inputs ``(N, C, H, W)``.
            target: what is explained.
            layers: names of layers to give (activation, gradient) of.
            wrt_input: whether the images' gradient is wanted.
            recipe: backward rules that replace the ordinary derivative of some operations.
        """
        names = [self.layer(name).name for name in layers]
        if recipe is not None:
            network = self._as_built()
            images = network.fit(images)
            self._check_forward(network.module, images, recipe)
        else:
            network = self._for([*names, target.layer] if target.layer else names)
            images = network.fit(images)
        return passes.gradient(network.module, images, target, layers=names, wrt_input=wrt_input, recipe=recipe)

    def _for(self, names: Sequence[str]) -> Prepared:
        """Return the fastest private network that can give these layers."""
        if self._exact:
            return self._as_built()
        if not names:
            return self.prepared
        fast = self._fast(hooked=True)
        return fast if fast.folded.isdisjoint(names) else self._as_built()

    def _check_forward(self, network: nn.Module, images: Tensor, recipe: Recipe) -> None:
        """Compare the ruled forward with the plain one, once a recipe."""
        key = ("forward checked", recipe)
        if key in self._memo:
            return
        passes.check_forward(network, images[:1], recipe)
        self._memo[key] = True

    def remember(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what ``make`` gave for this key, made once for these weights (e.g. a measured batch size)."""
        with self._lock:
            self._refresh()
            if key not in self._memo:
                self._memo[key] = make()
            return self._memo[key]

    def with_weights(self, change: Callable[[str, Tensor], Tensor] | Mapping[str, Tensor]) -> Model:
        """Return a Model of the same network with other weights; neither this one nor the user's module changes.

        Args:
            change: the new tensor from a parameter's or buffer's name and value, or new tensors by name.
        """
        if not callable(change):
            new = dict(change)
            known = {n for n, _ in self.module.named_parameters()} | {n for n, _ in self.module.named_buffers()}
            for name in new:
                if name not in known:
                    raise InvalidModel(
                        f"weights must be named as in the module; got {name!r}.{did_you_mean(name, known)}"
                    )

            def change(name: str, value: Tensor) -> Tensor:
                return new.get(name, value)

        other = copy.copy(self)
        other._lock, other._memo = threading.RLock(), {}
        other.captures = None if self.captures is None else Captures()
        changed = make_skeleton(self.module, change)
        other.module = changed
        other._build(lambda: make_skeleton(changed))
        return other

    def exactly(self) -> Model:
        """Return a view of this Model whose gradients are taken on the network as it was built, bit for bit.

        Folding BatchNorm changes rounding, and a ReLU at the edge then opens or shuts: in float32 the gradient of a
        deep network can move by percents of its maximum, though neither is nearer to the truth.
        """
        view = copy.copy(self)
        view._exact = True
        return view

    def sharing(self) -> Model:
        """Return a view of this Model that keeps its last passes: one capture of all stages serves every layer."""
        view = copy.copy(self)
        view.captures = Captures()
        return view

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.input_shape))
        return f"Model({self.name!r}, input {shape}, {self.classes} classes, {len(self.layers)} layers)"
