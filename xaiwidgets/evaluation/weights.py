"""New weights for parts of a network: which parts there are, how they are drawn, and normalizations that follow.

This module imports torch: import it inside functions.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from xaiwidgets.errors import NotApplicable
from xaiwidgets.evaluation.prefix import Prefix
from xaiwidgets.model.moving import MovingModel, all_tensors
from xaiwidgets.model.skeleton import keep_tensors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from xaiwidgets.model.model import Model

NORMS = (nn.modules.batchnorm._BatchNorm,)
HOLDERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
#: A block that holds a larger share of all layers than this is the network itself in another wrapping.
LARGEST = 0.5


@dataclass(frozen=True)
class Stage:
    """Layers whose weights are drawn together.

    Attributes:
        name: of the block or layer. ``parts``: names of the modules that hold weights, in execution order.
    """

    name: str
    parts: tuple[str, ...]


def stages_of(model: Model, *, blocks: bool = True) -> tuple[Stage, ...]:
    """Return a network's stages in execution order: layers with the normalizations after them, or whole blocks.

    A block is the largest module around a layer that is no mere list of modules and holds at most half of all layers:
    a residual or an inception block. Weights of modules that a pass does not call are in no stage and stay as they are,
    also where another module reads them.

    Raises:
        NotApplicable: no module that a pass runs has weights.
    """
    parts = dict(model.module.named_modules())
    ran = dict.fromkeys(layer.name for layer in model.layers if layer.name in parts)
    weighted = [name for name in ran if any(True for _ in parts[name].parameters(recurse=False))]
    leaders = [name for name in weighted if not isinstance(parts[name], NORMS)]
    if not leaders:
        raise NotApplicable("randomization", "a layer with weights", f"no layer that {model.name} runs has any")
    groups: dict[str, list[str]] = {}
    last = leaders[0]
    for name in weighted:
        if not isinstance(parts[name], NORMS):
            last = _block(name, parts, leaders) if blocks else name
        elif blocks:
            last = _block(name, parts, leaders) if _block(name, parts, leaders) in groups else last
        groups.setdefault(last, []).append(name)
    return tuple(Stage(name, tuple(members)) for name, members in groups.items())


def left_out(model: Model, stages: Sequence[Stage]) -> tuple[str, ...]:
    """Return the names of the parameters that are in no stage."""
    drawn = {part for stage in stages for part in stage.parts}
    # of a parameter with several names, one that is drawn is enough
    moved = {id(value) for name, value in _named(model) if name.rpartition(".")[0] in drawn}
    return tuple(name for name, value in model.module.named_parameters() if id(value) not in moved)


def _named(model: Model) -> Iterable[tuple[str, Tensor]]:
    return model.module.named_parameters(remove_duplicate=False)


def _block(name: str, parts: dict[str, nn.Module], leaders: Sequence[str]) -> str:
    found, above = name, name
    while "." in above:
        above = above.rpartition(".")[0]
        inside = sum(other.startswith(f"{above}.") for other in leaders)
        if inside > max(LARGEST * len(leaders), 1):
            break
        if not isinstance(parts[above], HOLDERS):
            found = above
    return found


#: Bytes of weights up to which a spare copy of a network is kept.
MOST_SPARED = 256 * 2**20


class Randomizer:
    """A private copy of a network, some of whose stages have weights that were drawn anew.

    Weights are drawn as the module itself draws them (``reset_parameters``); parameters of modules that cannot are
    drawn from a normal distribution with the mean and the deviation of the trained ones, cut off at two deviations.
    A stage's weights depend on the seed and the stage only, so that a cascade adds to what is there.

    Args:
        model: the trained network; it stays as it is.
        stages: see ``stages_of``.
        seed: of the weights.
        norms: of normalizations in drawn stages: ``recalibrate`` takes mean and variance from ``probe``; ``keep`` keeps
            those of training; ``reset`` is 0 and 1. Their scale and shift become 1 and 0.
        probe: inputs ``(N, C, H, W)``.
    """

    def __init__(
        self, model: Model, stages: Sequence[Stage], seed: int, norms: str = "recalibrate", probe: Tensor | None = None
    ) -> None:
        self.stages, self.seed, self.norms, self.probe = tuple(stages), seed, norms, probe
        self._spares: list[tuple[MovingModel, nn.Module]] = model.remember("spare copies", list)
        try:
            moving, self._open = self._spares.pop()
        except IndexError:
            moving = MovingModel(model, hasty=True)
            if model.prepared.channels_last:
                _arrange(moving.module)
            # the same tensors, whose normalizations may be in training mode for one pass
            self._open = copy.deepcopy(moving.module, keep_tensors(moving.module))
        self.moving: MovingModel = moving
        self._tensors = dict(all_tensors(moving.module))
        #: Trained values of what was drawn, by the id of the private tensor: the user's module may be trained further.
        self._trained: dict[int, Tensor] = {}
        self.drawn: frozenset[int] = frozenset()
        self._prefix = None if probe is None else Prefix(self._open, probe, whole=model._stateful)
        self._parts = {part: self.moving.module.get_submodule(part) for stage in self.stages for part in stage.parts}

    def release(self) -> None:
        """Leave the private copy, with its trained weights, to the next who asks; nothing here works afterwards.

        Making one takes as long as a dozen passes of a small network. One is kept, unless it is large.
        """
        self.set(())
        size = sum(value.nbytes for value in self._tensors.values())
        if not self._spares and size <= MOST_SPARED:
            self._spares.append((self.moving, self._open))

    def set(self, chosen: Iterable[int]) -> Model:
        """Return the network with these stages drawn and all others trained; see ``MovingModel`` about its life."""
        wanted = frozenset(chosen)
        new: dict[str, Tensor] = {}
        for number in self.drawn - wanted:
            new |= {name: self._value(name) for part in self.stages[number].parts for name in self._names(part)}
        for number in sorted(wanted - self.drawn):
            for part in self.stages[number].parts:
                for name in self._names(part):
                    self._trained.setdefault(id(self._tensors[name]), self._value(name).clone())
            new |= self.weights(number)
        self.moving.set(new)
        if self.norms == "recalibrate":
            self._recalibrate([part for number in wanted for part in self.stages[number].parts])
        self.drawn = wanted
        return self.moving.model

    def weights(self, number: int) -> dict[str, Tensor]:
        """Return new weights of a stage, by name."""
        found: dict[str, Tensor] = {}
        for order, part in enumerate(self.stages[number].parts):
            module = self._parts[part]
            with torch.random.fork_rng(devices=[]):
                # of the CPU only: torch.manual_seed writes down where it was called for each GPU that there may be
                torch.default_generator.manual_seed((self.seed * 1009 + number) * 1009 + order)
                values = _draw(module, {key: self._value(f"{part}.{key}") for key in _own(module)})
            if self._is_norm(part):
                values |= {k: v for k, v in self._statistics(part, module).items() if k in dict(module.named_buffers())}
            found |= {f"{part}.{key}": value for key, value in values.items()}
        return found

    def _statistics(self, part: str, module: nn.Module) -> dict[str, Tensor]:
        if self.norms == "keep":
            return {}
        mean, var = self._tensors.get(f"{part}.running_mean"), self._tensors.get(f"{part}.running_var")
        return {} if mean is None or var is None else {
            "running_mean": torch.zeros_like(mean), "running_var": torch.ones_like(var)
        }  # fmt: skip

    def _value(self, name: str) -> Tensor:
        """Return the trained value of a parameter or buffer."""
        tensor = self._tensors[name]
        return self._trained.get(id(tensor), tensor.detach())

    def _names(self, part: str) -> list[str]:
        module = self._parts[part]
        buffers = [name for name, _ in module.named_buffers(recurse=False)] if self._is_norm(part) else []
        return [f"{part}.{key}" for key in (*_own(module), *buffers)]

    def _is_norm(self, part: str) -> bool:
        return isinstance(self._parts[part], NORMS)

    def _recalibrate(self, drawn: Sequence[str]) -> None:
        """Take the statistics of the normalizations among these parts from one pass over the probe."""
        norms = [part for part in drawn if self._is_norm(part)]
        if self._prefix is None or not norms:
            return
        there_are = self._prefix.modules
        opened = [one for part in norms if (one := there_are[part]).running_mean is not None]
        momenta = [module.momentum for module in opened]
        for module in opened:
            # of the normalization only: what it holds (timm puts dropout there) stays in evaluation mode
            module.training, module.momentum = True, 1.0
        try:
            self._prefix.run(drawn)
        finally:
            for module, momentum in zip(opened, momenta, strict=True):
                module.training, module.momentum = False, momentum
        self.moving.moved(f"{part}.running_mean" for part in norms)


def _arrange(module: nn.Module) -> None:
    """Lay out a private network's weights channels last, in which new statistics take a third less time."""
    for tensor in module.parameters():
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)


def _own(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters(recurse=False)]


def _blank(module: nn.Module) -> nn.Module:
    """Return a copy of a module for its weights to be drawn: those of training need not be copied."""
    if any(True for part in module.children() for _ in (*part.parameters(), *part.buffers())):
        return copy.deepcopy(module)  # parts of it may be drawn as well
    fresh = copy.copy(module)
    fresh._parameters = {
        key: None if value is None else nn.Parameter(torch.empty_like(value), requires_grad=False)
        for key, value in module._parameters.items()
    }
    fresh._buffers = {key: None if value is None else value.clone() for key, value in module._buffers.items()}
    return fresh


def _draw(module: nn.Module, trained: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return new values for a module's own parameters, from the global random state."""
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        fresh = _blank(module)
        with torch.no_grad():
            fresh.reset_parameters()  # type: ignore[operator]
        return {name: value.detach().clone() for name, value in fresh.named_parameters(recurse=False)}
    found = {}
    for name, value in trained.items():
        noise = nn.init.trunc_normal_(torch.empty_like(value), a=-2, b=2)
        deviation = float(value.std()) if value.numel() > 1 else 0.0
        found[name] = value.mean() + deviation * noise
    return found
