"""Facets of a unit: pictures that excite it, grouped by what the network sees in them, and the mean of each group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from torch import Generator, Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal

#: Pictures that a mean is made of (Nguyen et al. 2016), and the components that t-SNE starts from.
NEAREST, COMPONENTS = 15, 50
#: Pictures that are looked through at once.
PIECE = 8
#: Least and largest side of a crop, as a share of the picture's.
CROP = (0.35, 0.9)


@dataclass(frozen=True, eq=False)
class Facets:
    """Groups of pictures.

    Attributes:
        places: where each picture is in the plane, ``(N, 2)``. ``labels``: its group, ``(N,)``.
        nearest: for each group, the pictures nearest to its center, the nearest first.
    """

    places: NDArray[np.float64]
    labels: NDArray[np.int64]
    nearest: tuple[NDArray[np.int64], ...]

    @property
    def count(self) -> int:
        """How many groups there are."""
        return len(self.nearest)


class Crops:
    """Pictures ``(N, C, H, W)`` and ``each`` random crops of every one, at their size, made when they are taken.

    A few photos give enough to look for facets in: a crop shows a part, or an object alone. All crops of a folder
    together would not fit into memory.
    """

    def __init__(self, images: Tensor, each: int, random: Generator) -> None:
        import torch

        self.images = images
        height, width = images.shape[2:]
        self._boxes: list[tuple[int, int, int, int]] = []
        for _ in range(each * len(images)):
            draws = torch.rand(3, generator=random).tolist()
            share = CROP[0] + (CROP[1] - CROP[0]) * draws[0]
            rows, columns = max(1, round(share * height)), max(1, round(share * width))
            top, left = int(draws[1] * (height - rows + 1)), int(draws[2] * (width - columns + 1))
            self._boxes.append((top, left, rows, columns))

    def __len__(self) -> int:
        return len(self.images) + len(self._boxes)

    def take(self, wanted: Iterable[int]) -> Tensor:
        """Return some of them: first come the pictures, then one crop of each, then another of each."""
        import torch
        from torch.nn import functional

        found = []
        for index in map(int, wanted):
            image = self.images[index % len(self.images)][None]
            if index >= len(self.images):
                top, left, rows, columns = self._boxes[index - len(self.images)]
                crop = image[..., top : top + rows, left : left + columns]
                image = functional.interpolate(crop, image.shape[2:], mode="bilinear", align_corners=False)
            found.append(image)
        return torch.cat(found)


def code_layer(model: Model, name: str) -> str:
    """Return the layer that tells pictures apart; empty is the last spatial stage.

    Raises:
        InvalidLayer: no such layer. NotApplicable: none is named, and there is no spatial stage.
    """
    if name:
        return model.layer(name).name
    if not model.stages:
        raise NotApplicable(
            "multifaceted_visualization", "a code layer", f"{model.name} has no spatial stage: name one of its layers"
        )
    return model.stages[-1].name


def codes_of(model: Model, images: Tensor, layer: str) -> NDArray[np.float64]:
    """Return the mean of a layer's maps over places for each picture, ``(N, channels)``."""
    values = model.activations(images, [layer])[layer].flatten(2) if model.layer(layer).spatial else None
    found = values.mean(dim=2) if values is not None else model.activations(images, [layer])[layer].flatten(1)
    return found.double().cpu().numpy()


