"""AGG-Mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.cards import explainer
from xaiwidgets.explainers.aggregate.together import Together, which_members, which_normalization

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@explainer(
    id="agg_mean",
    title="AGG-Mean",
    family="aggregate",
    idea="The mean of several methods' maps: what they agree on stays, what one alone draws fades.",
    cite="Rieger, Hansen 2020",
    paper="arXiv:1903.00519",
    section="2.3.10",
    needs=("gradient",),
    signed=False,
    formula="(1/J) Σⱼ ẽⱼ,  ẽ = |e| / Σ |e|",
    how="Each member explains the same score. Its map is enlarged to the photo and divided by the sum of its absolute "
    "values, so that no unit outweighs another; the maps are averaged. The mean is never farther from any true map "
    "than its members are on average.",
    caution="Members that fail in the same way are not corrected by being many: guided backpropagation and its like "
    "vote for edges together. Choose members that differ.",
)
class AggMean(Together):
    """Mean over methods of their maps, each normalized to unit mass (Rieger and Hansen 2020, section 2).

    Yields ``(1, H, W)`` as shares of the evidence, at least 0 (signed with ``signed mass``); with ``mass`` they sum to
    1. A member that does not apply to the network is left out, and said. ``details``: ``members``, ``maps`` (J, H, W)
    as they were averaged, and ``spread``, their standard deviation. How the authors normalize is not certain: the two
    other ways are options.

    Raises:
        NotApplicable: fewer than two members apply.
        InvalidKnob: a member is no explainer.
    """

    members: str = which_members()
    normalize: str = which_normalization()

    def combine(self, maps: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the mean."""
        mean: NDArray[np.float64] = np.mean(maps, axis=0)
        return mean

    @property
    def signed(self) -> bool:
        """With their signs kept, values may be evidence against."""
        return self.normalize == "signed mass"
