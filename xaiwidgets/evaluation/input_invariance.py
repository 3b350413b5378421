"""Input invariance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.knobs import Choice, Range, knob
from xaiwidgets.core.metric_cards import metric
from xaiwidgets.core.scores import Limit, Score
from xaiwidgets.evaluation.case import map_of
from xaiwidgets.evaluation.similarity import spearman_abs

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from xaiwidgets.evaluation.case import Case


@metric(
    title="Input invariance",
    category="input",
    question="Does the map stay the same when all pictures are shifted and the network makes up for it?",
    cite="Kindermans et al. 2019",
    paper="arXiv:1711.00867",
    section="4.4",
    direction="lower",
    range=(0.0, math.inf),
    limit=Limit("<", 1e-3, "Larger than rounding in float32 and far below what a method that reads the input gives."),
    formula="‖e₁(x) − e₂(x + m)‖ / ‖e₁(x)‖ for f₂(x + m) = f₁(x), whose first bias is b − Wm",
    how="A second network gets pictures that are brighter or darker by a constant, and a first bias that takes it away "
    "again. Both answer alike, unit by unit, so an explanation of the answer must be the same.",
    caution="Methods that start from a reference pass or fail with the reference: black moves with the pictures, the "
    "zero vector of the input does not. With Baseline of the method, try both.",
)
class InputInvariance:
    """Relative change of a map under a shift of the input that the network makes up for (Kindermans et al. 2019).

    0 for a map that stays. Reduction: none, values are compared channel by channel. ``details``: ``spearman``, the
    rank correlation of both maps, and ``answers``, how far the two networks' answers are apart, which is rounding.
    The padding of the first convolution is shifted, too, for else the two networks would differ at the border. Both
    maps are computed in float64: in float32, rounding alone opens and shuts ReLUs of a deep network, and moves its
    gradient by percents.

    Raises:
        NotApplicable: the first layer is of another kind, or something else reads the picture.
    """

    shift: float = knob(
        -1.0,
        Range(-4.0, 4.0, step=0.1),
        label="Shift",
        help="What is added to each value of the input; the paper takes -1.",
    )
    pattern: str = knob(
        "constant",
        Choice(("constant", "stripes", "spot")),
        label="Pattern",
        help="constant, or a picture that is added: it shows up in maps that read the input.",
    )

    def score(self, case: Case) -> Generator[Score | None, None, None]:
        """Yield one score."""
        from xaiwidgets.evaluation.shifting import first_layer, in_double, shifted

        name = first_layer(case.model, case.image)  # passes in float64 take ten times as long
        model, image = in_double(case.model), case.image.double()
        yield None
        one = yield from case.explaining(image=image, model=model)
        shift = self.picture(image)
        other, difference = shifted(model, image, shift, name)
        yield None
        two = yield from case.explaining(image=image + shift, model=other)
        # by the largest value first: some methods' maps grow so large that their squares overflow
        scale = float(np.abs(one.values).max()) or 1.0
        change = float(np.linalg.norm((one.values - two.values) / scale))
        size = float(np.linalg.norm(one.values / scale))
        empty = size == 0
        yield Score(
            change / size if size else (math.nan if change == 0 else math.inf),
            "relative change",
            maps={
                "map": map_of(one, "signed"),
                "of the shifted network": map_of(two, "signed"),
                "shift": shift[0].mean(dim=0).cpu().numpy(),
            },
            details={"spearman": spearman_abs(map_of(one), map_of(two)), "answers": difference},
            notes=("The map is 0 everywhere.",) if empty else (),
            warnings=("W_DEGENERATE",) if empty else (),
        )

    def picture(self, image: Tensor) -> Tensor:
        """Return what is added, ``(1, C, H, W)``."""
        import torch

        height, width = image.shape[-2:]
        if self.pattern == "constant":
            found = torch.ones(height, width)
        elif self.pattern == "stripes":
            found = (torch.arange(width) // max(1, width // 12) % 2).float().expand(height, width)
        else:
            down, across = (torch.linspace(-1, 1, n) for n in (height, width))
            found = torch.exp(-8 * (down[:, None] ** 2 + across[None, :] ** 2))
        return (self.shift * found).to(image).expand_as(image).contiguous()
