"""Words and numbers about the picture: color bar, value under the pointer, text twin, progress and status."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.core.cards import card
from xaiwidgets.render.channels import COLORS, shown
from xaiwidgets.render.colorbar import HEIGHT, colorbar_html
from xaiwidgets.render.dominance import legend_html
from xaiwidgets.render.ends import ends_html
from xaiwidgets.render.numbers import number
from xaiwidgets.render.words import describe
from xaiwidgets.widgets.pace import Paced
from xaiwidgets.widgets.receipt import line_html

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from xaiwidgets.render.dominance import Dominance
    from xaiwidgets.render.look import Look
    from xaiwidgets.studio.frame import Frame, Status

#: Progress is sent at most this often, in seconds.
PACE = 0.08
#: An error stays in sight for so many seconds while other work goes on, or until something else is asked.
ERROR_STAYS = 4.0


class Readout:
    """The color bar with its unit, the value under the pointer, and the picture in words."""

    def __init__(self) -> None:
        self.bar = w.HTML(layout=w.Layout(height=f"{HEIGHT}px", flex="1", min_width="0"))
        self.cursor = w.HTML(layout=w.Layout(width="168px"))
        self.twin = w.HTML()
        self._map: NDArray[np.float32] | None = None
        self._classes: Dominance | None = None
        self._unit = ""
        self._at: tuple[float, float] | None = None
        self._pace = Paced(self._tell, PACE / 2)
        row = w.HBox([self.bar, self.cursor], layout=w.Layout(width="100%", align_items="center"))
        row.add_class("xai-scale")
        self.box = w.VBox([row, self.twin], layout=w.Layout(width="100%"))
        self.leave()

    def show(self, frame: Frame, look: Look) -> None:
        """Say what the frame shows under this look."""
        result, part = frame.result, shown(frame.result, look)
        self._map, self._unit, self._classes = part.points, result.unit, part.classes
        if self._at is not None:  # the pointer rests, and there is another value under it
            self._pace(*self._at)
        self.bar.value = colorbar_html(part.scale, part.look, result.unit)
        method = part.title(card(frame.lens.method).title)
        words = describe(
            part.part, part.map_scale, method=method, target=frame.target, layer=result.layer, unit=result.unit
        )
        notes = escape(" ".join(result.notes))
        legend = legend_html(part.classes) if part.classes is not None else ends_html(result, part.scale, part.look)
        lines = f"{legend}{line_html(result)} <span class='xai-muted' title='{notes}'>{notes}</span>"
        self.twin.value = (
            f"<div class='xai-twin xai-words' role='status' aria-live='polite'>{escape(words)}"
            f"<div class='xai-lines'>{lines}</div></div>"
        )

    def point(self, row: float, column: float) -> None:
        """Show the value at a place given as shares of the picture; of many places in a moment, the last."""
        self._at = (row, column)
        self._pace(row, column)

    def _tell(self, row: float, column: float) -> None:
        values = self._map  # the worker may put another one there
        if values is None:
            return
        height, width = values.shape[:2]
        inside = values[min(height - 1, int(row * height)), min(width - 1, int(column * width))]
        if values.ndim == 3:
            told = (f"{name[0].upper()} <b>{number(float(v), 2)}</b>" for name, v in zip(COLORS, inside, strict=True))
            words = " ".join(told)
        else:
            words = f"<b>{number(float(inside))}</b> {escape(self._unit)}"
            if self._classes is not None:
                words = f"<b>{escape(self._classes.label(row, column))}</b> {number(float(inside))}"
        self.cursor.value = f"<div class='xai-point' title='{escape(self._unit)}'>under the pointer<br>{words}</div>"

    def leave(self) -> None:
        """The pointer has left the picture."""
        self._at = None
        self._pace.forget()
        self.cursor.value = "<div class='xai-point xai-muted'>under the pointer<br>–</div>"

    def clear(self) -> None:
        """There is no map yet."""
        self._map = None
        self._pace.forget()
        self.bar.value = ""
        self.twin.value = "<div class='xai-twin xai-words'>&nbsp;<div class='xai-lines'></div></div>"


class StatusLine:
    """What is happening, how far it is, what it has cost; or what went wrong and what would work."""

    def __init__(self) -> None:
        self.progress = w.HTML()
        self.line = w.HTML()
        self._sent = 0.0
        self._kind = ""
        self._error, self._failed = "", 0.0

    def show(self, status: Status) -> None:
        """Show a status; progress of running work is thinned out."""
        now = time.monotonic()
        if status.kind == "busy" == self._kind and now - self._sent < PACE and status.progress < 1:
            return
        self._sent, self._kind = now, status.kind
        share = 100 if status.kind == "idle" else 100 * status.progress
        shade = "0" if status.kind in ("idle", "error") else "1"
        self.progress.value = (
            f"<div class='xai-progress' role='progressbar' aria-valuenow='{share:.0f}' style='opacity:{shade}'>"
            f"<div style='width:{share:.1f}%'></div></div>"
        )
        self.line.value = f"<div class='xai-status xai-kind-{status.kind}' role='status'>{self._words(status)}</div>"

    def forgive(self) -> None:
        """A person has asked for something else: the last error need not stay."""
        self._error = ""

    def _words(self, status: Status) -> str:
        text = escape(status.text)
        if status.kind == "error":
            self._error, self._failed = f"<span class='xai-error' role='alert'>{text}</span>", time.monotonic()
            return self._error
        if time.monotonic() - self._failed > ERROR_STAYS:
            self._error = ""
        parts: list[Any] = [f"{self._error}<span>{text}</span>"]
        if status.kind == "busy" and status.progress:
            parts.append(f"{status.progress:.0%}")
        forward, backward = status.passes
        if forward or backward:
            parts.append(f"{forward} forward, {backward} backward passes")
        if status.seconds:
            parts.append(f"{status.seconds:.2f} s")
        if status.kind == "busy" and status.left is not None and status.seconds > 1:
            parts.append(f"about {status.left:.0f} s left")
        return "".join(f"<span class='{'xai-muted' if i else ''}'>{part}</span>" for i, part in enumerate(parts))
