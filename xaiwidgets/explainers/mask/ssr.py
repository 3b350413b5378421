"""Smallest sufficient region."""

from __future__ import annotations

from xaiwidgets.core.cards import explainer
from xaiwidgets.explainers.mask.region import Region, fill, levels, nothing, ranked_by, threshold


@explainer(
    id="ssr",
    title="Smallest sufficient region",
    family="mask",
    idea="Keeps ever more of the photo, the most important pixels of a map first, until the class is back.",
    cite="Dabkowski, Gal 2017; Fong, Vedaldi 2017",
    paper="arXiv:1705.07857",
    section="2.3.10",
    signed=False,
    formula="least a with p(x on the top a of the map, hidden elsewhere) ≥ τ p(x)",
    how="The pixels are ranked by another map. At each of 64 areas, only the top pixels are shown and the rest is "
    "blurred; the region is the first area at which the probability has come back and is still there at the next one.",
    caution="It is the smallest region that this map offers, not the smallest there is. A good map gives a small one, "
    "so it judges the map as much as the network. Sharp edges of the cut are evidence of their own.",
)
class SmallestSufficientRegion(Region):
    """Least region of a ranking that keeps the prediction (Dabkowski and Gal 2017, section 3.1; ranked realization).

    Yields ``(1, H, W)``: 1 on the region, else 0, of a probability, or of the activation for hidden units. All is
    counted on the way from the score of the hidden photo to that of the photo (``nothing``). ``details``: ``area``,
    NaN if there is no such region; ``level`` of the areas; ``curves``, the score at each area from 0 to 1, NaN where
    not done; ``box``, the tightest rectangle around the region; ``crop_score``, that of the rectangle enlarged to the
    whole input; ``saliency_metric`` of both, for classes.
    """

    keeps = True
    base: str = ranked_by()
    threshold: float = threshold("Share kept τ", "Of the photo's score that must be there.")
    fill: str = fill()
    levels: int = levels()
    nothing: str = nothing()
