"""Voila for one notebook, closed down: what a page may ask for, and how the server starts and ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from traitlets.config import Config
from voila.app import Voila

from xaiwidgets.serving import messages
from xaiwidgets.serving.server import MESSAGE_LIMIT

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from xaiwidgets.serving.server import Settings

log = logging.getLogger("xaiwidgets.serving")

#: JupyterLab extensions that the page loads; whatever else is installed stays out of it.
EXTENSIONS = ("@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8", "ipycanvas")
#: Milliseconds between two pings that keep a page's socket open through proxies.
PING_INTERVAL = 30_000
#: The browser itself refuses every request to another host. JupyterLab's code needs the two ``unsafe`` words.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline' data:",
        "img-src 'self' blob: data:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "frame-ancestors 'self'",
        "form-action 'self'",
        "base-uri 'self'",
    )
)


class ThisPython(KernelSpecManager):
    """Kernels run in this very Python, never in one of the same name that is installed elsewhere."""

    def _kernel_dirs_default(self) -> list[str]:
        return []


class Kernels(AsyncMappingKernelManager):
    """Stops kernels that nobody looks at, but never one that was just handed to a visitor.

    A preheated kernel has been idle since it was warmed up. The culler leaves it alone while it waits in the pool; once
    taken, it would fall in the second before the page has connected. So idle time counts from when it left the pool.
    """

    def __init__(self, **kwargs: Any) -> None:
        self._out_since: dict[str, float] = {}
        super().__init__(**kwargs)

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """Stop the kernel if it has had no visitor for ``cull_idle_timeout`` seconds; not called for pooled ones."""
        now = time.monotonic()
        self._out_since = {k: since for k, since in self._out_since.items() if k in self}
        if now - self._out_since.setdefault(kernel_id, now) >= self.cull_idle_timeout:
            await super().cull_kernel_if_idle(kernel_id)


def configuration(settings: Settings) -> Config:
    """Return Voila's settings for one notebook that strangers may open."""
    config = Config()
    config.VoilaConfiguration.update(
        template="xaiwidgets",
        theme=settings.theme,
        allow_template_override="NO",
        allow_theme_override="NO",
        file_denylist=[".*"],
        strip_sources=True,
        show_tracebacks=False,
        preheat_kernel=settings.preheat,
        default_pool_size=1,
        extension_allowlist=list(EXTENSIONS),
        kernel_spec_manager_class=ThisPython,
        multi_kernel_manager_class=Kernels,
    )
    config.Voila.update(
        notebook_path=str(settings.notebook),
        ip=settings.host,
        token=settings.token,
        open_browser=False,
        config_file_paths=[],  # a voila.json that happens to lie about must not open what is closed here
        log_level=logging.ERROR,
        tornado_settings={
            "websocket_max_message_size": MESSAGE_LIMIT,
            # In ms. jupyter_server looks at the last answer when it sends the next ping, so a limit of one interval
            # closes a healthy socket whenever a ping is sent a little late; three may be missed.
            "ws_ping_interval": PING_INTERVAL,
            "ws_ping_timeout": 3 * PING_INTERVAL,
            "headers": {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"},
            "log_function": _log_failure,
        },
    )
    config.VoilaExecutor.cell_error_instruction = "The reason is in the terminal where xaiwidgets was started."
    # Voila refuses the page's own "stop my kernel" for want of an XSRF token: without culling a closed tab leaks one.
    config.MappingKernelManager.update(cull_idle_timeout=settings.cull_idle, cull_interval=settings.cull_interval)
    # Other users of the machine share its loopback. Where kernel and client can, what they say is encrypted.
    config.KernelManager.transport_encryption = "auto"
    return config


def _log_failure(handler: Any) -> None:
    """Log what the server got wrong, without the path: a kernel's id in it is the visitor's secret."""
    if handler.get_status() >= 500:
        log.error("%s answered %d to a %s", type(handler).__name__, handler.get_status(), handler.request.method)


class Host(Voila):
    """Voila on a socket that is bound already, so that a taken port is known before anything is loaded."""

    bound: socket.socket
    announce: Callable[[], None]

    @classmethod
    def run(cls, settings: Settings, listening: socket.socket, announce: Callable[[], None]) -> None:
        """Serve on a bound socket until a signal comes; ``announce`` is called when requests are answered."""
        # Tornado writes each refused request with its path, and a kernel's id in it is the visitor's secret.
        logging.getLogger("tornado.general").setLevel(logging.ERROR)
        messages.install()
        asyncio.set_event_loop(asyncio.new_event_loop())
        host = cls(config=configuration(settings))
        host.bound, host.announce = listening, announce
        host.ioloop = IOLoop.current()
        host.initialize([])
        host.port = listening.getsockname()[1]
        host.start()

    def listen(self) -> None:
        """Answer requests until a signal comes, then stop all kernels."""
        server = HTTPServer(self.app)
        server.add_socket(self.bound)
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._handle_signal_stop)
        self.ioloop.add_callback(self.announce)
        try:
            self.ioloop.start()
        finally:
            server.stop()
            self.stop()

    def stop(self) -> None:
        """Kill every kernel, also one that is just starting: nothing in it is worth waiting for."""
        with contextlib.suppress(asyncio.CancelledError):
            self.ioloop.run_sync(lambda: self.kernel_manager.shutdown_all(now=True), timeout=20)
        shutil.rmtree(self.connection_dir, ignore_errors=True)
