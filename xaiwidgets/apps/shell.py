"""All pages behind one row of tabs, on one model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.apps.compare import Compare
from xaiwidgets.apps.explorer import Explorer
from xaiwidgets.apps.humanstudy import HumanStudy
from xaiwidgets.apps.synthesislab import SynthesisLab
from xaiwidgets.apps.trustlab import TrustLab
from xaiwidgets.errors import InvalidModel
from xaiwidgets.widgets.closing import close_tree

if TYPE_CHECKING:
    from xaiwidgets.model.model import Model

PAGES = ("Explorer", "Synthesis", "Compare", "Trust", "Study")
TOOLTIPS = (
    "Explain a photo",
    "Watch pictures being made",
    "See many explanations side by side",
    "Test a map by hand",
    "Let people judge maps",
)


class App(w.VBox):
    """All pages under one row of tabs; each but the Explorer is made when it is first opened.

    Args:
        model: a ``Model``, a name for ``load_model``, or ``None`` for the bundled network.
        image: the first photo.
    """

    def __init__(self, model: Model | str | None = None, image: Any = "coffee") -> None:
        super().__init__()
        self.tabs = w.ToggleButtons(options=PAGES, tooltips=TOOLTIPS)
        self.tabs.style.button_width = "auto"  # five of them fit into one row of a page of 1024 px
        self.tabs.add_class("xai-tabs")
        self.explorer = Explorer(model, image, nav=self.tabs)
        self.synthesislab: SynthesisLab | None = None
        self.compare: Compare | None = None
        self.trustlab: TrustLab | None = None
        self.study: HumanStudy | None = None
        self.children: tuple[w.Widget, ...] = (self.explorer,)
        self.tabs.observe(self._open, "value")

    def _open(self, change: Any) -> None:
        page = self._page(change["new"])
        self._rest(page)
        self.children = self._pages
        for child in self.children:
            child.layout.display = "" if child is page else "none"

    def _page(self, name: str) -> w.Widget:
        """Return the page of this name, made now if it was never opened."""
        studio = self.explorer.studio
        if name == PAGES[1]:
            if self.synthesislab is None:
                self.synthesislab = SynthesisLab(
                    studio.model or self._model, image=studio.lens.image, album=studio.album, nav=self.tabs
                )
            return self.synthesislab
        if name == PAGES[2]:
            if self.compare is None:
                source = studio.model or self._model
                self.compare = Compare(source, studio.lens.image, album=studio.album, nav=self.tabs)
            return self.compare
        if name == PAGES[3]:
            if self.trustlab is None:
                source, lens = studio.model or self._model, studio.lens
                made = TrustLab(source, lens.image, lens.method, album=studio.album, nav=self.tabs)
                self.trustlab = made
            return self.trustlab
        if name == PAGES[4]:
            if self.study is None:
                self.study = HumanStudy(nav=self.tabs)
            return self.study
        return self.explorer

    @property
    def _pages(self) -> tuple[w.Widget, ...]:
        pages = (self.explorer, self.synthesislab, self.compare, self.trustlab, self.study)
        return tuple(page for page in pages if page is not None)

    def _rest(self, page: w.Widget) -> None:
        """Stop the work of all pages but this one."""
        # while the model is on its way, all pages wait for it
        if page is not self.explorer and self.explorer.studio.model is not None:
            self.explorer.studio.stop()
        if self.synthesislab is not None and page is not self.synthesislab:
            for lane in self.synthesislab.lanes:
                lane.run.pause()
        for other in (self.compare, self.trustlab):
            if other is not None and page is not other and other.studio.model is not None:
                other.studio.stop()
        if self.study is not None and page is not self.study:
            self.study.rest()

    def _model(self) -> Model:
        """Wait for the Explorer's model; called on the worker of another page."""
        studio = self.explorer.studio
        studio.wait()
        if studio.model is None:
            raise InvalidModel("model could not be loaded: the Explorer's status line says why.")
        return studio.model

    def close(self) -> None:
        """End all workers and close all widgets."""
        for page in self._pages:
            page.close()
        close_tree(self.tabs, self.layout)
        super().close()
