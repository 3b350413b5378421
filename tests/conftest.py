"""What the whole suite shares: how it is spread over processes, and that browser tests cannot go missing unseen."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Two processes with two threads each would wait for one another; benchmarks want all cores.
if "benchmark" not in " ".join(sys.argv):
    os.environ.setdefault("OMP_NUM_THREADS", "1")

DEFAULT_MARKERS = "not benchmark and not lab"
#: How the names of all tests that need a browser begin.
BROWSER = "tests/browser/"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for the whole suite, one where some files or markers are asked for: those are wanted in order."""
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS and config.option.markexpr == DEFAULT_MARKERS
    return min(2, os.cpu_count() or 1) if whole else 0


class Together(LoadScopeScheduling):
    """Spreads files over processes, and keeps those of the browser in one, in order: they share servers and pages.

    What a file's tests share is made once. The browser comes first, since it takes longest.

    The groups that pytest-xdist makes of marks are lost with pytest 9.2, which no longer takes a test's new name.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "browser" if nodeid.startswith(BROWSER) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Spread tests as ``Together`` does."""
    config.option.loadscopereorder = False
    return Together(config, log)


class BrowserCount:
    """Counts the browser tests that ran, in the process that gets all reports."""

    def __init__(self) -> None:
        self.ran = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.ran += report.when == "call" and not report.skipped and "browser" in report.keywords

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.missing(session.config):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        if self.missing(config):
            terminalreporter.write_line("FAILED: no browser test ran, and CI=true asks for them.", red=True)

    def missing(self, config: pytest.Config) -> bool:
        """Return whether browser tests were owed and none ran."""
        return os.environ.get("CI") == "true" and not config.option.collectonly and not self.ran


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the browser where there are several processes."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(BROWSER))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let garbage collections pass over the tests themselves and what they import: a million objects, a second each."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """Count in the controller only: a worker sees its own share."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(BrowserCount(), "browser-count")
