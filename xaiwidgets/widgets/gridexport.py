"""Taking a comparison along: a figure as PNG, SVG or PDF, and the Python code that makes it again."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.core.knobs import knobs_of
from xaiwidgets.render.look import Look
from xaiwidgets.widgets.export import _model_line, download

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xaiwidgets.studio.grid import Grid

KINDS = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}


def code_for_grid(
    grid: Grid, model: str, targets: Sequence[tuple[int, str]], pair: Any = None, image: str | None = None
) -> str:
    """Return Python code that computes and saves what the grid shows.

    Args:
        grid: what is on screen.
        model: its name.
        targets: (index, label) of each class.
        pair: the two (row, column) places whose difference is shown.
        image: name of a file that was uploaded.
    """
    plain = Look()
    methods = [(one.method, dict(one.knobs)) if one.knobs else one.method for one in grid.methods]
    more = f", layers={list(grid.layers)!r}" if grid.layers else ""
    more += f", across={grid.across!r}" if grid.across != "methods" else ""
    look = "".join(
        f", {k.name}={v!r}" for k in knobs_of(Look) if (v := getattr(grid.look, k.name)) != getattr(plain, k.name)
    )
    shown = f", scale={grid.scale!r}" + ("" if pair is None else f", difference={tuple(pair)!r}") + look
    names = ", ".join(" ".join(label.split()) for _, label in targets)
    return "\n".join(
        (
            "import xaiwidgets as xw",
            "",
            _model_line(model),
            f"image = {grid.image!r}" if image is None else f"image = {image!r}  # your upload: give its path",
            "methods = [",
            *(f"    {asked!r}," for asked in methods),
            "]",
            f"c = xw.compare(model, image, methods, targets={[index for index, _ in targets]!r}{more})  # {names}",
            f"c.save('comparison.png'{shown})",
        )
    )


class GridExport:
    """The buttons that save the figure and show the code, and the place where link and code appear.

    Args:
        make: called with ``png``, ``svg`` or ``pdf``; has the file made and hands it to ``give``.
        code: returns the code for what is on screen.
        name: of the file that is saved. ``what``: is in it, in words.
    """

    def __init__(
        self,
        make: Callable[[str], None],
        code: Callable[[], str],
        name: str = "comparison",
        what: str = "The whole grid",
    ) -> None:
        self._make, self._code, self._name = make, code, name
        self.buttons: dict[str, w.Button] = {}
        for kind in KINDS:
            button = w.Button(description=f"Save {kind.upper()}", tooltip=f"{what} as a {kind.upper()} figure")
            button.add_class("xai-plain")
            button.on_click(lambda _, kind=kind: self._ask(kind))
            self.buttons[kind] = button
        self.show_code = w.ToggleButton(description="Python code", tooltip=f"Code that makes this {name} again")
        self.show_code.add_class("xai-plain")
        self.show_code.observe(lambda _: self.refresh(), "value")
        self.place, self.text = w.HTML(), w.HTML()
        row = w.HBox([*self.buttons.values(), self.show_code])
        row.add_class("xai-tools")
        self.box = w.VBox([row, self.place, self.text])

    def refresh(self) -> None:
        """Bring the code up to date if it is shown; an old link is taken away."""
        self.place.value = ""
        shown = self.show_code.value
        self.text.value = f"<div class='xai-code' tabindex='0'>{escape(self._code())}</div>" if shown else ""

    def _ask(self, kind: str) -> None:
        self.place.value = "<span class='xai-muted' role='status'>Making the figure …</span>"
        self._make(kind)

    def give(self, kind: str, content: bytes | None) -> None:
        """Offer a file that was made, or say that there is none."""
        if content is None:
            self.place.value = "<span class='xai-muted' role='status'>Nothing to save yet.</span>"
            return
        name = f"{self._name}.{kind}"
        self.place.value = download(content, name, KINDS[kind], f"Download {name} ({len(content) / 1024:,.0f} kB)")
