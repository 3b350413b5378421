"""Input dominance."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.correlation import spearman
from xaiwidgets.core.knobs import Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Curve, Limit, Score
from xaiwidgets.evaluation.case import map_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from xaiwidgets.evaluation.case import Case

    Floats = NDArray[np.float64]

#: Shares of the darkest pixels that are set to 0 for the curve over sparsity.
SPARSITIES = (0.0, 0.25, 0.5, 0.75, 0.9)
#: Sides of a picture, from which a border of two pixels can be left out.
LEAST = 8


@metric(
    title="Input dominance",
    category="input",
    question="Is there more to the map than the picture itself, multiplied by anything?",
    cite="Adebayo et al. 2018",
    paper="arXiv:1810.03292",
    section="4.6",
    direction="lower",
    range=(-1.0, 1.0),
    limit=Limit(
        "<",
        0.5,
        "Half of a perfect correlation; products of black and white digits with chance reach 0.9 among themselves.",
    ),
    formula="mean over draws of ρ(|e|, |x ∘ g|), ρ Spearman's rank correlation, g independent uniform numbers",
    how="The network's input is multiplied by random numbers, and the product is compared with the map. If they look "
    "alike, the map shows the input, and any factor would have done.",
    caution="A map of a bright object on a black background may be right and still look like the input. Values are "
    "those that the network sees: black is 0 only if the preprocessing leaves it so.",
)
class InputDominance:
    """Rank correlation of a map with the input times random numbers (Adebayo et al. 2018, section 5.2), in [-1, 1].

    ``controls``: ``two products``, the same between two such products, which is what the input alone makes of nothing,
    and ``random``, between random numbers and the map. ``curves``: ``two products`` as more of the darkest pixels are
    set to 0. ``details``: the gradient of a network of one random layer, ``Σ ReLU(w ∗ x)``, is constant where the photo
    is flat and steps at its edges; ``one_layer`` is the rank correlation of those steps with the map, and
    ``one_layer_edges`` with the photo's edges. Reduction: ``abs``, of the map and of the input.
    """

    draws: int = knob(20, Range(2, 500, log=True), label="Draws", help="How many random factors are tried.")
    filters: int = knob(
        16, Range(1, 64), label="Filters", help="Of the network of one random layer beside it.", advanced=True
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield one score."""
        found = yield from case.attribution()
        values = map_of(found).astype(np.float64)
        yield None
        given = case.image[0].abs().sum(dim=0).double().cpu().numpy()
        rng = case.rng(22)
        factors = rng.random((self.draws, *given.shape))
        own = [spearman(values, given * factor) for factor in factors]
        yield None
        products = products_alike(given, factors)
        yield None
        line = []
        for share in SPARSITIES:
            sparse = np.where(given <= np.quantile(given, share), 0.0, given) if share else given
            line.append(products_alike(sparse, factors[:4]))
            yield None
        layer = self.one_layer(case, values)
        yield None
        undefined = any(math.isnan(one) for one in own)
        yield Score(
            float(np.mean(own)),
            "rank correlation",
            standard_error=float(np.std(own, ddof=1) / math.sqrt(len(own))),
            controls={
                "two products": products,
                "random": float(np.mean([spearman(values, factor) for factor in factors])),
            },
            curves=(Curve("two products", np.array(SPARSITIES), np.array(line), "share set to 0", "rank correlation"),),
            maps={"map": values, "input": given, "input times chance": given * factors[0], **layer.pop("maps", {})},
            details=layer,
            items=tuple(own),
            notes=("The map is constant: it has no order.",) if undefined else (),
            warnings=("W_DEGENERATE",) if undefined else (),
        )

    def one_layer(self, case: Case, values: Floats) -> dict[str, Any]:
        """Return what the gradient of a network of one random layer shows of the photo, and of the map."""
        from xaiwidgets.evaluation.controls import sobel_map
        from xaiwidgets.evaluation.one_layer import one_layer_gradient, random_filters, steps_of

        if min(case.size) < LEAST:
            return {}
        channels = case.image.shape[1]
        slope = one_layer_gradient(case.image, random_filters(channels, self.filters, case.seed))
        steps, inside = steps_of(slope), (slice(2, -2), slice(2, -2))
        edges = sobel_map(case.model.to_pixels(case.image), case.seed)[inside]
        return {
            "one_layer": spearman(values[inside], steps),
            "one_layer_edges": spearman(edges, steps),
            "maps": {"gradient of one random layer": slope, "its steps": steps},
        }


def products_alike(given: Floats, factors: Floats) -> float:
    """Return the mean rank correlation of products of one map ``(H, W)`` with factors ``(n, H, W)``, taken in pairs."""
    made = [given * factor for factor in factors]
    return float(np.mean([spearman(one, other) for one, other in pairwise(made)]))
