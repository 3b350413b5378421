"""The Python code of an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.studio.experiment import TAUGHT
from xaiwidgets.widgets.export import _model_line, _target

if TYPE_CHECKING:
    from xaiwidgets.studio.experiment import Experiment


def code_for_experiment(experiment: Experiment, model: str, target: str, image: str | None = None) -> str:
    """Return Python code that runs what is on screen.

    Args:
        experiment: what is on screen.
        model: its name.
        target: what is explained, in words.
        image: name of a file that was uploaded.
    """
    lens = experiment.lens
    method = repr((lens.method, dict(lens.knobs))) if lens.knobs else repr(lens.method)
    more = "".join(f", {name}={value!r}" for name, value in experiment.knobs)
    limit = dict(experiment.limits).get(experiment.metric)
    if limit is not None:
        more += f", limit=xw.Limit({limit.relation!r}, {limit.value!r})"
    if experiment.seed:
        more += f", seed={experiment.seed}"
    lines = ["import xaiwidgets as xw", "", _model_line(model)]
    lines.append(f"image = {lens.image!r}" if image is None else f"image = {image!r}  # your upload: give its path")
    if experiment.aim is not None:
        top, left, bottom, right = experiment.aim
        rows = f"round({top:.4g} * height) : round({bottom:.4g} * height)"
        columns = f"round({left:.4g} * width) : round({right:.4g} * width)"
        lines += ["import numpy as np", "height, width = model.preprocessing.size"]
        lines += ["region = np.zeros((height, width), bool)", f"region[{rows}, {columns}] = True"]
        more += ", data=region"
    if experiment.sketch is not None:
        lines += ["import numpy as np", f"pattern = np.array({[list(row) for row in experiment.sketch]}, np.float32)"]
        more += ", data=pattern"
    if experiment.metric in TAUGHT:
        more += f", data={TAUGHT[experiment.metric]!r}"
    words = " ".join(target.split())
    lines.append(f"method = {method}")
    lines.append(
        f"s = xw.evaluate(model, image, method, {experiment.metric!r}, target={_target(lens)}{more})  # {words}"
    )
    lines.append(f"s.plot().savefig('{experiment.metric}.png')")
    return "\n".join(lines)
