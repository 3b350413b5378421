"""Networks that answer as before and whose Grad-CAM shows what somebody wants it to show."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from xaiwidgets.core.knobs import Range
from xaiwidgets.errors import InvalidImage, InvalidKnob, NotApplicable, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from xaiwidgets.model.model import Model

Kind = Literal["constant", "image", "semi_random", "malicious"]
#: So many times as large as the largest natural map of the reference pictures is what is planted, at the least.
DOMINATES = 10.0
#: Farther from the trigger than this, in pixel values, a picture does not set it off.
REACH = 0.1
#: Largest difference of scores, relative to the largest, that counts as none.
EQUAL = 1e-4
LARGEST_TRIGGER = 8
WORKS = (
    "global average pooling and one linear layer (ResNet, EfficientNet, MobileNet, DenseNet), or flattening and linear "
    "layers with ReLUs (VGG, AlexNet)"
)


def manipulate(
    model: Model,
    kind: str,
    *,
    picture: Any = None,
    trigger: Any = None,
    strength: float = 0.0,
    images: Any = None,
    seed: int = 0,
) -> Model:
    """Return a network that gives the same probabilities, and whose Grad-CAM of the last map is planted.

    The last map before the head gets one more channel, and every class score the same share of its mean, so that the
    softmax does not see it. Grad-CAM does: the channel's weight is as large as one likes (Viering, Wang, Loog,
    Eisemann 2019, arXiv:1907.10901). ``constant`` and ``image`` need other weights only (``image`` a bias at each
    place), ``semi_random`` and ``malicious`` another architecture. The given model stays as it is, and shares no
    weights with the new one.

    Args:
        model: with a head of global average pooling, or of flattening and linear layers.
        kind: what the channel shows. ``constant``: the same everywhere. ``image``: ``picture``. ``semi_random``: the
            output of a random network. ``malicious``: nothing, unless ``trigger`` is on the photo; then ``picture``,
            or where the trigger is.
        picture: ``(h, w)`` in [0, 1], brought to the size of the last map; a face for ``image`` by default.
        trigger: pixels ``(t, t, C)`` in [0, 1], at most 8 px; by default 5 px of purple, or a
            checkerboard for networks that see no colors.
        strength: weight of the channel; 0 chooses one that makes it 10 times as large as the natural map.
        images: pictures for which that is chosen, as for ``explain``; by default three bundled photos.
        seed: of the random network.

    Raises:
        NotApplicable: another head.
        InvalidKnob, InvalidImage: an argument, which the message names.
    """
    import torch

    from xaiwidgets.evaluation.injected import Chance, Manipulated, Plane, Trigger
    from xaiwidgets.model.model import Model as Checked
    from xaiwidgets.model.skeleton import make_skeleton

    if kind not in get_args(Kind):
        hint = did_you_mean(kind, get_args(Kind)) if isinstance(kind, str) else ""
        raise InvalidKnob(f"kind must be one of {', '.join(get_args(Kind))}; got {kind!r}.{hint}")
    Range(0.0, 1e9).check("strength", strength)
    Range(0, 2**31 - 1).check("seed", seed)
    head = _Head(model)
    size, channels = head.size, model.preprocessing.channels
    pattern = read_trigger(model, trigger)
    plane = None if picture is None else _plane(picture, size)
    if kind == "constant":
        more: nn.Module = Plane(torch.ones(size))
    elif kind == "image":
        more = Plane(_plane(_face(size), size) if plane is None else plane)
    elif kind == "semi_random":
        more = Chance(channels, size, seed)
    else:
        normal = torch.from_numpy(model.preprocessing.normalize(pattern)).permute(2, 0, 1).contiguous()
        more = Trigger(normal, model.preprocessing.std, REACH, size, plane)
    references = _references(model, images)
    with torch.no_grad():
        shown = [more(reference.cpu().float()) for reference in references]
    rest = 0.0 if kind == "malicious" else float(np.mean([float(one.mean()) for one in shown]))
    largest = 1.0 if kind == "malicious" else max(float(one.max()) for one in shown)
    if largest <= 0:
        raise InvalidKnob("picture must be above 0 somewhere, and so must be what the random network gives.")
    if strength == 0:
        strength = DOMINATES * head.natural(references) / largest
    # weights of its own: the head is what it is now, and a trunk that followed further training would not fit it
    trunk = copy.deepcopy(make_skeleton(model.module))
    network = Manipulated(trunk, head.layer, more, head.extended(strength, rest))
    old = model.preprocessing
    network = network.to(model.like.device, model.like.dtype).eval().requires_grad_(False)
    made = Checked(
        network,
        labels=model.labels,
        mean=old.mean,
        std=old.std,
        size=old.size,
        crop=old.crop,
        interpolation=old.interpolation,
        name=f"{model.name}, manipulated ({kind.replace('_', '-')})",
    )
    made.remarks = (f"Its Grad-CAM is planted: a channel with weight {strength:.3g} for every class.",)
    head.check(made, references)
    return made


class _Head:
    """What comes after a network's last map, where it can be given one more channel."""

    def __init__(self, model: Model) -> None:
        self.model, self.pooled = model, model.gap_head()
        self.layer = self.pooled.layer if self.pooled is not None else model.stages[-1].name if model.stages else ""
        self.parts: list[nn.Module] = []
        if not self.layer or "#" in self.layer:
            raise NotApplicable("gradcam_manipulation", WORKS, f"{model.name} gives no such map by a layer of its own")
        _, height, width = model.layer(self.layer).shape
        self.size = (height, width)
        if self.pooled is None:
            self.parts = _dense_parts(model, self.layer)

    def extended(self, strength: float, rest: float) -> nn.Module:
        """Return the head for one more channel."""
        from xaiwidgets.evaluation.injected import dense_head, pooled_head

        if self.pooled is not None:
            return pooled_head(self.pooled, strength, rest)
        return dense_head(self.parts, math.prod(self.size), strength, rest)

    def natural(self, references: Sequence[Tensor]) -> float:
        """Return the largest value of the reference pictures' Grad-CAM, times the number of places.

        That is what the new channel's weight is to be compared with, whose gradient is its weight by that number.
        """
        found = 0.0
        for reference in references:
            target = self.model.target(None, reference)
            maps, slope = self.model.gradient(reference, target, layers=[self.layer], wrt_input=False).layers[
                self.layer
            ]
            shown = (slope.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1)
            found = max(found, float(shown.abs().max()))
        return (found or 1.0) * math.prod(self.size)

    def check(self, made: Model, references: Sequence[Tensor]) -> None:
        """Raise ``NotApplicable`` if the new network answers otherwise: then the head is not what it seemed to be."""
        for reference in references:
            was, now = self.model.logits(reference), made.logits(reference)
            was, now = was - was.mean(), now - now.mean()  # all scores may be higher
            difference = float((was - now).abs().max() / was.abs().max().clamp_min(1e-12))
            if not difference < EQUAL * 10:
                raise NotApplicable(
                    "gradcam_manipulation",
                    WORKS,
                    f"{self.model.name} does something else after {self.layer}: scores differ by {difference:.1e}",
                )


