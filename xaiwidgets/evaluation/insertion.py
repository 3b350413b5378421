"""Insertion."""

from __future__ import annotations

from typing import ClassVar

from xaiwidgets.core.knobs import knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.evaluation.removal import SUBSTRATES
from xaiwidgets.evaluation.removal_curve import RemovalCurve


@metric(
    title="Insertion",
    category="faithfulness",
    question="Does the class's probability rise fast when the pixels that the map ranks highest are shown first?",
    cite="Petsiuk, Das, Saenko 2018",
    paper="arXiv:1806.07421",
    section="4.5",
    direction="higher",
    range=(0.0, 1.0),
    formula="∫ P_c(substrate with the q highest pixels of x) dq, q from 0 to 1, by the trapezoidal rule",
    how="It starts from a blurred picture, and pixels come back in the order of the map, highest first; the class's "
    "probability is measured after each step.",
    caution="The blurred picture may still show the class, and then any map gets a high score: compare with random "
    "orders.",
)
class Insertion(RemovalCurve):
    """Area under the insertion curve (Petsiuk et al. 2018, section 4.1), in probability, or in logits with ``output``.

    Beside it stand random orders and the picture's edges. See ``RemovalCurve`` for what ``details`` holds.

    Raises:
        NotApplicable: a hidden unit is explained, which has no probability.
    """

    insert: ClassVar[bool] = True

    substrate: str = knob(
        default="blur",
        domain=SUBSTRATES,
        label="Substrate",
        help="What stands where a pixel is missing: it is part of the question.",
    )
