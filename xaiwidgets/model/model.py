"""``Model``: a classifier under study, and everything that touches autograd."""

from __future__ import annotations

import copy
import dataclasses
import threading
from functools import cached_property
from itertools import chain
from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from xaiwidgets.errors import InvalidLayer, InvalidModel, InvalidTarget, NotApplicable, did_you_mean
from xaiwidgets.model import passes
from xaiwidgets.model.captures import Captures
from xaiwidgets.model.head import Head, Place, Response, find_place, read_head
from xaiwidgets.model.inspection import Inspection, inspect, probe_like, takes_larger
from xaiwidgets.model.labels import Labels, numbered_labels
from xaiwidgets.model.layers import Layer, stages
from xaiwidgets.model.meter import looked_at
from xaiwidgets.model.objective_algebra import Objective
from xaiwidgets.model.passes import Gradients
from xaiwidgets.model.pictures import read_picture
from xaiwidgets.model.prepare import Prepared, prepare
from xaiwidgets.model.preprocess import Preprocessing
from xaiwidgets.model.propagate import propagate, value_start
from xaiwidgets.model.skeleton import keep_tensors, make_skeleton, stamp
from xaiwidgets.model.tail import Tail
from xaiwidgets.model.tape import install
from xaiwidgets.model.targets import EachClass, Question, Scored, Target, check_target, class_target, unit_target
from xaiwidgets.model.wrapped import LogScores, Under, without_logarithm
from xaiwidgets.surgery.ending import BeforeSoftmax
from xaiwidgets.surgery.maps import MapWatch
from xaiwidgets.surgery.mode import refuse_compiled
from xaiwidgets.surgery.smooth import RECTIFIERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.propagate import Propagation, Start
    from xaiwidgets.model.targets import Goal
    from xaiwidgets.surgery.policy import Policy
    from xaiwidgets.surgery.recipes import Recipe


#: Activations that are not on or off, for which rules made for ReLUs have no meaning. A sigmoid may be a mere gate: the
#: rules themselves decide about it, and name it if they refuse.
WITHOUT_GATE = frozenset({"silu", "gelu", "hardswish", "mish", "softplus"})


#: What is remembered of a network whatever its weights are, and however its forward pass is transformed.
LASTING = ("batch size", "larger", "pace", "pooled map")


