"""AGG-Var."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Range, knob
from xaiwidgets.explainers.aggregate.together import Together, deviation, which_members, which_normalization

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: A deviation below this share of the mean is that of rounding.
ROUNDING = 1e-6


@explainer(
    id="agg_var",
    title="AGG-Var",
    family="aggregate",
    idea="The mean of several methods' maps, divided by how much they disagree at each pixel.",
    cite="Rieger, Hansen 2020",
    paper="arXiv:1903.00519",
    section="2.3.10",
    needs=("gradient",),
    signed=False,
    formula="mean over j of ẽⱼ / (standard deviation over j of ẽⱼ + ε)",
    how="As AGG-Mean, but each pixel is divided by the standard deviation of the members there: where methods "
    "disagree, little is left.",
    caution="Where all members show next to nothing they agree perfectly: without the constant in the denominator the "
    "background would shine. Members that fail in the same way agree, too.",
)
class AggVar(Together):
    """Mean over methods divided by their standard deviation (Rieger and Hansen 2020, section 2).

    Yields ``(1, H, W)``, a ratio without a unit, at least 0. ``epsilon`` is the constant in the denominator, as a share
    of the mean standard deviation over the photo; the paper's is not given. Until two members have been run there is no
    deviation, and the map is that of the mean. ``details`` as in ``AggMean``.

    Raises:
        NotApplicable: fewer than two members apply.
        InvalidKnob: a member is no explainer.
    """

    epsilon: float = knob(
        0.1, Range(0.01, 100.0), label="Epsilon", help="The larger, the nearer to the mean; in mean deviations."
    )
    members: str = which_members()
    normalize: str = which_normalization()

    def combine(self, maps: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the mean over the deviation."""
        mean: NDArray[np.float64] = np.mean(maps, axis=0)
        spread = deviation(maps)
        level = float(spread.mean())
        if level <= ROUNDING * float(np.abs(mean).mean()):  # all agree, and what is left would be noise
            return mean
        return mean / (spread + self.epsilon * level)

    @property
    def signed(self) -> bool:
        """With their signs kept, values may be evidence against."""
        return self.normalize == "signed mass"

    @property
    def unit(self) -> str:
        """A share divided by a share."""
        return "mean over deviation"
