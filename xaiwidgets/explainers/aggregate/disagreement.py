"""Disagreement between methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.core.cards import explainer
from xaiwidgets.explainers.aggregate.together import Together, deviation, which_members, which_normalization

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


@explainer(
    title="Disagreement",
    family="aggregate",
    idea="Where do methods disagree? The deviation of their maps from one another, pixel by pixel.",
    cite="Rieger, Hansen 2020",
    paper="arXiv:1903.00519",
    section="2.3.10",
    needs=("gradient",),
    signed=False,
    formula="standard deviation over j of ẽⱼ,  ẽ = |e| / Σ |e|",
    how="Each member explains the same score, and its map is made alike the others. The map shows their standard "
    "deviation: bright where one method's evidence is another's background.",
    caution="Dark does not mean right: members that fail in the same way agree. Sharp and blurred maps disagree at "
    "every edge, whatever they mean.",
)
class Disagreement(Together):
    """Standard deviation over methods of their maps, each normalized (of AGG-Var; Rieger and Hansen 2020).

    Yields ``(1, H, W)`` as shares of the evidence, at least 0; 0 until a second member has been run. ``details`` as in
    ``AggMean``.

    Raises:
        NotApplicable: fewer than two members apply.
        InvalidKnob: a member is no explainer.
    """

    members: str = which_members()
    normalize: str = which_normalization()

    def combine(self, maps: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the standard deviation."""
        return deviation(maps)
