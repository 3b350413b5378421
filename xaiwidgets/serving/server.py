"""Which notebook is served, where and how: settings, addresses and paths. Loads Voila only when it serves."""

from __future__ import annotations

import errno
import ipaddress
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xaiwidgets.errors import XaiError

if TYPE_CHECKING:
    import socket

HERE = Path(__file__).resolve().parent
#: A Jupyter data folder that holds nothing but the page template.
TEMPLATES = HERE / "templates"
#: In a wheel the notebooks lie beside this file, in a checkout at its top.
NOTEBOOK_FOLDERS = (HERE / "notebooks", HERE.parent.parent / "notebooks")
#: Largest message from a page. An upload is one message, so this bounds what one visitor can make the server hold.
MESSAGE_LIMIT = 16 * 2**20


class CannotListen(XaiError, OSError):  # noqa: N818
    """The server cannot listen where it was asked to."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One served notebook.

    Attributes:
        notebook: path of the notebook. ``title``: how the address line calls it.
        host, port: where to listen; port 0 is a free one.
        token: secret that a visitor must bring, or an empty string for none.
        theme: ``light`` or ``dark``.
        preheat: keep one kernel running ahead of the next visitor.
        browser: open a browser when the server listens.
        cull_idle: seconds without a visitor after which a kernel is stopped; looked at every ``cull_interval`` seconds.
    """

    notebook: Path
    title: str
    host: str = "127.0.0.1"
    port: int = 0
    token: str = ""
    theme: str = "light"
    preheat: bool = False
    browser: bool = True
    cull_idle: int = 120
    cull_interval: int = 30


def notebook_path(name: str) -> Path:
    """Return the path of a shipped notebook (``explorer``, ``synthesislab``), in a wheel or in a checkout."""
    for folder in NOTEBOOK_FOLDERS:
        path = folder / f"{name}.ipynb"
        if path.is_file():
            return path
    known = sorted({p.stem for folder in NOTEBOOK_FOLDERS for p in folder.glob("*.ipynb")})
    raise FileNotFoundError(
        f"name must be a shipped notebook, one of {', '.join(known) or '(none found)'}; got {name!r}."
    )


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach ``host``."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address(settings: Settings, port: int) -> str:
    """Return the URL to open, with the token where there is one."""
    host = "127.0.0.1" if settings.host in ("", "0.0.0.0", "::") else settings.host
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}/" + (f"?token={settings.token}" if settings.token else "")


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket, or raise ``CannotListen`` with what to do."""
    import socket

    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, place = found[0]
        listening = socket.create_server(place[:2], family=family, backlog=128)
    except (OSError, OverflowError, UnicodeError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise CannotListen(
                f"port {port} on {host} is already in use. Choose another with --port, or leave it out for a free one."
            ) from error
        raise CannotListen(
            f"cannot listen on {host}, port {port}: {error}. Try --host 127.0.0.1 without --port."
        ) from error
    listening.setblocking(False)
    return listening


def prepare_environment() -> None:
    """Let Voila find the template, and its kernels this package, also from a checkout."""
    _prepend("JUPYTER_PATH", str(TEMPLATES))
    home = HERE.parent.parent
    # An installed package is found anyway, and site-packages in front of the standard library would shadow it.
    if not {"site-packages", "dist-packages"} & set(home.parts):
        _prepend("PYTHONPATH", str(home))
    os.environ["XAIWIDGETS_SERVED"] = "1"  # pages are for strangers, who must not name files of this machine
    # Two torch threads on a busy machine were slower than one, and starve the thread that answers the page.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _prepend(variable: str, path: str) -> None:
    old = [p for p in os.environ.get(variable, "").split(os.pathsep) if p and p != path]
    os.environ[variable] = os.pathsep.join([path, *old])


def serve(settings: Settings) -> None:
    """Serve until Ctrl-C or SIGTERM, then stop every kernel.

    Prints one line ``xaiwidgets <title>: <address>`` when the server listens. Raises ``CannotListen``.
    """
    listening = bind(settings.host, settings.port)
    prepare_environment()
    from xaiwidgets.serving.host import Host

    url = address(settings, listening.getsockname()[1])

    def announce() -> None:
        sys.stdout.write(f"xaiwidgets {settings.title}: {url}\n")
        sys.stdout.flush()
        if settings.browser:
            _open_browser(url)

    Host.run(settings, listening, announce)


def _open_browser(url: str) -> None:
    """Open a browser from a thread: some browsers block the caller until they are closed."""
    import threading
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
