"""A server for a notebook, a real Chromium, and what a page must not do."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

HERE = Path(__file__).parent
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: Milliseconds that a page is waited for where a test does not say: what is late on a busy machine is not wrong.
PATIENCE = 60_000
#: Console errors that are not ours and do no harm, each with its reason.
HARMLESS: tuple[str, ...] = (
    "/voila/api/shutdown/",  # Voila's page asks for its kernel's end without an XSRF token: refused, and culled instead
)
#: The settings travel as JSON on the command line; -P keeps the working directory from hiding an installed package.
DRIVER = """
import json, sys
from pathlib import Path
from xaiwidgets.serving.server import Settings, notebook_path, serve
given = json.loads(sys.argv[1])
name = given.pop("name")
local = Path(given.pop("folder")) / f"{name}.ipynb"
serve(Settings(local if local.is_file() else notebook_path(name), title=name, browser=False, **given))
"""


@dataclass
class Server:
    """A running server: its address and its process."""

    url: str
    process: subprocess.Popen[str]
    kernels: Callable[[], list[int]] = field(repr=False)


@dataclass
class Log:
    """What a page did that a test may want to forbid."""

    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


LOGS: dict[int, Log] = {}


def start_server(name: str, **settings: object) -> Server:
    """Start a server on a free port, in a process group of its own, and wait for its address."""
    import json

    import psutil

    given = json.dumps({"name": name, "folder": str(HERE), **settings})
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", DRIVER, given],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if "http://" not in line:
        stop_server(process)
        pytest.fail(f"the server of {name!r} ended before it listened; its first line was {line!r}")

    def kernels() -> list[int]:
        try:
            return [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    return Server(line.split(": ", 1)[1].strip(), process, kernels)


def stop_server(process: subprocess.Popen[str]) -> None:
    """Ask the server to end, and kill its whole group if it does not. Kernels end when their server is gone."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(15)
    if process.stdout is not None:
        process.stdout.close()


@pytest.fixture(scope="session")
def voila_server() -> Iterator[Callable[..., Server]]:
    """Return ``voila_server(name, **settings) -> Server``: one server a notebook and settings, kept for the session.

    ``name`` is a notebook beside this file (``tiny``) or a shipped one (``explorer``); ``settings`` are fields of
    ``serving.server.Settings``. ``fresh=True`` gives a server of its own. All end with the session, also on SIGTERM.
    """
    kept: dict[object, Server] = {}
    started: list[Server] = []

    def make(name: str, *, fresh: bool = False, **settings: object) -> Server:
        key = (name, tuple(sorted(settings.items())))
        if fresh or key not in kept or kept[key].process.poll() is not None:
            server = start_server(name, **settings)
            started.append(server)
            if fresh:
                return server
            kept[key] = server
        return kept[key]

    def stop_all() -> None:
        while started:
            stop_server(started.pop().process)

    def on_terminate(signum: int, frame: object) -> None:
        stop_all()
        signal.signal(signum, signal.SIG_DFL)  # an exception would only fail the test that is running
        os.kill(os.getpid(), signum)

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, on_terminate) if main else None
    try:
        yield make
    finally:
        stop_all()
        if main:
            signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session", autouse=True)
def one_process(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Fail if browser tests run in more than one process: those of a file go on where the last has left the page."""
    worker = getattr(request.config, "workerinput", None)
    if worker is None:
        return
    mine = tmp_path_factory.getbasetemp().parent / f"browser-{worker['testrunuid']}"
    with contextlib.suppress(FileExistsError), mine.open("x") as file:
        file.write(worker["workerid"])
    if mine.read_text() != worker["workerid"]:
        pytest.fail("browser tests must all run in one process, see tests/conftest.py")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless Chromium of the system; its absence is a failure, never a skip."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.fail(
            "browser tests need Chromium, and none of "
            f"{', '.join(CHROMIUM)} is on the PATH. Debian, Ubuntu: apt-get install chromium; "
            "or leave them out with: pytest -m 'not browser and not benchmark and not lab'"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


def pages(chromium: Browser, voila_server: Callable[..., Server]) -> Iterator[Callable[..., Page]]:
    """Return ``open_app(name, width=1440, height=900, server=None, query="", **settings) -> Page``, ready to use.

    ``touch`` makes it a telephone's. Waits until the loading cover is gone. Every page has a fresh profile and is
    closed with the fixture.
    """
    contexts = []

    def make(
        name: str,
        width: int = 1440,
        height: int = 900,
        server: Server | None = None,
        query: str = "",
        touch: bool = False,
        **settings: object,
    ) -> Page:
        url = (server or voila_server(name, **settings)).url
        context = chromium.new_context(viewport={"width": width, "height": height}, has_touch=touch, is_mobile=touch)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        watch(page, urlsplit(url).netloc)
        page.goto(url + query, wait_until="commit")
        page.wait_for_selector("#loading", state="attached", timeout=30_000)
        page.wait_for_selector("#loading", state="detached", timeout=60_000)
        return page

    yield make
    for context in contexts:
        context.close()


#: A page for one test, and one that the tests of a module share: starting a kernel with torch takes seconds.
open_app = pytest.fixture(pages)
open_shared = pytest.fixture(scope="module")(pages)


def watch(page: Page, host: str) -> None:
    """Record the page's console errors and its requests to any other host."""
    log = LOGS[id(page)] = Log()

    def is_foreign(url: str) -> bool:
        parts = urlsplit(url)
        return parts.scheme not in ("data", "blob", "about") and parts.netloc != host

    page.on("console", lambda m: log.errors.append(f"{m.text} {m.location}") if m.type == "error" else None)
    page.on("pageerror", lambda e: log.errors.append(str(e)))
    page.on("request", lambda r: log.foreign.append(r.url) if is_foreign(r.url) else None)
    page.on("websocket", lambda w: log.foreign.append(w.url) if is_foreign(w.url) else None)


@pytest.fixture
def assert_offline() -> Callable[[Page], None]:
    """Return a check that the page asked nothing of another host."""

    def check(page: Page) -> None:
        assert LOGS[id(page)].foreign == []

    return check


@pytest.fixture
def assert_quiet() -> Callable[[Page], None]:
    """Return a check that the page wrote no error to the console, known harmless ones aside."""

    def check(page: Page) -> None:
        assert [e for e in LOGS[id(page)].errors if not any(known in e for known in HARMLESS)] == []

    return check
