"""Pictures that are larger than what a network sees of them: they are seen at one place or another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor


def seen(picture: Tensor, place: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Return what is seen of ``(N, C, H, W)`` from (row, column) on, of this size; it shares the picture's memory."""
    row, column = place
    return picture[:, :, row : row + size[0], column : column + size[1]]


def draw_place(room: int, random: Generator) -> tuple[int, int]:
    """Return a random place where there are ``room`` rows and columns to spare; nothing is drawn if there are none."""
    import torch

    if not room:
        return 0, 0
    row, column = torch.randint(0, room + 1, (2,), generator=random).tolist()
    return int(row), int(column)


def grown(picture: Tensor, edge: int) -> Tensor:
    """Return the picture with ``edge`` more rows and columns, its border repeated, or with so many fewer."""
    from torch.nn.functional import pad

    first = abs(edge) // 2
    second = abs(edge) - first
    if edge < 0:
        height, width = picture.shape[2:]
        return picture[:, :, first : height - second, first : width - second].clone()
    return pad(picture, (first, second, first, second), mode="replicate") if edge else picture
