"""The panel of any test: its maps and pictures side by side, its curves, its table, and what to know beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ipywidgets as w
import numpy as np

from xaiwidgets.render.lines import by_axes
from xaiwidgets.render.score_words import evidence_html, rows_html
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.drawing import UI_LOCK
from xaiwidgets.widgets.lab.plot import Plot
from xaiwidgets.widgets.lab.sheet import LARGE, SMALL, Sheet, Tile, fitted, map_tile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from xaiwidgets.core.scores import Curve, Score
    from xaiwidgets.render.look import Look

#: Maps and pictures that are shown, and plots.
MOST_TILES, MOST_PLOTS = 8, 3
#: What a map is called that is the map in question; it lies over the photo.
OWN = ("map", "trained", "this map", "as it is")


@dataclass(frozen=True, eq=False)
class Shot:
    """What a panel shows.

    Attributes:
        question: what was asked; another one starts the panel anew.
        score: as far as it has come, or ``None``.
        photo: what the network sees, uint8 ``(H, W, 3)``. ``look``: how maps are shown.
        unit: of the map in question. ``target``: what is explained, in words.
        reel: makes the picture of a removal score after a count of pixels.
        level: what one unit of the network's input is in levels of 255.
        region: where an attack aims at, in shares of the picture.
        paints: whether there is a pattern to paint. ``pattern``: the one that a person has painted.
    """

    question: Any
    score: Score | None
    photo: NDArray[np.uint8]
    look: Look
    unit: str = ""
    target: str = ""
    reel: Callable[[Score], Callable[[int], NDArray[np.uint8]] | None] = lambda _: None
    level: float = 127.5
    region: tuple[float, float, float, float] | None = None
    paints: bool = False
    pattern: tuple[tuple[int, ...], ...] | None = None


class Panel:
    """Shows any score; panels of single tests say differently what stands where.

    ``box`` is the widget. All methods may be called from any thread.
    """

    #: Pixels of the page's height that are not for pictures.
    beside = 576

    def __init__(self) -> None:
        self.sheet, self.plots = Sheet(), [Plot() for _ in range(MOST_PLOTS)]
        self.words, self.table, self.known = w.HTML(), w.HTML(), w.HTML()
        self.words.add_class("xai-scrubbed")
        self.shot: Shot | None = None
        self._photo: tuple[Any, Any, Any] = (None, None, None)
        self._tiles: dict[Any, tuple[Any, Tile]] = {}
        self.box = w.VBox(list(self.parts()))
        self.box.add_class("xai-lab-panel")
        self.box.add_class(f"xai-beside{self.beside}")

    def parts(self) -> Sequence[w.Widget]:
        """Return the widgets from top to bottom."""
        plots = w.Box([plot.box for plot in self.plots])
        plots.add_class("xai-plots")
        return (self.sheet.box, plots, self.table, self.known)

    def show(self, shot: Shot) -> None:
        """Bring the panel up to date."""
        with UI_LOCK:
            old, self.shot = self.shot, shot
            if old is None or old.question != shot.question or old.photo is not shot.photo:
                self._tiles.clear()
                self.begin(shot)
            if old is not None and old.look != shot.look:
                self._tiles.clear()
            self.draw(shot)
            self.known.value = evidence_html(shot.score)

    def begin(self, shot: Shot) -> None:
        """Another question is asked."""

    def draw(self, shot: Shot) -> None:
        """Show a score, or that there is none yet."""
        score = shot.score
        tiles = [self.photo_tile("the picture")]
        plots: list[list[Curve]] = []
        if score is not None:
            maps, pictures = list(score.maps.items()), list(score.pictures.items())
            room = MOST_TILES - 1 - min(len(pictures), 3)
            side = SMALL if len(maps) + len(pictures) + 1 > 2 else LARGE
            for name, values in maps[:room]:
                own = name in OWN and np.shape(values)[:1] != () and self.fits(values)
                tiles.append(self.map(name, values, over=own, side=side))
            tiles += [Tile(name, pixels) for name, pixels in pictures[: MOST_TILES - len(tiles)]]
            plots = by_axes(score.curves)
        self.sheet.show(tiles, self.ratio)
        for number, plot in enumerate(self.plots):
            curves = plots[number] if number < len(plots) else []
            plot.show(curves, score.limit if score is not None and self.limited(curves) else None)
        self.table.value = "" if score is None else rows_html(score.header, score.rows)

    def limited(self, curves: Sequence[Curve]) -> bool:
        """Return whether the threshold of the number is one of these curves', too."""
        return False

    # -- tiles ------------------------------------------------------------------------------------------------------

    @property
    def ratio(self) -> float:
        """Height of a tile as a share of its width."""
        assert self.shot is not None
        height, width = self.shot.photo.shape[:2]
        return height / width

    def fits(self, values: NDArray[Any]) -> bool:
        """Return whether a map can lie over the photo: it has the photo's proportions."""
        height, width = values.shape
        return abs(height / width - self.ratio) < 0.02

    def photo(self, side: int = LARGE) -> NDArray[np.uint8]:
        """Return the photo at the size of a tile."""
        assert self.shot is not None
        if self._photo[:2] != (id(self.shot.photo), side):
            ratio = self.ratio
            size = (round(side * min(1.0, ratio)), round(side / max(1.0, ratio)))
            self._photo = (id(self.shot.photo), side, fitted(self.shot.photo, size))
        return self._photo[2]  # type: ignore[no-any-return]

    def photo_tile(self, title: str = "photo") -> Tile:
        """Return the plain photo."""
        return Tile(title, self.photo())

    def map(
        self,
        title: str,
        values: NDArray[Any] | None,
        *,
        over: bool = True,
        unit: str = "",
        scale: Any = None,
        side: int = LARGE,
        tell: str = "",
    ) -> Tile:
        """Return a map as a tile, drawn once; an empty one while there is no map."""
        assert self.shot is not None
        if values is None:
            return Tile(title, None, "", tell)
        known = self._tiles.get(title)
        if known is None or known[0] is not values or scale is not None:
            photo = self.photo(side) if over else None
            tile = map_tile(title, values, photo, self.shot.look, unit=unit, scale=scale, side=side)
            known = self._tiles[title] = (values, tile)
        return known[1]

    def close(self) -> None:
        """Close all widgets."""
        self.sheet.close()
        # a panel need not have all of them in its box
        close_tree(self.box, self.words, self.table, self.known, *(plot.box for plot in self.plots))
