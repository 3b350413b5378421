"""Deletion."""

from __future__ import annotations

from xaiwidgets.core.metric_cards import metric
from xaiwidgets.evaluation.removal_curve import RemovalCurve


@metric(
    title="Deletion",
    category="faithfulness",
    question="Does the class's probability fall fast when the pixels that the map ranks highest are removed?",
    cite="Petsiuk, Das, Saenko 2018",
    paper="arXiv:1806.07421",
    section="4.5",
    direction="lower",
    range=(0.0, 1.0),
    formula="∫ P_c(x without the q highest pixels) dq, q from 0 to 1, by the trapezoidal rule",
    how="Pixels are replaced by the substrate in the order of the map, highest first, and the class's probability is "
    "measured after each step. A coarse curve comes first, its places in between after it.",
    caution="A picture with holes is none that the network was trained on: the fall may come from the holes. Compare "
    "with random orders, and with another substrate.",
)
class Deletion(RemovalCurve):
    """Area under the deletion curve (Petsiuk et al. 2018, section 4.1), in probability, or in logits with ``output``.

    Beside it stand random orders and the picture's edges. See ``RemovalCurve`` for what ``details`` holds.

    Raises:
        NotApplicable: a hidden unit is explained, which has no probability.
    """
