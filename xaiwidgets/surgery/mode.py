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

from .again import Again
from .compiled import refuse_compiled
from .coverage import Coverage, check
from .gates import GATES, GateWatch
from .keeper import Keeper
from .ops import ACTIVATIONS, TELLING, Op, classify, tensors_of
from .policy import Choice, Policy, substituted
from .reach import nodes_between
from .recipes import Recipe
from .ruled import Ruled
from .rules import RULES
from .same import require_same

__all__ = ["Coverage", "SurgeryMode", "check", "refuse_compiled", "require_same"]


class SurgeryMode(TorchFunctionMode):
    """Runs each operation of a ruled kind as it is, with the recipe's rule for its backward pass.

    Use one instance for one forward pass of one thread, and leave it before asking for gradients::

        with SurgeryMode(GUIDED, where) as mode:
            scores = module(picture)            # picture.requires_grad is True
        check(GUIDED, mode.coverage, "guided_backprop")
        (gradient,) = torch.autograd.grad(scores[0, target], picture)

    Args:
        recipe: which kinds get which rule, or a policy that decides about each operation.
        where: returns the dotted path of the module that is running, ``""`` for the root.
        enough: whether all that is explained has been computed, so that what follows needs no rule.

    Errors: SurgeryError when it is entered twice, or when a gradient is asked for before it is left.
    """

    def __init__(
        self, recipe: Recipe | Policy, where: Callable[[], str], enough: Callable[[], bool] = lambda: False
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.enough = enough
        self._policy = recipe if isinstance(recipe, Policy) else None
        self._keeper = None if self._policy is None else Keeper()
        self.where = where
        self.active = False
        self._used = False
        self._names = {} if isinstance(recipe, Policy) else dict(recipe.rules)
        self._rules = {kind: RULES[name] for kind, name in self._names.items()}
        self._met: Counter[str] = Counter()
        self._ruled: Counter[str] = Counter()
        self._plain: list[tuple[str, str]] = []
        self._hidden: list[tuple[str, str]] = []
        self._strangers: list[tuple[str, str]] = []
        self._places: Counter[tuple[str, str, str]] = Counter()
        self._refused: list[tuple[str, str, Any]] = []
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
        if self._policy is not None:
            self._policy.finish()
        if self._keeper is not None:
            self._keeper.forget()

    @property
    def coverage(self) -> Coverage:
        """The receipt of the pass so far."""
        gates = [(gate.verdict, gate.path) for gate in self._gates.gates]
        plain = (*self._plain, *gates, *self._strangers)
        # what ran out of autograd's sight matters only if its result came back into the graph
        unruled = tuple(self._hidden) if self._strangers else ()
        met = tuple((name, path) for name, path, _ in self._refused)
        refused = (*met, *self._strangers) if self._policy is not None else ()
        return Coverage(dict(+self._met), dict(+self._ruled), plain, unruled, dict(self._places), refused)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in TELLING:
            return func(*args, **kwargs)
        op = classify(func, args, kwargs)
        if op is None:
            return func(*args, **kwargs)
        self._greet(op)
        grad = torch.is_grad_enabled()
        live = grad and any(tensor.requires_grad for tensor in op.inputs) and not self.enough()
        if live and self._policy is not None:
            self._policy.again = Again(func, args, kwargs, op.inputs)
        choice = self._choose(op) if live else None
        if self._keeper is not None and op.inplace:
            self._keeper.overwrite(op.inputs[0])
        if choice is not None and choice.rule is not None:
            made: list[type] = []

            def run() -> Any:
                given = func(*args, **kwargs)
                made.append(type(given))
                return given

            output = Ruled.apply(  # type: ignore[no-untyped-call]
                choice.rule, op, run, lambda: self.active, self._keeper, *op.inputs
            )
            if isinstance(output, tuple):  # autograd forgets that x.max(dim=1) has .values
                output = made[0](output)
        else:
            output = func(*args, **kwargs)
        if self._keeper is not None and op.inplace:
            self._keeper.overwritten(op.inputs[0])
        results = [op.inputs[0]] if op.kind == "setitem" else list(tensors_of(output))
        if results and (choice is None or any(result.requires_grad for result in results)):
            self._count(op, results[0], choice)
        if live and results and self._policy is not None:
            self._policy.seen(
                op, results, lambda others: func(*substituted(args, others), **substituted(kwargs, others))
            )
        if grad:  # otherwise, should a result turn up in the graph, somebody else has put it there
            self._known.update((id(result), ref(result)) for result in results)
        return output

    def _choose(self, op: Op) -> Choice:
        if self._policy is not None:
            return self._policy.choose(op, self.where())
        rule = self._rules.get(op.kind)
        return Choice("gradient") if rule is None else Choice(self._names[op.kind], rule)

    def _count(self, op: Op, output: Tensor, choice: Choice | None) -> None:
        path = self.where()
        if choice is None:
            matters = op.kind in ACTIVATIONS or op.kind in self._rules or self._policy is not None
            if not torch.is_grad_enabled() and matters:
                self._hidden.append((op.kind, path))
            return
        self._met[op.kind] += 1
        self._places[path, op.kind, choice.label or "refused"] += 1
        if choice.label is None:
            name = op.name if op.kind in {"unknown", "pointwise"} else op.kind
            self._refused.append((choice.lacks or name, path, output.grad_fn))
        if choice.rule is not None:
            self._ruled[op.kind] += 1
        elif self._policy is not None:
            pass
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

    def spare(self, source: Tensor, ends: Sequence[Tensor]) -> None:
        """Forget refusals of what does not lie between what is explained and where it is traced back to."""
        if self._refused:
            nodes = nodes_between(source, ends)
            self._refused = [refusal for refusal in self._refused if refusal[-1] in nodes]

    def start(self, image: Tensor) -> None:
        """Tell a policy which tensor the network is called with."""
        if self._policy is not None:
            self._policy.start(image)

    def _greet(self, op: Op) -> None:
        """Note tensors of the graph that no operation seen here has made: something ran past the mode."""
        for tensor in op.inputs:
            held = self._known.get(id(tensor))
            if tensor.grad_fn is None or (held is not None and held() is tensor):
                continue
            self._known[id(tensor)] = ref(tensor)
            if _age(tensor) > self._start:
                self._strangers.append((f"unseen {tensor.grad_fn.name()}", self.where()))


def _age(tensor: Tensor) -> int:
    node = tensor.grad_fn
    return 0 if node is None else int(node._sequence_nr())
