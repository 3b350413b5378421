"""The canvas: the only file that knows ipycanvas.

All drawing goes through one process-wide lock and ``hold``: ipycanvas has one unguarded manager for all canvases, and
its own ``hold_canvas`` leaves every canvas of the kernel frozen after an exception. Pictures travel as JPEG, which is
fast while something moves, and as PNG, which is exact, when it rests (docs/design/0004).
"""

from __future__ import annotations

import io
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from ipycanvas import Canvas
from ipycanvas.canvas import _CANVAS_MANAGER, COMMANDS
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

UI_LOCK = threading.RLock()
#: Seconds without a new picture after which the exact one is sent.
REST = 0.4
#: Radius of a handle of the rectangle, in canvas pixels.
HANDLE = 7

Box = tuple[float, float, float, float]


@contextmanager
def hold() -> Iterator[None]:
    """Collect draw commands and send them at once, whatever happens inside."""
    with UI_LOCK:
        before = _CANVAS_MANAGER._caching
        _CANVAS_MANAGER._caching = True
        # a page that has just connected has not heard which canvas was drawn on last, so say it every time
        _CANVAS_MANAGER._current_canvas = None
        try:
            yield
        finally:
            try:
                _CANVAS_MANAGER.flush()
            except BaseException:
                # what could not be sent must not stand in the way of the next picture
                _CANVAS_MANAGER._commands_cache, _CANVAS_MANAGER._buffers_cache = [], []
                raise
            finally:
                _CANVAS_MANAGER._caching = before


class Stage:
    """A canvas that shows one picture and, over it, one rectangle with handles and one caption.

    Keeps what it shows, so that a page that connects later, or again, gets it redrawn.

    Args:
        width: pixels of the canvas; it is scaled by CSS.
        height: pixels of the canvas.
        label: what it shows, for the text beside it.
    """

    def __init__(self, width: int, height: int, css_class: str = "xai-stage") -> None:
        self.canvas = Canvas(width=width, height=height)
        self.canvas.add_class(css_class)
        self._pixels: NDArray[np.uint8] | None = None
        self._box: Box | None = None
        self._active = False
        self._timer: threading.Timer | None = None
        self.canvas.on_client_ready(lambda: self._draw(exact=True))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in canvas pixels."""
        return int(self.canvas.height), int(self.canvas.width)

    def show(self, pixels: NDArray[np.uint8], *, exact: bool = False) -> None:
        """Show a picture, uint8 ``(H, W, 3)``; the canvas takes its size. Sent as JPEG first, exactly when it rests."""
        with UI_LOCK:
            self._pixels = pixels
            if self.size != pixels.shape[:2]:
                self.canvas.height, self.canvas.width = pixels.shape[:2]
            self._draw(exact=exact)
            if not exact:
                self._rest_later()

    def outline(self, box: Box | None, *, active: bool = False) -> None:
        """Show a rectangle (top, left, bottom, right) in canvas pixels, or none; ``active`` enlarges its handles."""
        with UI_LOCK:
            self._box, self._active = box, active
            self._draw(exact=False)
            self._rest_later()

    def close(self) -> None:
        """Cancel what is pending and close the widget."""
        with UI_LOCK:
            if self._timer is not None:
                self._timer.cancel()
            self._pixels = None
        self.canvas.close()

    def _rest_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(REST, self._rest)
        self._timer.daemon = True
        self._timer.start()

    def _rest(self) -> None:
        with UI_LOCK:
            pixels = self._pixels
        if pixels is None:
            return
        exact = _png(pixels)  # takes tens of milliseconds, during which a newer picture may be drawn
        with UI_LOCK:
            if self._pixels is pixels:
                self._send(exact)

    def _draw(self, *, exact: bool) -> None:
        with UI_LOCK:
            if self._pixels is not None:
                self._send(_png(self._pixels) if exact else None)

    def _send(self, exact: bytes | None) -> None:
        """Draw the picture, from its own PNG bytes or as JPEG, and what lies over it; the lock is held."""
        with hold():
            if exact is None:
                self.canvas.put_image_data(np.ascontiguousarray(self._pixels), 0, 0)
            else:
                _CANVAS_MANAGER.send_draw_command(self.canvas, COMMANDS["putImageData"], [0, 0], [exact])
            if self._box is not None:
                self._draw_box(self._box)

    def _draw_box(self, box: Box) -> None:
        top, left, bottom, right = box
        for color, width in (("rgba(0,0,0,0.75)", 4), ("#ffffff", 2)):  # double, so that it is seen on any photo
            self.canvas.stroke_style = color
            self.canvas.line_width = width
            self.canvas.stroke_rect(left, top, right - left, bottom - top)
        reach = HANDLE + (2 if self._active else 0)
        for row, column in corners(box):
            self.canvas.fill_style = "rgba(0,0,0,0.75)"
            self.canvas.fill_circle(column, row, reach + 1)
            self.canvas.fill_style = "#ffffff"
            self.canvas.fill_circle(column, row, reach - 1)

    # -- events -------------------------------------------------------------------------------------------------

    def on_pointer(
        self,
        down: Callable[[float, float], None],
        move: Callable[[float, float], None],
        up: Callable[[], None],
    ) -> None:
        """Call with (row, column) in canvas pixels for mouse and touch alike."""
        self.canvas.on_mouse_down(lambda x, y: down(y, x))
        self.canvas.on_mouse_move(lambda x, y: move(y, x))
        self.canvas.on_mouse_up(lambda x, y: up())
        self.canvas.on_mouse_out(lambda x, y: up())
        self.canvas.on_touch_start(lambda touches: down(touches[0][1], touches[0][0]) if touches else None)
        self.canvas.on_touch_move(lambda touches: move(touches[0][1], touches[0][0]) if touches else None)
        self.canvas.on_touch_end(lambda touches: up())
        self.canvas.on_touch_cancel(lambda touches: up())

    def on_leave(self, leave: Callable[[], None]) -> None:
        """Call when the pointer leaves the canvas."""
        self.canvas.on_mouse_out(lambda x, y: leave())

    def on_key(self, press: Callable[[str, bool], Any]) -> None:
        """Call with (key, whether shift is held). Tab never comes here: it must leave the canvas."""
        self.canvas.on_key_down(lambda key, shift, _control, _meta: press(str(key), bool(shift)))


def make_canvas(width: int, height: int, css_class: str) -> Canvas:
    """Return a canvas for what draws on it by ``put``."""
    canvas = Canvas(width=width, height=height)
    canvas.add_class(css_class)
    return canvas


def put(canvas: Canvas, pixels: NDArray[np.uint8] | bytes, row: int, column: int) -> None:
    """Draw a picture, uint8 ``(H, W, 3)`` sent as JPEG or the bytes of a PNG, at a place; call it inside ``hold``."""
    if isinstance(pixels, bytes):
        _CANVAS_MANAGER.send_draw_command(canvas, COMMANDS["putImageData"], [column, row], [pixels])
    else:
        canvas.put_image_data(np.ascontiguousarray(pixels), column, row)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a picture exactly, as PNG; lightly compressed, for speed."""
    return _png(pixels)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a picture exactly, as PNG; lightly compressed, for speed."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def corners(box: Box) -> tuple[tuple[float, float], ...]:
    """Return the four corners (row, column) of a box: top left, top right, bottom left, bottom right."""
    top, left, bottom, right = box
    return (top, left), (top, right), (bottom, left), (bottom, right)
