"""Agreement of methods."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.cards import cards, resolve
from xaiwidgets.core.knobs import Choice, MethodNames, check_knobs, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Score
from xaiwidgets.engine.alike import alike
from xaiwidgets.errors import InvalidKnob, XaiError, did_you_mean
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.controls import CONTROLS
from xaiwidgets.evaluation.similarity import SIMILARITIES, small

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from xaiwidgets.evaluation.case import Case

#: They bring other methods together, and would agree with their own members.
NOT_MEMBERS = ("agg_mean", "agg_var", "disagreement")
OWN = "this map"


@metric(
    title="Agreement",
    category="agreement",
    question="Do other methods point at the same places as this map?",
    cite="Rieger, Hansen 2020",
    paper="arXiv:1903.00519",
    section="2.3.10, 4",
    direction="",
    range=(-1.0, 1.0),
    formula="mean over other methods m of similarity(e, eₘ)",
    how="Several methods explain the same score. Each pair of maps is compared, and maps that are alike are put beside "
    "one another; the mean of all, each of unit mass, is shown with them.",
    caution="Agreement is no sign of truth: methods that draw edges agree with each other on any network. Nor is its "
    "lack one of falsehood. It says how much a conclusion depends on the method that was chosen.",
)
class Agreement:
    """Mean similarity of the map in question to those of other methods on the same score: -1 to 1.

    ``rows`` is the matrix of all pairs, ordered so that those that are alike are neighbors (average linkage);
    ``details``: ``matrix`` ``(J, J)``, ``names``, ``order``, and ``linkage`` ``(J - 1, 4)`` as SciPy's dendrogram takes
    it. ``maps``: of each method, and ``AGG-Mean`` and ``AGG-Var``, the mean of maps of unit mass and that over their
    deviation (Rieger and Hansen 2020, section 2). Reduction: ``signed`` for ``spearman_signed``, else ``abs``. Members
    that do not apply are left out, and said.
    """

    members: str = knob(
        "saliency,integrated_gradients,grad_cam,lrp,smoothgrad",
        MethodNames(least=1, exclude=NOT_MEMBERS),
        label="Others",
        help="The methods that the map is compared with, each with its own defaults.",
    )
    similarity: str = knob(
        "spearman_abs",
        Choice(tuple(SIMILARITIES)),
        label="Alike by",
        help="How two maps are compared; spearman: by ranks, ssim: by structure, hog: by orientations of edges.",
    )

    def __post_init__(self) -> None:
        check_knobs(self)
        known = [card.id for card in cards("explainer") if card.id not in NOT_MEMBERS]
        for name in self.members.split(","):
            if name not in known:
                raise InvalidKnob(
                    f"members must be explainers, of {', '.join(known)}; got {name!r}.{did_you_mean(name, known)}"
                )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield a score after each member."""
        how = "signed" if self.similarity == "spearman_signed" else "abs"
        found = yield from case.attribution()
        yield None
        maps, notes = {OWN: map_of(found, how)}, []
        members = self.members.split(",")
        controls = self._controls(case, maps[OWN])
        for number, name in enumerate(members):
            try:
                one = yield from case.explaining(method=resolve(name))
            except XaiError as error:
                notes.append(f"{name} is left out: {error}")
            else:
                maps[name] = map_of(one, how)
            yield self._score(maps, controls, tuple(notes), (number + 1) / len(members), case)

    def _controls(self, case: Case, own: NDArray[np.float32]) -> dict[str, float]:
        compare, pixels = SIMILARITIES[self.similarity], case.model.to_pixels(case.image)
        return {name: compare(own, make(pixels, case.seed)) for name, make in CONTROLS.items() if name != "constant"}

    def _score(
        self,
        maps: dict[str, NDArray[np.float32]],
        controls: dict[str, float],
        notes: tuple[str, ...],
        progress: float,
        case: Case,
    ) -> Score:
        names = list(maps)
        matrix = similarities(list(maps.values()), self.similarity)
        order, linkage = neighbors(matrix)
        others = matrix[0, 1:]
        defined = others[np.isfinite(others)]
        if len(others) and not len(defined):
            notes = (*notes, "A constant map has no order to compare: its similarity is not defined.")
        if not len(others):
            notes = (*notes, "No other method applies.")
        mass = [alike(one, "signed mass" if self.similarity == "spearman_signed" else "mass") for one in maps.values()]
        together = {card: resolve(card).combine(mass) for card in ("agg_mean", "agg_var")} if len(mass) > 1 else {}
        shown = {"AGG-Mean": together["agg_mean"], "AGG-Var": together["agg_var"]} if together else {}
        return Score(
            float(defined.mean()) if len(defined) else math.nan,
            f"mean {self.similarity} with {len(defined)} methods",
            progress=progress,
            controls=controls,
            header=("method", *(names[k] for k in order)),
            rows=tuple((names[k], *(float(matrix[k, j]) for j in order)) for k in order),
            maps=maps | shown,
            items=tuple(float(value) for value in others),
            details={"matrix": matrix, "names": tuple(names), "order": order, "linkage": linkage},
            notes=notes,
            warnings=("W_SMALL",) if self.similarity in ("ssim", "hog") and small(case.size) else (),
        )


def similarities(maps: Sequence[NDArray[Any]], how: str) -> NDArray[np.float64]:
    """Return the similarity ``(J, J)`` of each pair of maps ``(H, W)``; 1 on the diagonal."""
    found = np.eye(len(maps))
    for i, one in enumerate(maps):
        for j in range(i):
            found[i, j] = found[j, i] = SIMILARITIES[how](one, maps[j])
    return found


def neighbors(matrix: NDArray[np.float64]) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Return an order in which maps that are alike are neighbors, and the linkage that it is read from.

    Average linkage of one less the similarity; one that is not defined counts as none.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(matrix) < 2:
        return tuple(range(len(matrix))), np.zeros((0, 4))
    distances = 1 - np.nan_to_num(matrix)
    np.fill_diagonal(distances, 0)
    tree = linkage(squareform(np.clip(distances, 0, None), checks=False), "average")
    return tuple(int(k) for k in leaves_list(tree)), tree
