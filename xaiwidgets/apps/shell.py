"""All pages behind one row of tabs, on one model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.apps.explorer import Explorer
from xaiwidgets.apps.maximizer import Maximizer
from xaiwidgets.errors import InvalidModel
from xaiwidgets.widgets.closing import close_tree

if TYPE_CHECKING:
    from xaiwidgets.model.model import Model

PAGES = ("Explorer", "Maximize")


class App(w.VBox):
    """The Explorer and the Maximizer under one row of tabs; a page is made when it is first opened.

    Args:
        model: a ``Model``, a name for ``load_model``, or ``None`` for the bundled network.
        image: the first photo.
    """

    def __init__(self, model: Model | str | None = None, image: Any = "coffee") -> None:
        super().__init__()
        self.tabs = w.ToggleButtons(options=PAGES, tooltips=("Explain a photo", "Watch a network paint"))
        self.tabs.style.button_width = "96px"
        self.tabs.add_class("xai-tabs")
        self.explorer = Explorer(model, image, nav=self.tabs)
        self.maximizer: Maximizer | None = None
        self.children: tuple[w.Widget, ...] = (self.explorer,)
        self.tabs.observe(self._open, "value")

    def _open(self, change: Any) -> None:
        if change["new"] == PAGES[1]:
            studio = self.explorer.studio
            if studio.model is not None:  # else the model is on its way, and both pages wait for it
                studio.stop()
            if self.maximizer is None:
                self.maximizer = Maximizer(studio.model or self._model, nav=self.tabs)
                self.children = (self.explorer, self.maximizer)
            page: w.Widget = self.maximizer
        else:
            if self.maximizer is not None:
                self.maximizer.run.pause()
            page = self.explorer
        for child in self.children:
            child.layout.display = "" if child is page else "none"

    def _model(self) -> Model:
        """Wait for the Explorer's model; called on the Maximizer's worker."""
        studio = self.explorer.studio
        studio.wait()
        if studio.model is None:
            raise InvalidModel("model could not be loaded: the Explorer's status line says why.")
        return studio.model

    def close(self) -> None:
        """End all workers and close all widgets."""
        self.explorer.close()
        if self.maximizer is not None:
            self.maximizer.close()
        close_tree(self.tabs, self.layout)
        super().close()
