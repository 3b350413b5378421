"""Maps of a network with rounded-off ReLUs that can be differentiated again, for attacks on explanations.

This module imports torch: import it inside functions.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from xaiwidgets.errors import NotApplicable
from xaiwidgets.surgery.smooth import Smoothing

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from xaiwidgets.evaluation.case import Case
    from xaiwidgets.model.model import Model

    #: From an input ``(1, C, H, W)`` to a map ``(H, W)`` that is nowhere negative, with its graph.
    Drawn = Callable[[Tensor], Tensor]

#: Methods whose maps are written down here once more, as functions with a second derivative.
TWICE = (
    "saliency",
    "gradient_x_input",
    "integrated_gradients",
    "grad_cam",
    "deeplift_rescale",
    "deeplift_revealcancel",
    "deep_shap",
)
#: Points of a path, and backgrounds, at most: the copy need not be exact, since it only says where to go.
POINTS, BACKGROUNDS = 8, 2


def twice(case: Case, beta: float) -> Drawn | None:
    """Return the case's map as a differentiable function, or ``None`` if its method has none here.

    The second derivative of a network of ReLUs is 0 almost everywhere, so each ReLU becomes softplus_beta (Ghorbani et
    al. 2019, section 2). Channels are reduced by their absolute sum, as everywhere in evaluations.

    Of DeepLIFT this is the rescale rule, for RevealCancel too, and of DeepSHAP the mean over some of its backgrounds:
    the map need not be exact, since it only says where to go. They have none where the network has an operation whose
    multipliers cannot be differentiated.

    Args:
        case: whose method, network, picture and target are taken.
        beta: sharpness of the softplus.
    """
    if type(case.method).card.id in DEEPLIFT:
        return _deeplift(case, beta)
    make = _MAPS.get(type(case.method).card.id)
    if make is None:
        return None
    model = case.model
    if "rectifier" in model.offers:
        model = model.transformed(Smoothing(beta), "with softplus for ReLU")
    return make(case, model)


def _gradient(case: Case, model: Model, images: Tensor) -> Tensor:
    """Return the gradient of the score by images ``(N, C, H, W)``, which can be differentiated."""
    target = case.target
    scores, _ = _scores(case, model, images, [target.layer] if target.layer else [])
    if not scores.requires_grad:
        return torch.zeros_like(images)
    (found,) = torch.autograd.grad(scores.sum(), images, create_graph=True, allow_unused=True)
    return torch.zeros_like(images) if found is None else found


def _scores(case: Case, model: Model, images: Tensor, names: list[str]) -> tuple[Tensor, Any]:
    from xaiwidgets.model.meter import spend
    from xaiwidgets.model.tape import Tape, recording

    network = model._for(names)
    tape = Tape(wanted=frozenset(names), differentiable=True)
    with recording(tape):
        outputs = network.module(network.fit(images).clone())
    spend(forward=len(images), backward=2 * len(images))
    return case.target.score(outputs, tape.records), tape.records


def _saliency(case: Case, model: Model) -> Drawn:
    return lambda x: _gradient(case, model, x)[0].abs().sum(dim=0)


def _product(case: Case, model: Model) -> Drawn:
    from xaiwidgets.engine.baselines import baseline

    start = baseline(case.model, case.image, case.method.baseline)
    return lambda x: ((x - start) * _gradient(case, model, x))[0].abs().sum(dim=0)


def _path(case: Case, model: Model) -> Drawn:
    from xaiwidgets.engine.baselines import baseline

    starts = [baseline(case.model, case.image, name) for name in case.method.baselines]
    where = (torch.arange(POINTS).to(case.image) + 0.5).reshape(-1, 1, 1, 1) / POINTS

    def draw(x: Tensor) -> Tensor:
        parts = [(x - start) * _gradient(case, model, torch.lerp(start, x, where)).mean(dim=0) for start in starts]
        return torch.cat(parts).mean(dim=0).abs().sum(dim=0)

    return draw


def _cam(case: Case, model: Model) -> Drawn:
    name = model.layer(case.method.layer, spatial=True).name
    sign = -1.0 if case.method.counterfactual else 1.0

    def draw(x: Tensor) -> Tensor:
        names = [name, *([case.target.layer] if case.target.layer else [])]
        scores, records = _scores(case, model, x, names)
        maps = records[name]
        (slope,) = torch.autograd.grad(scores.sum(), maps, create_graph=True)
        found = sign * (slope.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1, keepdim=True)
        found = found.clamp_min(0) if case.method.relu else found.abs()
        return functional.interpolate(found, case.size, mode="bilinear", align_corners=False)[0, 0]

    return draw


def _deeplift(case: Case, beta: float) -> Drawn | None:
    """Return the multipliers times what differs from the baseline, or the mean of that over backgrounds."""
    from xaiwidgets.engine.baselines import baseline
    from xaiwidgets.engine.references import images_of
    from xaiwidgets.model.meter import spend
    from xaiwidgets.model.tape import Tape, recording
    from xaiwidgets.surgery.rescaling import multipliers

    method, target = case.method, case.target
    # a context that does nothing: no activation may be fused with its convolution, where its rule would not see it
    model = case.model.transformed(nullcontext, "for rules")
    names = [target.layer] if target.layer else []
    network = model._for(names)
    if type(method).card.id == "deep_shap":
        starts = images_of(case.model, method.references, min(method.count, BACKGROUNDS), case.image)
    else:
        starts = baseline(case.model, case.image, method.baseline)
    count = len(target.classes) - (target.minus is not None)
    centered = method.centered and not target.layer and target.output == "logit"

    def score(images: Tensor) -> Tensor:
        tape = Tape(wanted=frozenset(names), differentiable=True)
        with recording(tape):
            outputs = network.module(network.fit(images).clone())
        spend(forward=len(images), backward=2 * len(images))
        found = target.score(outputs, tape.records)
        return found - outputs.mean(dim=1) * count if centered else found

    def draw(x: Tensor) -> Tensor:
        found = multipliers(score, x.expand_as(starts), starts, beta, method.gates)
        return ((x - starts) * found).mean(dim=0).abs().sum(dim=0)

    try:
        draw(case.image)
    except NotApplicable:
        return None
    return draw


_MAPS: dict[str, Callable[[Case, Model], Drawn]] = {
    "saliency": _saliency,
    "gradient_x_input": _product,
    "integrated_gradients": _path,
    "grad_cam": _cam,
}
#: Methods of finite steps in place of slopes; see ``surgery.rescaling``.
DEEPLIFT = frozenset(TWICE) - _MAPS.keys()
