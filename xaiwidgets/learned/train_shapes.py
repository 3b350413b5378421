"""Train the net of shapes from nothing: ``python -m xaiwidgets.learned.train_shapes [--out FOLDER]``.

The same torch on the same machine gives the same bits.
"""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files
from pathlib import Path

from xaiwidgets.learned.recipes import train_steps


def main(arguments: list[str] | None = None) -> None:
    """Train the net, report its accuracy and write its weights."""
    import torch

    parser = argparse.ArgumentParser(description="Train the net of shapes and write its weights.")
    default = Path(str(files("xaiwidgets.data")))
    parser.add_argument("--out", type=Path, default=default, help="folder for shapes_gap.pt")
    out: Path = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for state in train_steps("shapes"):
        sys.stdout.write(f"epoch {state.epoch}: loss {state.losses[-1]:.4f}, accuracy {state.accuracies[-1]:.4f}\n")
    if state.model is None:
        raise RuntimeError("a finished training must hold its model")
    path = out / "shapes_gap.pt"
    torch.save(state.model.module.state_dict(), path)
    size = path.stat().st_size / 1024
    sys.stdout.write(f"held-out accuracy {state.test_accuracy:.4f}, {state.seconds:.0f} s, {size:.0f} KiB\n")


if __name__ == "__main__":
    main()
