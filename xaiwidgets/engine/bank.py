"""Fitted signal directions of a network's units: kept for its weights, saved and read back."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from xaiwidgets.errors import XaiError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from torch import Tensor

    from xaiwidgets.model.model import Model

#: What stands in a file, so that other ``.npz`` files are told apart.
FORMAT = "xaiwidgets patterns 1"


class WrongPatterns(XaiError, ValueError):  # noqa: N818
    """Patterns of another network, or a file that holds none."""


@dataclass(frozen=True, eq=False)
class Direction:
    """Signal directions of the units of one weighted operation, shaped like its weights; zeros for dead units.

    Attributes:
        linear: of the linear estimator, ``cov[x, y] / wᵀcov[x, y]``.
        gated: of the two-component estimator, where a ReLU follows, else ``None``.
        patches: on how many samples they rest.
    """

    linear: Tensor
    gated: Tensor | None
    patches: int

    def of(self, estimator: str) -> Tensor:
        """Return those of ``relu``, the two-component estimator wherever there is a ReLU, or of ``linear``."""
        return self.linear if self.gated is None or estimator == "linear" else self.gated


@dataclass(frozen=True, eq=False)
class PatternBank:
    """Signal directions of all units of a network (Kindermans et al. 2018).

    Attributes:
        directions: by name of the weighted operation (``name#2`` for a module's second run).
        weights: digest of the network's weights.
        source: on which pictures they rest, in words.
    """

    directions: Mapping[str, Direction]
    weights: str
    source: str

    def patterns(self, estimator: str = "relu") -> dict[str, Tensor]:
        """Return the directions by name of the operation; ``estimator`` is ``relu`` or ``linear``."""
        return {name: direction.of(estimator) for name, direction in self.directions.items()}

    def dead(self, estimator: str = "relu") -> tuple[int, int]:
        """Return how many units have no direction, and how many there are."""
        found = [pattern.flatten(1) for pattern in self.patterns(estimator).values()]
        return sum(int((one == 0).all(dim=1).sum()) for one in found), sum(len(one) for one in found)

    def sentence(self, estimator: str = "relu") -> str:
        """Return in words what the directions rest on."""
        dead, units = self.dead(estimator)
        counts = [direction.patches for direction in self.directions.values()]
        spread = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
        return (
            f"Signal directions rest on {self.source}, {spread} patches a layer; {dead:,} of {units:,} units fired too "
            "rarely or evenly to have one."
        )

    def check(self, model: Model) -> None:
        """Raise WrongPatterns unless the bank was fitted for this network's weights."""
        if digest(model) != self.weights:
            raise WrongPatterns(
                f"patterns must be those of the network's own weights; these were fitted for others than "
                f"{model.name} has now. Fit them anew with xaiwidgets.fit_patterns(model, images)."
            )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the bank to a ``.npz`` file.

        Raises:
            WrongPatterns: the path ends otherwise.
        """
        target = Path(os.fsdecode(path))
        if target.suffix != ".npz":
            raise WrongPatterns(f"path must end in .npz; got {target.name!r}.")
        arrays: dict[str, Any] = {}
        rows = []
        for number, (name, direction) in enumerate(self.directions.items()):
            arrays[f"linear{number}"] = _array(direction.linear)
            if direction.gated is not None:
                arrays[f"gated{number}"] = _array(direction.gated)
            rows.append([name, direction.patches])
        head = {"format": FORMAT, "weights": self.weights, "source": self.source, "operations": rows}
        with target.open("wb") as file:
            np.savez(file, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> PatternBank:
        """Return the bank in a file; nothing in the file is run.

        Raises:
            WrongPatterns: it cannot be read, or holds something else.
        """
        try:
            with np.load(Path(os.fsdecode(path)), allow_pickle=False) as file:
                head = json.loads(file["head"].tobytes())
                if head["format"] != FORMAT:
                    raise ValueError(f"its format is {head['format']!r}")
                found = {
                    str(name): Direction(
                        torch.from_numpy(file[f"linear{number}"]),
                        torch.from_numpy(file[f"gated{number}"]) if f"gated{number}" in file else None,
                        int(patches),
                    )
                    for number, (name, patches) in enumerate(head["operations"])
                }
                return cls(found, str(head["weights"]), str(head["source"]))
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise WrongPatterns(
                f"path must be a file that PatternBank.save wrote; {os.fsdecode(path)!r} is none ({error})."
            ) from error


def digest(model: Model) -> str:
    """Return the SHA-256 of all weights and statistics of a network, with their names, shapes and types."""
    found = hashlib.sha256()
    for name, tensor in chain(model.module.named_parameters(), model.module.named_buffers()):
        value = tensor.detach().contiguous().cpu()
        found.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return found.hexdigest()


def _array(values: Tensor) -> np.ndarray[Any, Any]:
    plain = values.detach().cpu()
    return np.asarray(plain.numpy() if plain.dtype in {torch.float32, torch.float64} else plain.float().numpy())