def find_facets(
    codes: NDArray[np.float64], count: int, *, embedding: str = "tsne", seed: int = 0, nearest: int = NEAREST
) -> Facets:
    """Group codes ``(N, D)``: principal components, then a plane, then k-means (Nguyen et al. 2016, section 3).

    Args:
        codes: what the network sees in each picture.
        count: groups wanted.
        embedding: of the plane: ``tsne`` of the first fifty components, or ``pca``, the first two.
        seed: of t-SNE and k-means.
        nearest: pictures that a group's mean is to be made of; fewer where the group is smaller.

    Raises:
        NotApplicable: fewer codes, or fewer different ones, than groups.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    total = len(codes)
    if total < max(count, 3):
        raise NotApplicable("multifaceted_visualization", f"at least {max(count, 3)} pictures", f"there are {total}")
    apart = len(np.unique(codes, axis=0))
    if apart < max(count, 3):  # t-SNE takes the process down where all are the same
        raise NotApplicable(
            "multifaceted_visualization",
            f"at least {max(count, 3)} pictures that the code layer tells apart",
            f"it gives {apart} different code{'s' * (apart > 1)} for {total} pictures: choose another code layer",
        )
    small = PCA(min(COMPONENTS, total - 1, codes.shape[1]), random_state=seed).fit_transform(codes)
    if embedding == "tsne":
        perplexity = min(30.0, (total - 1) / 3)
        places = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(small)
    else:
        places = np.pad(small, ((0, 0), (0, max(0, 2 - small.shape[1]))))[:, :2]
    groups = KMeans(count, n_init=10, random_state=seed).fit(places)
    sizes = np.bincount(groups.labels_, minlength=count)
    order = np.argsort(-sizes, kind="stable")
    rank = np.argsort(order)
    labels = rank[groups.labels_].astype(np.int64)
    closest = []
    for number in range(int((sizes > 0).sum())):  # fewer than asked for where places coincide
        inside = np.flatnonzero(labels == number)
        away = np.linalg.norm(places[inside] - groups.cluster_centers_[order[number]], axis=1)
        closest.append(inside[np.argsort(away, kind="stable")][:nearest])
    return Facets(np.asarray(places, np.float64), labels, tuple(closest))


def groups_for(total: int, wanted: int, nearest: int = NEAREST) -> int:
    """Return how many groups so many pictures are enough for: each is to have ``nearest``; at least one."""
    return max(1, min(wanted, total // nearest))


def scatter(facets: Facets, pictures: NDArray[np.float32], side: int = 448, thumb: int = 30) -> NDArray[np.float32]:
    """Return a picture ``(side, side, 3)`` in [0, 1] of thumbnails where the pictures lie, framed by their group."""
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(canvas)
    low, high = facets.places.min(axis=0), facets.places.max(axis=0)
    room = np.where(high > low, high - low, 1.0)
    for place, label, pixels in zip(facets.places, facets.labels, pictures, strict=True):
        left, top = ((place - low) / room * (side - thumb - 4) + 2).round().astype(int).tolist()
        one = Image.fromarray((pixels * 255 + 0.5).clip(0, 255).astype(np.uint8)).resize((thumb, thumb))
        canvas.paste(one, (left, top))
        draw.rectangle(
            (left - 1, top - 1, left + thumb, top + thumb), outline=COLORS[int(label) % len(COLORS)], width=2
        )
    return np.asarray(canvas).astype(np.float32) / np.float32(255)


#: Of the groups, told apart by people who see few colors, too (Okabe and Ito 2008).
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000", "#999999", "#882255")


def most_exciting(model: Model, crops: Crops, target: Goal, count: int) -> NDArray[np.int64]:
    """Return the indices of the ``count`` pictures with the highest score, the highest first."""
    scores: list[Any] = []
    for first in range(0, len(crops), PIECE):
        piece = crops.take(range(first, min(first + PIECE, len(crops))))
        scores.append(model.scores(piece, target).double().cpu().numpy())  # type: ignore[arg-type]
    return np.argsort(-np.concatenate(scores), kind="stable")[:count].astype(np.int64)


def mean_image_init(
    model: Model,
    target: Any,
    pictures: Any = "photos",
    *,
    facet: int = 0,
    facets: int = 1,
    crops: int = 12,
    used: int = 60,
    layer: str = "",
    embedding: str = "tsne",
    seed: int = 0,
) -> NDArray[np.float32]:
    """Return the mean of the fifteen pictures in the middle of a facet, ``(H, W, 3)`` in [0, 1]: where to start from.

    ``synthesize(model, …, start="photo", image=mean_image_init(model, target))`` begins with it.

    Args:
        model: the network.
        target: what is to be excited: a class, or a ``Target``.
        pictures: name of a set of pictures (``reference_sets``), a folder, or pictures.
        facet: which of the groups, the largest being 0.
        facets: how many groups.
        crops: random crops of each picture that count as pictures, too.
        used: pictures with the highest score that are grouped.
        layer: whose maps tell them apart; empty is the last spatial stage.
        embedding: ``tsne`` or ``pca``.
        seed: of crops, t-SNE and k-means.

    Raises:
        NotApplicable: too few pictures. InvalidKnob: no such set or facet.

    Source: Nguyen, Yosinski, Clune 2016, section 3.
    """
    import torch

    from xaiwidgets.engine.references import images_of
    from xaiwidgets.errors import InvalidKnob
    from xaiwidgets.model.references import find_references, unnamed

    if not 0 <= facet < facets:
        raise InvalidKnob(f"facet must be a whole number from 0 to {facets - 1}; got {facet!r}.")
    goal = model.target(target)
    if isinstance(pictures, str) and _is_set(pictures):
        images = images_of(model, pictures, len(find_references(pictures)))
    else:
        given = unnamed(pictures)
        images = torch.cat([model.input(given.picture(index)) for index in range(len(given))])
    shown = Crops(images, crops, torch.Generator().manual_seed(seed))
    images = shown.take(most_exciting(model, shown, goal, used))
    codes = codes_of(model, images, code_layer(model, layer))
    found = find_facets(codes, facets, embedding=embedding, seed=seed)
    if facet >= found.count:
        raise InvalidKnob(f"facet must be below {found.count}, the groups that could be told apart; got {facet!r}.")
    mean = images[found.nearest[facet]].mean(dim=0, keepdim=True)
    return colors(model, mean)


def colors(model: Model, images: Tensor) -> NDArray[np.float32]:
    """Return the first of a batch of inputs as ``(H, W, 3)`` in [0, 1]; gray becomes three equal channels."""
    pixels = np.clip(model.to_pixels(images), 0, 1).astype(np.float32)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _is_set(name: str) -> bool:
    from xaiwidgets.model.references import reference_sets

    return name in {one.name for one in reference_sets()}
