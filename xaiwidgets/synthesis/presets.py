"""Named settings of methods, as data. Each names all live knobs, so it works while a run goes on.

Those of activation maximization after Yosinski et al. 2015, table 1, keep the paper's decay, blur and clips; their step
is a fixed number of gray levels in place of the paper's learning rates, which were made for other networks and up to
1000 steps, and the second and the fourth need momentum to reach a confident class in about 128 steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Preset:
    """Settings under a name.

    Attributes:
        title, idea: shown to people; ``note`` too, once it is chosen: what they should know before they trust it.
        knobs: all live knobs by name.
    """

    title: str
    idea: str
    knobs: Mapping[str, Any]
    note: str = ""


def _preset(title: str, idea: str, **knobs: float) -> Preset:
    return Preset(title, idea, {**_OFF, **knobs})


#: Everything that can be moved while a run goes on, switched off, with the step size of a bare ascent.
_OFF: dict[str, Any] = {
    "step_size": 2.0,
    "momentum": 0.0,
    "decay": 0.0,
    "blur_width": 0.0,
    "blur_every": 4,
    "total_variation": 0.0,
    "jitter": 0,
    "rotation": 0.0,
    "zoom": 0.0,
    "radius": 63.75,
    "clip_norm": 0.0,
    "clip_contribution": 0.0,
}

PRESETS: dict[str, Preset] = {
    "calm": _preset(
        "Calm",
        "Large even steps, smoothed by blur and jitter: the shapes that are easiest to recognize.",
        step_size=16.0,
        momentum=0.8,
        decay=0.003,
        blur_width=1.5,
        jitter=4,
    ),
    "any_pose": _preset(
        "Calm in any pose",
        "As calm, and the network sees the picture turned, zoomed and further moved: some objects get larger and "
        "clearer, others do not.",
        step_size=16.0,
        momentum=0.8,
        decay=0.003,
        blur_width=1.5,
        jitter=8,
        rotation=5.0,
        zoom=0.1,
    ),
    "yosinski_1": _preset(
        "Yosinski 1: sparse by norm",
        "Half of the pixels, the faintest, are erased at every step; a little blur.",
        step_size=8.0,
        blur_width=0.5,
        clip_norm=50.0,
    ),
    "yosinski_2": _preset(
        "Yosinski 2: strong decay",
        "The picture fades by almost a third at every step, so that only what is asked for again and again stays.",
        step_size=16.0,
        momentum=0.8,
        decay=0.3,
        clip_norm=20.0,
    ),
    "yosinski_3": _preset(
        "Yosinski 3: blur",
        "A wide blur every four steps and hardly any decay: the setting of most figures in the paper.",
        step_size=8.0,
        decay=0.0001,
        blur_width=1.0,
    ),
    "yosinski_4": _preset(
        "Yosinski 4: sparse by contribution",
        "All but the tenth of the pixels that matter most are erased at every step: faint, on an empty ground.",
        step_size=3.0,
        momentum=0.9,
        blur_width=0.5,
        clip_contribution=90.0,
    ),
    "none": _preset(
        "No regularizer",
        "Plain gradient ascent: certain of its class, and unreadable.",
    ),
}


#: Title of the setting that fits networks other than the paper's.
ANY = "Blur, any network"
#: Said of the learning rates that are printed.
MADE_FOR = (
    "Its learning rate was chosen for CaffeNet, the paper's AlexNet. Pictures of others may stay almost gray: after 96 "
    f"steps that of EfficientNet-Lite0 is within 1 gray level of plain color, with “{ANY}”, the default, 13 away. Take "
    "the default for other networks."
)


def _printed(title: str, idea: str, note: str = MADE_FOR, **knobs: Any) -> Preset:
    return Preset(title, idea, {**_PAPER, **knobs}, note)


#: All live knobs of regularized optimization, off, with the paper's constant learning rate.
_PAPER: dict[str, Any] = {
    "decay": 0.0,
    "blur_width": 0.0,
    "blur_every": 4,
    "clip_norm": 0.0,
    "clip_contribution": 0.0,
    "rate": "constant",
    "step_size": 1.5,
    "eta": 100.0,
    "progress": 2.0,
}

#: The four settings that Yosinski et al. 2015 print in table 1, with the learning rates of their released code, which
#: has settings for one network alone.
PRINTED: dict[str, Preset] = {
    "third": _printed(
        ANY,
        "The paper's third setting with steps that fit any network: most figures in the paper, quickly.",
        note="",
        decay=1e-4,
        blur_width=1.0,
        rate="first",
    ),
    "printed_1": _printed(
        "1 as printed: sparse by norm",
        "Half of the pixels, the faintest, are erased at every step; 500 steps, each to raise the score by 2.",
        blur_width=0.5,
        clip_norm=50.0,
        rate="progress",
    ),
    "printed_2": _printed(
        "2 as printed: strong decay",
        "Fades by almost a third at every step, the faintest fifth erased; 750 steps.",
        decay=0.3,
        clip_norm=20.0,
    ),
    "printed_3": _printed(
        "3 as printed: blur",
        "A wide blur every four steps and hardly any decay; 1,000 steps.",
        decay=1e-4,
        blur_width=1.0,
    ),
    "printed_4": _printed(
        "4 as printed: sparse by contribution",
        "All but the tenth of the pixels that matter most are erased at every step; 1,000 steps.",
        blur_width=0.5,
        clip_contribution=90.0,
        rate="progress",
        eta=1e8,
    ),
}


#: By the method's id; the first of each is its default. Names are told apart over all methods.
PRESETS_OF: Mapping[str, Mapping[str, Preset]] = {
    "activation_maximization": PRESETS,
    "regularized_optimization": PRINTED,
}


def presets_of(method: str) -> Mapping[str, Preset]:
    """Return the presets of a synthesizer by its id; the first is its default. Most have none."""
    return PRESETS_OF.get(method, {})
