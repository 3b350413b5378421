"""xaiwidgets: every visual explanation of a convolutional network, live on your own model, with its evidence.

    import xaiwidgets as xw

    model = xw.load_model()
    xw.Explorer(model, "coffee")
    xw.explain(model, "coffee", "grad_cam", target="espresso").save("coffee.png", "coffee")

Names are imported when they are first used, so that ``import xaiwidgets`` loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "Attribution": "core.results",
    "Synthesis": "core.results",
    "load_model": "model.zoo",
    "Model": "model.model",
    "Target": "model.targets",
    "samples": "model.samples",
    "read_picture": "model.pictures",
    "explain": "engine.run",
    "explain_steps": "engine.run",
    "synthesize": "engine.run",
    "synthesize_steps": "engine.run",
    "methods": "core.cards",
    "Saliency": "explainers.gradient.saliency",
    "GradientXInput": "explainers.gradient.gradient_x_input",
    "SmoothGrad": "explainers.gradient.smoothgrad",
    "IntegratedGradients": "explainers.path.integrated_gradients",
    "DeconvNet": "explainers.backprop.deconvnet",
    "GuidedBackprop": "explainers.backprop.guided_backprop",
    "GradCam": "explainers.cam.grad_cam",
    "GuidedGradCam": "explainers.cam.guided_grad_cam",
    "Occlusion": "explainers.perturbation.occlusion",
    "Rise": "explainers.perturbation.rise",
    "ActivationMaximization": "synthesis.activation_maximization",
    "Explorer": "apps.explorer",
    "Maximizer": "apps.maximizer",
    "App": "apps.shell",
}
__all__ = ["__version__", "errors", *sorted(_NAMES)]  # noqa: PLE0604 - the names are the keys above


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("xaiwidgets.errors")
    if name not in _NAMES:
        raise AttributeError(f"module 'xaiwidgets' has no attribute {name!r}")
    return getattr(import_module(f"xaiwidgets.{_NAMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
