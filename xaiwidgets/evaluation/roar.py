"""ROAR: remove and retrain."""

from __future__ import annotations

from xaiwidgets.core.metric_cards import metric
from xaiwidgets.evaluation.retraining import Retraining


@metric(
    title="ROAR: remove and retrain",
    category="retraining",
    question="Can a network that is trained anew still learn the classes without what the map ranks highest?",
    cite="Hooker, Erhan, Kindermans, Kim 2019",
    paper="arXiv:1806.10758",
    section="extra",
    direction="lower",
    range=(0.0, 1.0),
    needs=("recipe",),
    formula="mean over t of the test accuracy after training without the t % highest pixels",
    how="In all training and test pictures, the highest pixels get the mean color, and a network is trained from new "
    "weights: what it was trained on has holes, too, so that holes are nothing new to it.",
    caution="The shape of the holes can give the class away. Compare with random rankings and with edges: several "
    "methods are no better.",
)
class Roar(Retraining):
    """Mean accuracy after removing and retraining (Hooker et al. 2019, section 3); low is good, in [0, 1].

    See ``Retraining`` for what ``data`` must be and what ``details`` holds.

    Raises:
        NotApplicable: ``data`` is no recipe, or its pictures do not fit the network.
    """
