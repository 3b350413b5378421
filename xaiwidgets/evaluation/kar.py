"""KAR: keep and retrain."""

from __future__ import annotations

from typing import ClassVar

from xaiwidgets.core.metric_cards import metric
from xaiwidgets.evaluation.retraining import Retraining


@metric(
    title="KAR: keep and retrain",
    category="retraining",
    question="Can a network that is trained anew learn the classes from what the map ranks highest alone?",
    cite="Hooker, Erhan, Kindermans, Kim 2019",
    paper="arXiv:1806.10758",
    section="extra",
    direction="higher",
    range=(0.0, 1.0),
    needs=("recipe",),
    formula="mean over t of the test accuracy after training with only the t % highest pixels",
    how="In all training and test pictures, all but the highest pixels get the mean color, and a network is trained "
    "from new weights.",
    caution="The shape of what is kept can give the class away by itself.",
)
class Kar(Retraining):
    """Mean accuracy after keeping and retraining (Hooker et al. 2019, appendix); high is good, in [0, 1].

    See ``Retraining`` for what ``data`` must be and what ``details`` holds.

    Raises:
        NotApplicable: ``data`` is no recipe, or its pictures do not fit the network.
    """

    keep: ClassVar[bool] = True