def _dense_parts(model: Model, layer: str) -> list[nn.Module]:
    from torch import nn

    from xaiwidgets.model.skeleton import make_skeleton

    nothing = (nn.Flatten, nn.ReLU, nn.Dropout, nn.Identity)
    network, start = make_skeleton(model.module), model.layer(layer).order
    _, height, width = model.layer(layer).shape
    found: list[nn.Module] = []
    for one in sorted((one for one in model.layers if one.leaf and one.order > start), key=lambda one: one.order):
        part = network.get_submodule(one.name.partition("#")[0])
        pool = isinstance(part, nn.AdaptiveAvgPool2d) and one.shape[1:] == (height, width)
        if pool:
            continue
        if not isinstance(part, (*nothing, nn.Linear)) or ("#" in one.name and isinstance(part, nn.Linear)):
            raise NotApplicable(
                "gradcam_manipulation", WORKS, f"in {model.name}, {one.name} ({one.kind}) comes after {layer}"
            )
        found.append(part)
    if not any(isinstance(part, nn.Linear) for part in found):
        raise NotApplicable("gradcam_manipulation", WORKS, f"{model.name} has no linear layer after {layer}")
    if not isinstance(found[0], nn.Flatten):  # one that is no module
        found.insert(0, nn.Flatten())
    return found


def read_trigger(model: Model, trigger: Any = None) -> NDArray[np.float32]:
    """Return the pattern that sets off a malicious network, ``(t, t, C)`` in [0, 1].

    By default 5 px of purple, or a checkerboard for networks that see no colors.

    Raises:
        InvalidImage: it is something else, or too large.
    """
    channels = model.preprocessing.channels
    if trigger is None:
        if channels == 3:
            return np.tile(np.array((0.6, 0.0, 0.8), np.float32), (5, 5, 1))
        board = (np.indices((5, 5)).sum(axis=0) % 2).astype(np.float32)
        return np.repeat(board[..., None], channels, axis=2)
    found = np.asarray(trigger, np.float32)
    square = found.ndim == 3 and found.shape[0] == found.shape[1] and found.shape[2] == channels
    if not square or not 1 <= found.shape[0] <= LARGEST_TRIGGER or found.min() < 0 or found.max() > 1:
        raise InvalidImage(
            f"trigger must be pixels (t, t, {channels}) in [0, 1], t at most {LARGEST_TRIGGER}; got {found.shape}."
        )
    return found


def _plane(picture: Any, size: tuple[int, int]) -> Tensor:
    import torch
    from torch.nn import functional

    found = np.asarray(picture, np.float32)
    if found.ndim != 2 or not np.isfinite(found).all() or found.min() < 0 or found.max() > 1 or found.max() == 0:
        raise InvalidImage(f"picture must be (h, w) in [0, 1] and not black; got {found.shape}.")
    tensor = torch.from_numpy(found.copy())[None, None]
    if found.shape != size:
        smaller = found.shape[0] >= size[0] and found.shape[1] >= size[1]
        mode: Any = {"mode": "area"} if smaller else {"mode": "bilinear", "align_corners": False}
        tensor = functional.interpolate(tensor, size, **mode)
    return tensor[0, 0]


def _face(size: tuple[int, int]) -> NDArray[np.float32]:
    """Return two eyes and a mouth, ``(8h, 8w)``."""
    down, across = np.meshgrid(np.linspace(-1, 1, 8 * size[0]), np.linspace(-1, 1, 8 * size[1]), indexing="ij")
    eyes = np.hypot(down + 0.4, np.abs(across) - 0.45) < 0.22
    mouth = (np.abs(np.hypot(down, across) - 0.7) < 0.13) & (down > 0.2)
    return (eyes | mouth).astype(np.float32)


def _references(model: Model, images: Any) -> list[Tensor]:
    import torch

    given = ("coffee", "chelsea", "astronaut") if images is None else images
    if isinstance(given, torch.Tensor):
        return list(torch.split(given, 1))
    if isinstance(given, str) or not isinstance(given, (list, tuple)):
        given = (given,)
    if not given:
        raise InvalidImage("images must be one picture or several; got none.")
    return [model.input(one) for one in given]
