"""Train the two digit nets from nothing: ``python -m xaiwidgets.data.train_digits [--out FOLDER]``.

Each epoch sees fresh canvases of the training digits, so the recipe was chosen without the held-out ones. The same
torch on the same machine gives the same bits.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from xaiwidgets.data.digit_nets import MEAN, NETS, STD
from xaiwidgets.data.digits import digits

BATCH = 64
EPOCHS = {"digits_gap": 16, "digits_vgg": 20}
PEAK_RATE = {"digits_gap": 8e-3, "digits_vgg": 4e-3}
WEIGHT_DECAY = 1e-2


def train(name: str, seed: int = 0) -> nn.Sequential:
    """Return the trained net in evaluation mode: AdamW, one cycle, cross-entropy, 2,500 fresh canvases an epoch."""
    torch.manual_seed(seed)
    net = NETS[name]().train()
    steps = -(-2500 // BATCH) * EPOCHS[name]
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE[name], total_steps=steps)
    for epoch in range(EPOCHS[name]):
        canvases = digits("single", "train", seed=1000 * (seed + 1) + epoch)
        images, labels = normalize(torch.tensor(canvases.images)), torch.tensor(canvases.labels)
        for batch in torch.split(torch.randperm(len(images)), BATCH):
            loss = nn.functional.cross_entropy(net(warp(images[batch])), labels[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return net.eval()


def normalize(images: Tensor) -> Tensor:
    """Return what the nets take, ``(N, 1, 48, 48)``, from canvases ``(N, 48, 48)`` in [0, 1]."""
    return ((images - MEAN) / STD).unsqueeze(1)


def warp(images: Tensor) -> Tensor:
    """Return the canvases turned, stretched, slanted and shifted a little at random."""
    count = len(images)
    change = (torch.rand(count, 2, 3) * 2 - 1) * torch.tensor([[0.12, 0.15, 0.05], [0.15, 0.12, 0.05]])
    grid = nn.functional.affine_grid(torch.eye(2, 3) + change, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def accuracy(net: nn.Module, seed: int = 0) -> float:
    """Return the share of the 400 held-out canvases that the net classifies correctly."""
    held_out = digits("single", "test", seed=seed)
    with torch.inference_mode():
        guesses = net(normalize(torch.tensor(held_out.images))).argmax(1)
    return float(np.mean(guesses.numpy() == held_out.labels))


def main(arguments: list[str] | None = None) -> None:
    """Train both nets, report the held-out accuracy and write their weights."""
    parser = argparse.ArgumentParser(description="Train the two digit nets and write their weights.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder for the two .pt files")
    out: Path = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in NETS:
        start = time.perf_counter()
        net = train(name)
        seconds = time.perf_counter() - start
        path = out / f"{name}.pt"
        torch.save(net.state_dict(), path)
        size = path.stat().st_size / 1024
        sys.stdout.write(f"{name}: held-out accuracy {accuracy(net):.4f}, {seconds:.0f} s, {size:.0f} KiB\n")


if __name__ == "__main__":
    main()
