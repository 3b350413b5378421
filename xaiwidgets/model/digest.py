"""A few digits that tell one network's weights from another's."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xaiwidgets.model.model import Model


def weights_digest(model: Model) -> str:
    """Return 16 digits that stand for all weights and buffers of a network; made once for these weights."""
    import torch

    def digest() -> str:
        found = hashlib.blake2b(digest_size=8)
        for name, value in model.module.state_dict().items():
            if isinstance(value, torch.Tensor):  # modules may keep more than tensors
                found.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
                # as bytes: numpy has no bfloat16
                found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return found.hexdigest()

    return model.remember("weights digest", digest)  # type: ignore[no-any-return]
