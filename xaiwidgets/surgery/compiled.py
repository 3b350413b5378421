"""Finds modules whose operations cannot be seen one by one, before any work is done on them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import torch

from xaiwidgets.errors import InvalidModel

if TYPE_CHECKING:
    from torch import nn


def refuse_compiled(module: nn.Module) -> None:
    """Raise InvalidModel if the module, or any module in it, is scripted, traced or compiled.

    Such a module runs its own graph, past every rule: its gradient would silently be the plain one.
    """
    for path, part in module.named_modules():
        how = _hidden(part)
        if how is not None:
            place = f"its part {path!r}" if path else "it"
            raise InvalidModel(
                f"expected an eager torch.nn.Module, but {place} is {how} ({type(part).__name__}), whose operations "
                "cannot be seen; give the original module, before torch.jit.script, torch.jit.trace or torch.compile"
            )


def _hidden(part: nn.Module) -> str | None:
    if isinstance(part, torch.jit.ScriptModule):
        return "scripted or traced"
    if any(isinstance(value, torch.jit.ScriptFunction) for value in vars(part).values()):
        return "using a scripted function"
    frame = sys.modules.get("torch._dynamo.eval_frame")  # not imported: without it nothing can be compiled
    if frame is not None and isinstance(part, frame.OptimizedModule):
        return "compiled"
    if getattr(part, "_compiled_call_impl", None) is not None or hasattr(part.forward, "_torchdynamo_orig_callable"):
        return "compiled in place"
    return None
