"""Smallest destroying region."""

from __future__ import annotations

from xaiwidgets.core.cards import explainer
from xaiwidgets.explainers.mask.region import Region, fill, levels, nothing, ranked_by, threshold


@explainer(
    id="sdr",
    title="Smallest destroying region",
    family="mask",
    idea="Hides ever more of the photo, the most important pixels of a map first, until the class is gone.",
    cite="Dabkowski, Gal 2017; Fong, Vedaldi 2017",
    paper="arXiv:1705.07857",
    section="2.3.10",
    signed=False,
    formula="least a with p(x with the top a of the map hidden) ≤ (1 − τ) p(x)",
    how="The pixels are ranked by another map. At each of 64 areas, the top pixels are blurred; the region is the "
    "first area at which the probability has gone and is still gone at the next one.",
    caution="It is the smallest region that this map offers, not the smallest there is. A class can also vanish "
    "because the blurred picture looks like something else: try another fill.",
)
class SmallestDestroyingRegion(Region):
    """Least region of a ranking whose removal destroys the prediction (Dabkowski and Gal 2017, section 3.1; ranked).

    Yields ``(1, H, W)``: 1 on the region, else 0. Scores, ``nothing`` and ``details`` as in the smallest sufficient
    region; the curve is that of the score with ever more hidden.
    """

    keeps = False
    base: str = ranked_by()
    threshold: float = threshold("Share lost τ", "Of the photo's score that must be gone.")
    fill: str = fill()
    levels: int = levels()
    nothing: str = nothing()
