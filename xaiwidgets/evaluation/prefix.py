"""Passes of a private network over the same input, whose later parts change: what comes before them runs once.

This module imports torch: import it inside functions.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from xaiwidgets.model.moving import all_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from torch import Tensor

#: Bytes of outputs that are kept, at most; modules beyond that run again.
MOST_KEPT = 256 * 2**20


class Prefix:
    """Runs a network on one input while the weights of its later modules change.

    A module that runs once, and ends before the first one that changed begins, gives what it gave the last time: its
    output is kept, and handed out as a copy, since what follows may write into it. Others may read a module's weights
    before it begins: the first operation on one of them counts as its beginning.

    Args:
        network: private, in evaluation mode but for what changes.
        probe: the input ``(N, C, H, W)``.
        whole: run all of it each time, since its modules keep something from pass to pass.

    Attributes:
        modules: of the network, by name.
    """

    def __init__(self, network: nn.Module, probe: Tensor, *, whole: bool = False) -> None:
        self.network, self.probe, self.whole = network, probe, whole
        self.modules = dict(network.named_modules())
        self._tensors = {
            name: frozenset(id(tensor) for _, tensor in all_tensors(module)) for name, module in self.modules.items()
        }
        self._begin: dict[str, int] = {}
        self._end: dict[str, int] = {}
        self._read: dict[str, int] = {}
        self._calls = dict.fromkeys(self.modules, 0)
        self._kept: dict[str, Tensor] = {}

    def run(self, changed: Collection[str]) -> None:
        """Run a pass after these modules have changed since the network was trained, and others have not."""
        with ExitStack() as undo, torch.no_grad():
            if not self._end:
                self._watch(undo)
            elif not self.whole:
                self._skip(changed, undo)
            self.network(self.probe.clone())

    def _watch(self, undo: ExitStack) -> None:
        """Write down when each module begins and ends, and when its weights are read, in the pass that follows."""
        clock = iter(range(2**62))

        def begin(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, given: Any) -> None:
                self._begin[name] = next(clock)

            return hook

        def end(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, given: Any, output: Any) -> None:
                self._end[name] = next(clock)
                self._calls[name] += 1

            return hook

        for name, module in self.modules.items():
            undo.callback(module.register_forward_pre_hook(begin(name)).remove)
            undo.callback(module.register_forward_hook(end(name)).remove)
        undo.enter_context(_Reads(self.modules, self._read, clock))

    def _first(self, name: str) -> int:
        """Return when a pass first depends on a module's weights; 0 if it was not seen to."""
        return min((times[name] for times in (self._begin, self._read) if name in times), default=0)

    def _skip(self, changed: Collection[str], undo: ExitStack) -> None:
        """Let modules that nothing has changed for hand out what they gave, in the pass that follows."""
        first = min(map(self._first, changed), default=0)
        moved = frozenset().union(*(self._tensors[name] for name in changed))
        before = dict(self._before("", self.network, first, moved))
        self._kept = {name: output for name, output in self._kept.items() if name in before}
        for name, module in before.items():
            if name in self._kept:
                output = self._kept[name]
                module.forward = lambda *given, _output=output, **more: _output.clone()
                undo.callback(module.__dict__.pop, "forward")
            else:
                undo.callback(module.register_forward_hook(self._keep(name)).remove)

    def _before(
        self, name: str, module: nn.Module, first: int, moved: frozenset[int]
    ) -> Iterator[tuple[str, nn.Module]]:
        """Yield the outermost modules that can be skipped, by name."""
        whole = (
            name
            and self._calls[name] == 1
            and self._end[name] < first
            and "forward" not in module.__dict__
            and not isinstance(module, torch.jit.ScriptModule)
            and self._tensors[name]
            and moved.isdisjoint(self._tensors[name])
        )
        if whole:
            yield name, module
            return
        for key, part in module.named_children():
            inner = f"{name}.{key}" if name else key
            if inner in self.modules:  # the second name of a module is not there
                yield from self._before(inner, part, first, moved)

    def _keep(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            if type(output) is torch.Tensor and self._held() + output.nbytes <= MOST_KEPT:
                self._kept[name] = output.clone()

        return hook

    def _held(self) -> int:
        return sum(output.nbytes for output in self._kept.values())


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down when the weights of each module are first read, by whomever."""

    def __init__(self, modules: Mapping[str, nn.Module], times: dict[str, int], clock: Iterator[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.times, self.clock = times, clock
        self._names: dict[int, list[str]] = {}
        for name, module in modules.items():
            for place in {_place(tensor) for _, tensor in all_tensors(module)} - {0}:
                self._names.setdefault(place, []).append(name)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for given in tree_leaves((args, kwargs)):
            names = self._names.pop(_place(given), ()) if isinstance(given, torch.Tensor) else ()
            for name in names:
                self.times.setdefault(name, next(self.clock))
        return func(*args, **(kwargs or {}))


def _place(tensor: Tensor) -> int:
    """Return where a tensor's numbers lie, which views of it share; 0 if it holds none."""
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else 0
