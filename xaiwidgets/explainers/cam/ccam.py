"""CCAM: the common component activation map of a set of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaiwidgets.core.cards import explainer
from xaiwidgets.core.knobs import Choice, Range, ReferenceName, check_knobs, knob
from xaiwidgets.explainers.cam.common import VECTORS, Group, mean_of
from xaiwidgets.explainers.cam.pooled import head_of, only_classes, threshold_knob
from xaiwidgets.model.references import find_references

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from xaiwidgets.core.results import Attribution
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target


@explainer(
    title="CCAM",
    family="cam",
    idea="Where the photo shows what it has in common with a set of others, known to the network or not.",
    cite="Li, Jafari, Rother 2018",
    paper='"Localizing common objects using common component activation map"',
    section="2.3.7",
    needs=("gap_head",),
    formula="Σ p̄(c) · M_c over the T largest p̄(c);  p̄ = mean of the photos' probabilities",
    how="Each photo of the set is described by its class probabilities, and the descriptions are averaged. The classes "
    "that come first in the average are the common components; their class activation maps of this photo are added, "
    "each weighted by its average probability.",
    caution="Does not depend on the class that was chosen. Says something only for photos that share an object. An "
    "object of a class the network has not learned is found only if it is like some classes that it has.",
)
class Ccam:
    """Sum of class activation maps, weighted by the mean class probabilities of a set of pictures (Li et al. 2018).

    Yields ``(1, h, w)``, signed, after each picture of the set; for ``softmax`` in logits. The mean of the values is
    ``score`` less the weighted bias. The photo itself belongs to the set; if it is found in it, it counts once.
    ``details``: ``group``, the mean vector; ``components``, rows of (index, label, weight); ``pictures``, how many;
    ``box``, around the largest connected part above a share of the positive part's range. For the maps of all pictures
    at once see ``common_components``.

    Raises:
        NotApplicable: the network has no head of global average pooling, or a hidden unit is asked for.
        InvalidKnob: no set of pictures is registered under ``references``.
    """

    references: str = knob(
        "photos",
        ReferenceName(),
        label="Other photos",
        help="The set that shares something; xaiwidgets.reference_set(name, images) adds your own.",
    )
    pictures: int = knob(8, Range(1, 64), label="Most photos", help="So many of the set at most, spread over it.")
    components: int = knob(5, Range(1, 50), label="Components", help="How many of the first classes are added.")
    vector: str = knob(
        "softmax",
        Choice(VECTORS),
        label="Described by",
        help="softmax: class probabilities; logit: scores; gap_feature: the averaged maps themselves.",
        advanced=True,
    )
    threshold: float = threshold_knob("the range of the map's positive part")

    def __post_init__(self) -> None:
        check_knobs(self)
        find_references(self.references)

    def cost(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (forward, backward) passes of one image: the photo, and each of the set."""
        return 1 + len(find_references(self.references).chosen(self.pictures)), 0

    def steps(self, model: Model, image: Tensor, target: Target) -> Iterator[Attribution]:
        """Yield the map after each picture of the set."""
        import torch

        from xaiwidgets.engine.references import images_of

        only_classes("ccam", target)
        others = images_of(model, self.references, self.pictures, image)
        group = Group(head_of("ccam", model), self.components, self.vector, self.threshold)
        maps, scores = model.pooled(image)
        vectors = [group.describe(maps, scores)]
        told = (find_references(self.references).sentence(self.pictures), "The class that was chosen plays no part.")
        yield group.result(model, image, maps, vectors[0][0], 1).replace(progress=1 / (1 + len(others)))
        for number, other in enumerate(torch.split(others, 1), 2):
            vector = group.describe(*model.pooled(other, keep=False))
            if not torch.equal(other, image):  # a set has each of its members once
                vectors.append(vector)
            found = group.result(model, image, maps, mean_of(vectors), len(vectors))
            yield found.replace(progress=number / (1 + len(others)), notes=(*found.notes, *told))
