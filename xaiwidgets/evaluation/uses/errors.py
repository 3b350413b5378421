"""Why was this wrong? The maps of what was said and of what is true, and the channels that made the difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.scores import Score
from xaiwidgets.data.scenes import Scene
from xaiwidgets.errors import InvalidTarget
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.judge import case_of
from xaiwidgets.evaluation.uses.common import last_of, report
from xaiwidgets.model.pictures import read_picture
from xaiwidgets.model.preprocess import to_uint8
from xaiwidgets.model.targets import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model

#: Channels that are named; a patch is so large a share of the picture's side.
CHANNELS, PATCH = 5, 3


def why_wrong(model: Model, image: Any, label: Any = None, method: Any = "gradient_x_input", **options: Any) -> Score:
    """Return what spoke for a wrong answer and what for the right one; see ``why_wrong_steps``."""
    return last_of(why_wrong_steps(model, image, label, method, **options))  # type: ignore[no-any-return]


@report
def why_wrong_steps(
    model: Model,
    image: Any,
    label: Any = None,
    method: Any = "gradient_x_input",
    *,
    pictures: Sequence[Any] = (),
    layer: str = "",
) -> Iterator[Score | None]:
    """Yield a report on a picture that is classified wrong; ``None`` between pieces of work.

    ``maps``: for the class that was said, for the true one, and for their difference, all of one method on one scale.
    ``rows``: the channels of a layer whose activation times gradient speaks most for the wrong class over the true one
    (as gradient-weighted maps do for failures in Selvaraju et al. 2020), with the share of the difference that each
    has. ``pictures``: for each of these channels, the patch that excites it most, of this picture and those given.
    The value is by how much the score of the wrong class is above that of the true one.

    Args:
        model: under study.
        image: as for ``explain``, or a ``Scene``.
        label: the true class; by default the scene's.
        method: as for ``evaluate``.
        pictures: where patches are looked for, such as training pictures.
        layer: whose channels are named; by default the last spatial one.

    Raises:
        InvalidTarget: there is no true class. InvalidLayer: no such layer, or it gives no map.
    """
    if label is None:
        label = image.label if isinstance(image, Scene) else None
    if label is None:
        raise InvalidTarget("label must be the true class of the picture, since it is not a Scene that knows it.")
    truth = model.labels.index(label)
    tensor, name = _input(model, image)
    logits = model.logits(tensor)[0]
    said = int(logits.argmax())
    chance = logits.softmax(0)
    names = model.labels.short(said), model.labels.short(truth)
    details: dict[str, Any] = {
        "said": names[0],
        "true": names[1],
        "probabilities": (float(chance[said]), float(chance[truth])),
        "wrong": said != truth,
    }
    if said == truth:
        yield Score(
            0.0,
            "logit",
            details=details,
            notes=(f"Not an error: {name} is {names[0]}, and that is what the network says.",),
            metric="why_wrong",
        )
        return
    maps: dict[str, Any] = {}
    for key, target in (("said", said), ("true", truth)):
        case = case_of(model, image, method, target=target)
        found = yield from case.attribution()
        maps[f"{key}: {details[key]}"] = map_of(found, "signed" if found.signed else "abs")
        yield None
    first, second = maps.values()
    maps["difference"] = first - second
    place = model.layer(layer, spatial=True).name
    margin = float(logits[said] - logits[truth])
    shares, total = _channels(model, tensor, model.target(Target.difference(said, truth)), place)
    order = np.argsort(-shares, kind="stable")[:CHANNELS]
    rows = tuple(
        (f"{place}[{k}]", float(shares[k]), float(shares[k]) / total if total else float("nan")) for k in order
    )
    shown = {"picture": to_uint8(_rgb(model.to_pixels(tensor)))}
    report = Score(
        margin,
        "logit",
        header=("channel", "speaks for the wrong class", "share of all that do"),
        rows=rows,
        maps=maps,
        pictures=shown,
        details=details | {"layer": place, "channels": tuple(map(int, order))},
        notes=(f"{name} is {names[1]}; the network says {names[0]} ({chance[said]:.0%} against {chance[truth]:.0%}).",),
        metric="why_wrong",
        progress=0.5,
    )
    yield report
    best: dict[int, tuple[float, str, NDArray[np.float32]]] = {}
    for source in (image, *pictures):
        candidate, title = _input(model, source)
        acts = model.activations(candidate, [place])[place][0].float().cpu().numpy()
        for k in order:
            value = float(acts[k].max())
            if k not in best or value > best[k][0]:
                best[int(k)] = value, title, _patch(model.to_pixels(candidate), acts[k])
        yield None
    patches = {f"channel {k}: {title}": to_uint8(_rgb(patch)) for k, (_, title, patch) in best.items()}
    excited = {k: (value, title) for k, (value, title, _) in best.items()}
    yield report.replace(progress=1.0, pictures=shown | patches, details=dict(report.details) | {"excited": excited})


def _input(model: Model, source: Any) -> tuple[Tensor, str]:
    if isinstance(source, Scene):
        return model.from_pixels(source.fitted(model.preprocessing)), source.name
    picture = read_picture(source)
    return model.input(picture), picture.name


def _channels(model: Model, image: Tensor, target: Any, layer: str) -> tuple[NDArray[np.float64], float]:
    """Return each channel's activation times gradient, summed over places, and the sum of those that are positive."""
    activation, gradient = model.gradient(image, target, layers=[layer], wrt_input=False).layers[layer]
    found = (activation * gradient)[0].double().sum(dim=(1, 2)).cpu().numpy()
    return found, float(found[found > 0].sum())


def _patch(pixels: NDArray[np.float32], map: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the part of a picture around the place where a channel is strongest, a third of its side."""
    row, column = np.unravel_index(int(map.argmax()), map.shape)
    found = pixels
    for axis, (place, count) in enumerate(((row, map.shape[0]), (column, map.shape[1]))):
        side = pixels.shape[axis]
        width = max(1, side // PATCH)
        start = int(np.clip(round((place + 0.5) * side / count - width / 2), 0, side - width))
        found = np.take(found, range(start, start + width), axis=axis)
    return found


def _rgb(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
