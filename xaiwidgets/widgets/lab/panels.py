"""Which panel shows which test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xaiwidgets.studio.experiment import PAINTED, aimable
from xaiwidgets.widgets.lab.attack import Attack
from xaiwidgets.widgets.lab.panel import Panel
from xaiwidgets.widgets.lab.planted import Planted
from xaiwidgets.widgets.lab.randomization import Randomization
from xaiwidgets.widgets.lab.removal import Removal
from xaiwidgets.widgets.lab.sensitivity import Sensitivity
from xaiwidgets.widgets.lab.shift import Shift

if TYPE_CHECKING:
    from collections.abc import Callable

    from xaiwidgets.core.metric_cards import MetricCard
    from xaiwidgets.studio.experiment import Pattern

PANELS: dict[str, type[Panel]] = {
    "model_parameter_randomization": Randomization,
    "deletion": Removal,
    "insertion": Removal,
    "pixel_flipping": Removal,
    "input_invariance": Shift,
    "max_sensitivity": Sensitivity,
}


def panel_for(
    card: MetricCard,
    aimed: Callable[[tuple[float, float, float, float]], Any],
    painted: Callable[[Pattern | None], Any],
) -> Panel:
    """Return a new panel for a test.

    ``aimed`` is called with the region that a person draws for an attack, ``painted`` with the pattern to be planted.
    """
    if card.id == PAINTED[0]:
        return Planted(painted)
    if aimable(card):
        return Attack(aimed)
    return PANELS.get(card.id, Panel)()
