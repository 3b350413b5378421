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
    "reference_set": "model.references",
    "reference_sets": "model.references",
    "read_picture": "model.pictures",
    "explain": "engine.run",
    "explain_steps": "engine.run",
    "compare": "engine.comparison",
    "Comparison": "engine.comparison",
    "synthesize": "engine.run",
    "synthesize_steps": "engine.run",
    "methods": "core.cards",
    "Score": "core.scores",
    "Limit": "core.scores",
    "metrics": "core.metric_cards",
    "evaluate": "evaluation.judge",
    "evaluate_steps": "evaluation.judge",
    "benchmark": "evaluation.benchmark",
    "benchmark_steps": "evaluation.benchmark",
    "Benchmark": "evaluation.records",
    "Scene": "data.scenes",
    "scenes": "evaluation.scenery",
    "Recipe": "learned.recipes",
    "recipes": "learned.recipes",
    "train": "learned.recipes",
    "train_steps": "learned.recipes",
    "ModelParameterRandomization": "evaluation.model_parameter_randomization",
    "InputInvariance": "evaluation.input_invariance",
    "MaxSensitivity": "evaluation.max_sensitivity",
    "InputDominance": "evaluation.input_dominance",
    "PointingGame": "evaluation.pointing_game",
    "Deletion": "evaluation.deletion",
    "Insertion": "evaluation.insertion",
    "GridPointingGame": "evaluation.grid_pointing_game",
    "Focus": "evaluation.focus",
    "Agreement": "evaluation.agreement",
    "selftest": "evaluation.selftest",
    "selftest_steps": "evaluation.selftest",
    "artifact_audit": "evaluation.uses.artifacts",
    "artifact_audit_steps": "evaluation.uses.artifacts",
    "strategies": "evaluation.uses.strategies",
    "compare_models": "evaluation.uses.two_models",
    "compare_models_steps": "evaluation.uses.two_models",
    "why_wrong": "evaluation.uses.errors",
    "why_wrong_steps": "evaluation.uses.errors",
    "maps_while_training": "evaluation.uses.training",
    "maps_while_training_steps": "evaluation.uses.training",
    "while_training": "evaluation.uses.training",
    "LocalizationError": "evaluation.localization_error",
    "tune_localization": "evaluation.tuning",
    "table1": "evaluation.table1",
    "table1_steps": "evaluation.table1",
    "Selectivity": "evaluation.selectivity",
    "RegionPerturbation": "evaluation.region_perturbation",
    "PixelFlipping": "evaluation.pixel_flipping",
    "cost": "engine.cost",
    "within": "engine.cost",
    "Saliency": "explainers.gradient.saliency",
    "GradientXInput": "explainers.gradient.gradient_x_input",
    "FullGrad": "explainers.gradient.fullgrad",
    "SmoothGrad": "explainers.gradient.smoothgrad",
    "SmoothGradSquared": "explainers.gradient.smoothgrad_sq",
    "VarGrad": "explainers.gradient.vargrad",
    "NoiseGrad": "explainers.gradient.noisegrad",
    "FusionGrad": "explainers.gradient.fusiongrad",
    "SoftplusSmoothing": "explainers.backprop.softplus_smoothing",
    "calibrate_noise": "engine.noise",
    "fit_patterns": "engine.patterns",
    "fit_patterns_steps": "engine.patterns",
    "use_patterns": "engine.patterns",
    "PatternBank": "engine.bank",
    "SaliencyGraphcut": "explainers.gradient.saliency_graphcut",
    "IntegratedGradients": "explainers.path.integrated_gradients",
    "Xrai": "explainers.path.xrai",
    "GuidedIG": "explainers.path.guided_ig",
    "BlurIG": "explainers.path.blur_ig",
    "GradientShap": "explainers.path.gradient_shap",
    "ExpectedGradients": "explainers.path.expected_gradients",
    "PatternNet": "explainers.relevance.patternnet",
    "PatternAttribution": "explainers.relevance.pattern_attribution",
    "DeconvNet": "explainers.backprop.deconvnet",
    "GuidedBackprop": "explainers.backprop.guided_backprop",
    "DeSaliNet": "explainers.backprop.desalinet",
    "ExcitationBackprop": "explainers.backprop.excitation_backprop",
    "ContrastiveExcitationBackprop": "explainers.backprop.contrastive_excitation_backprop",
    "Lrp": "explainers.relevance.lrp",
    "Clrp": "explainers.relevance.clrp",
    "Sglrp": "explainers.relevance.sglrp",
    "DeepTaylor": "explainers.relevance.deep_taylor",
    "DeepLiftRescale": "explainers.relevance.deeplift_rescale",
    "DeepLiftRevealCancel": "explainers.relevance.deeplift_revealcancel",
    "DeepShap": "explainers.relevance.deep_shap",
    "Cam": "explainers.cam.cam",
    "Ccam": "explainers.cam.ccam",
    "common_components": "explainers.cam.common",
    "Clear": "explainers.cam.clear",
    "with_pooling_head": "learned.pooling_head",
    "with_pooling_head_steps": "learned.pooling_head",
    "GradCam": "explainers.cam.grad_cam",
    "ScoreCam": "explainers.cam.score_cam",
    "AblationCam": "explainers.cam.ablation_cam",
    "GuidedGradCam": "explainers.cam.guided_grad_cam",
    "GradCamPP": "explainers.cam.grad_cam_pp",
    "SmoothGradCamPP": "explainers.cam.smooth_grad_cam_pp",
    "LayerCam": "explainers.cam.layer_cam",
    "HiResCam": "explainers.cam.hirescam",
    "XGradCam": "explainers.cam.xgrad_cam",
    "EigenCam": "explainers.cam.eigen_cam",
    "FusedCam": "explainers.cam.fused_cam",
    "Cameras": "explainers.cam.cameras",
    "Occlusion": "explainers.perturbation.occlusion",
    "PredictionDifference": "explainers.perturbation.prediction_difference",
    "Lime": "explainers.perturbation.lime",
    "KernelShap": "explainers.perturbation.kernel_shap",
    "ShapleyExact": "explainers.perturbation.shapley_exact",
    "Ablation": "explainers.perturbation.ablation",
    "Rise": "explainers.perturbation.rise",
    "MeaningfulPerturbation": "explainers.mask.meaningful_perturbation",
    "ExtremalPerturbation": "explainers.mask.extremal_perturbation",
    "SmallestSufficientRegion": "explainers.mask.ssr",
    "SmallestDestroyingRegion": "explainers.mask.sdr",
    "FGVis": "explainers.mask.fgvis",
    "FeedbackCnn": "explainers.mask.feedback_cnn",
    "AggMean": "explainers.aggregate.agg_mean",
    "AggVar": "explainers.aggregate.agg_var",
    "Disagreement": "explainers.aggregate.disagreement",
    "ActivationMaximization": "synthesis.activation_maximization",
    "Explorer": "apps.explorer",
    "Maximizer": "apps.maximizer",
    "Compare": "apps.compare",
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
