"""The forward pass with backward rules: a thread-local mode that changes nothing on the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import ReferenceType, ref

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from xaiwidgets.errors import SurgeryError

from .compiled import refuse_compiled
from .coverage import Coverage, check
from .gates import GATES, GateWatch
from .ops import ACTIVATIONS, Op, classify, tensors_of
from .recipes import Recipe
from .ruled import Ruled
from .rules import RULES

__all__ = ["Coverage", "SurgeryMode", "check", "refuse_compiled", "require_same"]


class SurgeryMode(TorchFunctionMode):
    """Runs each operation of a ruled kind as it is, with the recipe's rule for its backward pass.

    Use one instance for one forward pass of one thread, and leave it before asking for gradients::

        with SurgeryMode(GUIDED, where) as mode:
            scores = module(picture)            # picture.requires_grad is True
        check(GUIDED, mode.coverage, "guided_backprop")
        (gradient,) = torch.autograd.grad(scores[0, target], picture)

    Args:
        recipe: which kinds get which rule.
        where: returns the dotted path of the module that is running, ``""`` for the root.

    Errors: SurgeryError when it is entered twice, or when a gradient is asked for before it is left.
    """

    def __init__(self, recipe: Recipe, where: Callable[[], str]) -> None:
        super().__init__()
        self.recipe = recipe
        self.where = where
        self.active = False
        self._used = False
        self._rules = {kind: RULES[name] for kind, name in recipe.rules}
        self._met: Counter[str] = Counter()
        self._ruled: Counter[str] = Counter()
        self._plain: list[tuple[str, str]] = []
        self._hidden: list[tuple[str, str]] = []
        self._strangers: list[tuple[str, str]] = []
        self._gates = GateWatch()
        self._known: dict[int, ReferenceType[Tensor]] = {}
        self._start = 0

    def __enter__(self) -> SurgeryMode:
        if self._used:
            raise SurgeryError("a SurgeryMode serves one forward pass; make a new one for the next pass")
        with torch.enable_grad():  # autograd nodes older than this one belong to whoever made the picture
            self._start = _age(torch.zeros((), requires_grad=True).clone())
        self._used = self.active = True
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *reason: Any) -> None:
        super().__exit__(*reason)  # type: ignore[no-untyped-call]
        self.active = False
        self._known.clear()
        self._gates.forget()

    @property
    def coverage(self) -> Coverage:
        """The receipt of the pass so far."""
        gates = [(gate.verdict, gate.path) for gate in self._gates.gates]
        plain = (*self._plain, *gates, *self._strangers)
        # what ran out of autograd's sight matters only if its result came back into the graph
        unruled = tuple(self._hidden) if self._strangers else ()
        return Coverage(dict(+self._met), dict(+self._ruled), plain, unruled)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        op = classify(func, args, kwargs)
        if op is None:
            return func(*args, **kwargs)
        self._greet(op)
        live = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in op.inputs)
        if live and op.kind in self._rules:
            output = Ruled.apply(  # type: ignore[no-untyped-call]
                self._rules[op.kind], op, lambda: func(*args, **kwargs), lambda: self.active, *op.inputs
            )
        else:
            output = func(*args, **kwargs)
        results = list(tensors_of(output))
        if results:
            self._count(op, results[0], live)
        if torch.is_grad_enabled():  # otherwise, should a result turn up in the graph, somebody else has put it there
            self._known.update((id(result), ref(result)) for result in results)
        return output

    def _count(self, op: Op, output: Tensor, live: bool) -> None:
        path = self.where()
        if not live:
            if not torch.is_grad_enabled() and (op.kind in ACTIVATIONS or op.kind in self._rules):
                self._hidden.append((op.kind, path))
            return
        self._met[op.kind] += 1
        if op.kind in self._rules:
            self._ruled[op.kind] += 1
        elif op.kind == "unknown" or op.kind in ("pointwise", "clamp"):
            self._plain.append((op.name, path))
        elif op.kind in ACTIVATIONS and op.kind not in GATES:
            self._plain.append((op.kind, path))
        self._gates.meet(op, output, path)
        if self._gates.hand_made(op, output) and "relu6" in self._rules:
            self._met["relu6"] -= 1
            self._ruled["relu6"] -= 1
            self._met["hardsigmoid"] += 1
            self._plain.append(("hardsigmoid", path))

    def _greet(self, op: Op) -> None:
        """Note tensors of the graph that no operation seen here has made: something ran past the mode."""
        for tensor in op.inputs:
            held = self._known.get(id(tensor))
            if tensor.grad_fn is None or (held is not None and held() is tensor):
                continue
            self._known[id(tensor)] = ref(tensor)
            if _age(tensor) > self._start:
                self._strangers.append((f"unseen {tensor.grad_fn.name()}", self.where()))


def require_same(ruled: Tensor, plain: Tensor, recipe: Recipe) -> None:
    """Raise SurgeryError unless the ruled forward pass gave, bit for bit, what the plain one gives."""
    if not torch.equal(ruled, plain):
        gap = float((ruled.detach() - plain.detach()).abs().max()) if ruled.shape == plain.shape else float("nan")
        raise SurgeryError(
            f"the forward pass under {recipe.name} differs from the plain one by {gap:.3g}; expected equal scores. "
            "Put the model into eval mode; if it stays so, its forward is random or has a state: explain it by "
            "gradients without rules, such as saliency"
        )


def _age(tensor: Tensor) -> int:
    node = tensor.grad_fn
    return 0 if node is None else int(node._sequence_nr())