class Model:
    """A classifier from images to class scores, explained on a private copy.

    The user's module is only read: hooks, modes, flags and folded weights live on copies that share its weights, and
    follow them when they are trained further. One Model may be used from several threads at once.

    Attributes:
        name: for people and for code that redoes a result.
        labels: names of the classes. ``preprocessing``: from photos to inputs and back.
        notes: what a user should know about this network, one sentence each.
        remarks: those of them that were not found by looking at it, but said by whoever made it.
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
        self._shared: dict[Any, Any] = {}
        self.captures: Captures | None = None
        self.remarks: tuple[str, ...] = ()
        self._exact = self._hasty = self._own = False
        self._modes: tuple[Callable[[], AbstractContextManager[Any]], ...] = ()
        self._build(lambda: make_skeleton(module))
        self.labels = self._check_labels(labels)

    def _build(self, make: Callable[[], nn.Module], known: Inspection | None = None) -> None:
        self._make = make
        now = stamp(self.module)
        with torch.inference_mode(False):
            self._plain = make()
            self._network: nn.Module = copy.deepcopy(self._plain, keep_tensors(self._plain))
        install(self._network)
        first = next((t for t in (*self._plain.parameters(), *self._plain.buffers()) if t.is_floating_point()), None)
        self._like = torch.empty(0) if first is None else first
        self.inspection: Inspection = known or inspect(self._network, self.input_shape, self._like)
        if known is None:
            self._stateful = any(buffer._version for buffer in self._plain.buffers())
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
        """What methods may need, of the names in ``engine.run.NEEDS``."""
        facts = self.inspection.facts
        found = {
            "gradient": True,
            # what was a gate may be none once it is transformed
            "relu": not self._modes and facts.relu_like > 0 and self.inspection.kinds.isdisjoint(WITHOUT_GATE),
            "rectifier": not self.inspection.kinds.isdisjoint(RECTIFIERS),
            "max_pool": facts.max_pool > 0,
            "spatial": bool(self.stages),
            "sizes": self.remember("larger", lambda: takes_larger(self._make(), self.input_shape, self._like)),
            "gap_head": self._pooled_place() is not None,
        }
        return frozenset(name for name, there in found.items() if there)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about this network, one sentence each."""
        notes = [*self.remarks]
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
            InvalidTarget: no such class or unit, or an objective, which only synthesis takes.
        """
        if isinstance(wanted, Objective):
            raise InvalidTarget(
                f"target must be a class or a unit; got the objective {wanted.text[:80]!r}. Objectives are for "
                "pictures that are made: xaiwidgets.synthesize(model, target=…)."
            )
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

    def objective(self, wanted: Any) -> Goal:
        """Return what a picture is made for: an objective looked up in this network, or else a ``target``.

        Raises:
            InvalidTarget, InvalidLayer: no such class, layer, channel or place.
        """
        return wanted.bind(self) if isinstance(wanted, Objective) else self.target(wanted)

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
            # a mode sees operations; a convolution fused with its activation is one that no mode knows
            kept, fused = self._shared, not self._modes
            bare: Prepared = kept.get(("bare", fused)) or kept.setdefault(("bare", fused), self._prepare(fused))
            if ("fast", fused, hooked) not in kept:
                module = copy.deepcopy(bare.module, keep_tensors(bare.module)) if hooked else bare.module
                if hooked:
                    install(module)
                ended = LogScores(module) if self.inspection.probabilities else module
                kept["fast", fused, hooked] = dataclasses.replace(bare, module=ended)
            return self._under(kept["fast", fused, hooked])

    def _prepare(self, fused: bool) -> Prepared:
        plain = copy.deepcopy(self._plain, keep_tensors(self._plain))
        fast = prepare(plain, self.inspection.pairs, probe_like(self.input_shape, 1, self._like), fused=fused)
        same = self.inspection.same
        folded = frozenset(name for conv in fast.folded for name in same.get(conv, (conv,)))
        return dataclasses.replace(fast, folded=folded, writes_input=self.inspection.writes_input)

    def _as_built(self, watch: MapWatch | None = None, network: nn.Module | None = None) -> Prepared:
        """The hooked copy on which nothing was folded, or another one; a ``watch`` is entered after all modes."""
        with self._lock:
            self._refresh()
            writes = self.inspection.writes_input
            module = network or self._network
            seen = module if watch is None else Under(module, lambda: watch)
            return self._under(Prepared(seen, frozenset(), "as built", channels_last=False, writes_input=writes))

    def _under(self, network: Prepared) -> Prepared:
        for mode in self._modes:
            network = dataclasses.replace(network, module=Under(network.module, mode))
        return network

    def _refresh(self) -> None:
        # MovingModel says what it has written; to look at hundreds of tensors takes a tenth of a small network's pass
        if self._own or looked_at(self.module, self._stamp):
            return
        if stamp(self.module) != self._stamp:
            self._memo.clear()
            self._shared.clear()
            self._build(self._make)

    def logits(self, images: Tensor) -> Tensor:
        """Return class scores ``(N, K)``, without a graph."""
        network = self.prepared
        return passes.forward(network.module, network.fit(images))[0]

    def probabilities(self, images: Tensor) -> Tensor:
        """Return softmax probabilities ``(N, K)``."""
        return self.logits(images).softmax(dim=1)

    def scores(self, images: Tensor, target: Scored | EachClass) -> Tensor:
        """Return the target's scores ``(N,)``, or those of several classes ``(N, classes)``, without a graph."""
        names = list(target.layers)
        network = self._for(names)
        outputs, records = passes.forward(network.module, network.fit(images), names)
        return target.score(outputs, records)

    def activations(self, images: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Return the named layers' outputs, by name."""
        names = [self.layer(name).name for name in layers]
        network = self._for(names)
        return passes.forward(network.module, network.fit(images), names)[1]

    def gap_head(self) -> Head | None:
        """Return the linear map from the mean of a map to the class scores, or ``None`` if the network has none.

        It is found by what the network does, see ``model.head``, and kept for these weights. Of a network that ends in
        a softmax, it gives the scores before it.
        """
        place, ends = self._pooled_place(), self._ends_in_softmax

        def read() -> Head | None:
            (run,) = self._trial_runs(probe_like(self.input_shape, 1, self._like))
            return None if place is None else read_head(run, place, before_softmax=ends)

        return None if place is None else self.remember("gap head", read)  # type: ignore[no-any-return]

    def _pooled_place(self) -> Place | None:
        def find() -> Place | None:
            one, other = torch.split(probe_like(self.input_shape, 2, self._like), 1)
            names = [layer.name for layer in self.layers if layer.spatial]
            first, second = self._trial_runs(one, 0.5 * other + 1)
            return find_place((first, second), frozenset(names), frozenset(stage.name for stage in self.stages))

        return self.remember("pooled map", find)  # type: ignore[no-any-return]

    @property
    def _ends_in_softmax(self) -> bool:
        return self.inspection.facts.softmax and self.inspection.facts.softmaxes == 1

    def _trial_runs(self, *images: Tensor) -> list[Callable[[MapWatch], Tensor]]:
        """Return functions that run the network on a picture, as it was built, up to a softmax at its end.

        On a copy for this trial only: forward passes may leave a state behind.
        """
        with torch.inference_mode(False):
            module = self._make()
        install(module)
        network = LogScores(module) if self.inspection.probabilities else module

        def run(watch: MapWatch, image: Tensor) -> Tensor:
            built = self._as_built(watch, network)
            ended = Under(without_logarithm(built.module), BeforeSoftmax) if self._ends_in_softmax else built.module
            with torch.random.fork_rng([self._like.device] if self._like.device.type == "cuda" else []):
                return ended(built.fit(image))  # type: ignore[no-any-return]

        return [lambda watch, image=image: run(watch, image) for image in images]  # type: ignore[misc]

    def pooled(self, images: Tensor, *, keep: bool = True) -> tuple[Tensor, Tensor]:
        """Return the maps ``(N, C, h, w)`` that the head averages, and class scores ``(N, K)``; see ``gap_head``.

        A Model that shares its passes keeps those of single pictures, unless told not to.

        Raises:
            NotApplicable: there is no such head.
        """
        head = self._own_head()
        if keep and self.captures is not None and len(images) == 1:
            return self.captures.pooled(self, images, lambda: self._pooled(images, head))
        return self._pooled(images, head)

    def _pooled(self, images: Tensor, head: Head) -> tuple[Tensor, Tensor]:
        if head.layer:
            network = self._for([head.layer])
            outputs, kept = passes.forward(network.module, network.fit(images), [head.layer])
            maps = kept[head.layer]
        else:
            found = Response(head)
            network = self._as_built(found.watch)
            outputs = passes.forward(network.module, network.fit(images))[0]
            maps = found.maps
        return maps, head.scores(maps) if head.before_softmax else outputs

    def responses(self, images: Tensor, kernels: Tensor, recipe: Recipe) -> Gradients:
        """Send class activation maps back to the images, each by its own linear kernel, under backward rules.

        Args:
            images: inputs ``(N, C, H, W)``.
            kernels: rows of the head's weights, ``(N, C)``, one an image.
            recipe: backward rules.

        Returns:
            What arrived, as ``input``: the signal starts with the map's value at each of its places. ``score`` is half
            the sum of the map's squares, of which that is the derivative.

        Raises:
            NotApplicable: there is no such head.
            SurgeryError: under the rules the network gives other scores.
        """
        response = Response(self._own_head(), kernels)
        network = self._as_built(response.watch)
        images = network.fit(images)
        self._check_forward(self._as_built().module, images, recipe)
        return passes.gradient(network.module, images, response, recipe=recipe)

    def _own_head(self) -> Head:
        head = self.gap_head()
        if head is None:
            needs = "a head of global average pooling and one linear map"
            raise NotApplicable("pooled maps", needs, f"{self.name} does not have that")
        return head

    def tail(self, image: Tensor, target: Target, layer: str) -> Tail:
        """Return the rest of the network from a layer on, to be run for many altered outputs of that layer.

        This takes one pass, which gives the layer's output and the target's score, too. See ``model.tail``.

        Args:
            image: input ``(1, C, H, W)``.
            target: what is scored.
            layer: name of a layer.
        """
        names = [self.layer(layer).name, *([target.layer] if target.layer else [])]
        network = self._for(names, hooked=True)
        found = Tail(network, image, target, names[0])
        found.check(self.remember(("tail", network.note, *names), found.splits))
        return found

    def gradient(
        self,
        images: Tensor,
        target: Scored,
        *,
        layers: Iterable[str] = (),
        wrt_input: bool = True,
        recipe: Recipe | None = None,
        early: bool = False,
    ) -> Gradients:
        """Return the target's scores on a batch, and their gradients with respect to images and named layers.

        Args:
            images: inputs ``(N, C, H, W)``.
            target: what is explained.
            layers: names of layers to give (activation, gradient) of.
            wrt_input: whether the images' gradient is wanted.
            recipe: backward rules that replace the ordinary derivative of some operations.
            early: end the pass at the last layer that is wanted; ``outputs`` is then ``(N, 0)``.
        """
        names = [self.layer(name).name for name in layers]
        if recipe is None and isinstance(target, Target) and self._shares_whole(images):
            return self._whole_gradient(images, target, names)
        if recipe is not None:
            network = self._as_built()
            images = network.fit(images)
            self._check_forward(network.module, images, recipe)
        else:
            network = self._for([*names, *target.layers])
            images = network.fit(images)
        return passes.gradient(
            network.module, images, target, layers=names, wrt_input=wrt_input, recipe=recipe, early=early
        )

    def _shares_whole(self, images: Tensor) -> bool:
        return self.captures is not None and self.captures.serves(images)

    def _whole_gradient(self, images: Tensor, target: Target, names: Sequence[str]) -> Gradients:
        """Return a pass by the picture and by all stages, kept or made now, on the network as it was built."""
        kept = self.captures or Captures(whole=True)
        found = kept.gradients(self, images, target, names)
        if found is None:
            network = self._as_built()
            found = passes.gradient(
                network.module, network.fit(images), target, layers=[*self._stages_of(target), *names]
            )
            kept.keep(self, images, target, found)
        return found

    def _stages_of(self, target: Target) -> list[str]:
        """Return the names of the stages that come before what is explained."""
        end = self.layer(target.layer).order if target.layer else float("inf")
        return [stage.name for stage in self.stages if stage.order < end]

    def propagate(
        self,
        images: Tensor,
        target: Target,
        policy: Callable[[], Policy],
        *,
        start: Start = value_start,
        layers: Iterable[str] = (),
        wrt_input: bool = True,
    ) -> tuple[Propagation, Policy]:
        """Run a batch forward under a policy and send one or more signals back, each operation by its own rule.

        The pass runs on the copy whose BatchNorm is folded into the convolutions before it, so that a convolution and
        its normalization count as one layer; where a named layer lies between the two, on the network as it was built.
        Of a network that ends in a softmax, the scores before it are explained.

        Args:
            images: inputs ``(N, C, H, W)``.
            target: what is explained.
            policy: makes the policy of one pass.
            start: makes the signals from what the target reads (logits, or a hidden layer's output) and its scores.
            layers: names of layers at which the signals are wanted, too.
            wrt_input: whether the signals are wanted at the images.

        Returns:
            What arrived, and the policy that was used, with what it has written down.

        Raises:
            SurgeryError: under the policy the network gives other scores.
        """
        asked = names = [self.layer(name).name for name in layers]
        made = policy()
        ends = self._ends_in_softmax and not target.layer
        whole = made.ordinary and wrt_input and not ends and self._shares_whole(images)
        if whole:
            names = list(dict.fromkeys([*names, *self._stages_of(target)]))
        network = self._for([*names, target.layer] if target.layer else names, hooked=True)
        images = network.fit(images)
        module = network.module
        if ends:
            module = Under(without_logarithm(module), BeforeSoftmax)
        key = ("forward checked", made.key, network.note)
        if key not in self._memo:
            passes.check_forward(module, images[:2], policy())
            self._memo[key] = True
        found = propagate(module, images, target, made, start=start, layers=names, wrt_input=wrt_input)
        if whole and self.captures is not None and len(found.starts) == 1:
            pairs = {name: (found.activations[name], found.layers[name][0]) for name in names}
            self.captures.keep(self, images, target, Gradients(found.score, found.outputs, found.inputs[0], pairs))
            found = dataclasses.replace(found, layers={name: found.layers[name] for name in asked})
        return dataclasses.replace(found, before_softmax=ends), made

    def _for(self, names: Sequence[str], *, hooked: bool = False) -> Prepared:
        """Return the fastest private network that can give these layers."""
        if self._exact:
            return self._as_built()
        if not names and not hooked:
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
            memo = self._shared if _is_of(key, *LASTING) else self._memo
            if key not in memo:
                memo[key] = make()
            return memo[key]

    def _view(self) -> Model:
        """Return a shallow copy; one of a network that only its holder writes to looks for itself from now on."""
        view = copy.copy(self)
        if self._own:
            view._own, view._stamp = False, stamp(self.module)
        return view

    def with_weights(
        self, change: Callable[[str, Tensor], Tensor] | Mapping[str, Tensor], *, quick: bool = False
    ) -> Model:
        """Return a Model of the same network with other weights; neither this one nor the user's module changes.

        Args:
            change: the new tensor from a parameter's or buffer's name and value, or new tensors by name.
            quick: take over what is known of this network in place of tracing and measuring it anew, for methods that
                run over many sets of weights; nobody looks whether the scores are finite.
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

        other = self._view()
        other._lock, other._memo, other._shared = threading.RLock(), {}, {}
        other.captures = None if self.captures is None else Captures()
        if quick:
            with self._lock:
                self._refresh()
                changed = make_skeleton(self.module, change)
                # a forward pass that writes to buffers needs some of its own
                plain = make_skeleton(changed) if self._stateful else changed
                other.module = changed
                other._build(lambda: plain, _moved(self.inspection, self._plain, plain))
                other._shared = {k: v for k, v in self._shared.items() if _is_of(k, *LASTING)}
                other._memo = {k: v for k, v in self._memo.items() if _is_of(k, "forward checked")}
            other._make = lambda: make_skeleton(changed)
            return other
        changed = make_skeleton(self.module, change)
        other.module = changed
        other._build(lambda: make_skeleton(changed))
        return other

    def transformed(self, mode: Callable[[], AbstractContextManager[Any]], how: str) -> Model:
        """Return a view of this Model whose forward passes run under a mode that replaces some of its operations.

        Layers keep their names, and every method works on the view.

        Args:
            mode: makes the context of one forward pass, such as a ``TorchFunctionMode``.
            how: what it does, to be read after the model's name: ``with softplus``.
        """
        view = self._view()
        view.name = f"{self.name} {how}"
        view._modes, view._memo = (*self._modes, mode), {}
        view.captures = None if self.captures is None else Captures()
        return view

    def exactly(self) -> Model:
        """Return a view of this Model whose gradients are taken on the network as it was built, bit for bit.

        Folding BatchNorm changes rounding, and a ReLU at the edge then opens or shuts: in float32 the gradient of a
        deep network can move by percents of its maximum, though neither is nearer to the truth.
        """
        if self._hasty:
            return self
        view = self._view()
        view._exact = True
        return view

    def sharing(self, *, whole: bool = False) -> Model:
        """Return a view of this Model that keeps its last passes: one capture of all stages serves every layer.

        With ``whole``, one pass there and back serves all methods that need no more than ordinary gradients of one
        target and a picture that the view's ``captures`` were told to admit: saliency, gradient × input, class
        activation maps of all layers, and FullGrad if it is the first. It is made on the network as it was built (see
        ``exactly``), also for the maps of layers.
        """
        view = self._view()
        view.captures = Captures(whole)
        return view

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.input_shape))
        return f"Model({self.name!r}, input {shape}, {self.classes} classes, {len(self.layers)} layers)"


def _is_of(key: Any, *kinds: str) -> bool:
    return (key[0] if isinstance(key, tuple) else key) in kinds


def _moved(inspection: Inspection, old: nn.Module, new: nn.Module) -> Inspection:
    """Return what an inspection has shown for a copy of the network: the same, about other tensors."""
    tensors = zip(chain(old.parameters(), old.buffers()), chain(new.parameters(), new.buffers()), strict=True)
    ids = {id(one): id(other) for one, other in tensors}
    pairs = tuple((ids[weight], ids[mean]) for weight, mean in inspection.pairs if weight in ids and mean in ids)
    return dataclasses.replace(inspection, pairs=pairs)
