"""What the page of a stranger may ask for."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from jupyter_server.base.websocket import WebSocketMixin

from xaiwidgets.serving.host import EXTENSIONS, POLICY, Kernels, ThisPython, configuration
from xaiwidgets.serving.server import Settings


@pytest.fixture
def config():
    return configuration(Settings(Path("app.ipynb"), "App", cull_idle=120, cull_interval=30))


def test_page_is_closed_down(config):
    page = config.VoilaConfiguration
    assert page.strip_sources is True
    assert page.show_tracebacks is False
    assert page.file_denylist == [".*"]
    assert (page.allow_template_override, page.allow_theme_override) == ("NO", "NO")
    assert page.extension_allowlist == list(EXTENSIONS)
    assert "disable_check_xsrf" not in config.Voila.tornado_settings
    assert config.Voila.tornado_settings["websocket_max_message_size"] == 16 * 2**20
    assert config.Voila.config_file_paths == []


def test_kernels_are_culled_but_not_under_an_open_tab(config):
    kernels = config.MappingKernelManager
    assert (kernels.cull_idle_timeout, kernels.cull_interval) == (120, 30)
    assert "cull_connected" not in kernels
    assert "cull_busy" not in kernels


def test_a_ping_that_is_sent_late_does_not_close_a_healthy_socket(config, monkeypatch):
    """jupyter_server compares the last answer with its limit when it sends the next ping: late by a moment at most."""

    class Socket(WebSocketMixin):
        settings = config.Voila.tornado_settings
        ws_connection = SimpleNamespace(client_terminated=False)
        log = logging.getLogger("test")
        closed = False

        def ping(self, data):
            pass

        def close(self):
            self.closed = True

    clock = [0.0]
    monkeypatch.setattr("jupyter_server.base.websocket.ioloop.IOLoop", SimpleNamespace(current=lambda: loop))
    loop = SimpleNamespace(time=lambda: clock[0])
    page = Socket()
    interval = page.ping_interval / 1000
    for late in (0.0, 0.02, 0.0, 2.0, 0.5):
        clock[0] += interval + late
        page.send_ping()
        assert not page.closed
        clock[0] += 0.003
        page.on_pong(b"")
    for _ in range(4):  # nobody answers any more
        clock[0] += interval
        page.send_ping()
    assert page.closed


def test_policy_names_no_other_host():
    assert "default-src 'self'" in POLICY
    assert "http" not in POLICY
    assert "*" not in POLICY


def test_kernels_run_in_this_python():
    specs = ThisPython().get_all_specs()
    assert list(specs) == ["python3"]
    assert specs["python3"]["spec"]["argv"][0] == sys.executable


def test_a_kernel_just_out_of_the_pool_gets_its_idle_time(monkeypatch):
    culled = []
    clock = iter([100.0, 110.0, 119.9, 120.0])

    async def cull(self, kernel_id):
        culled.append(kernel_id)

    monkeypatch.setattr(Kernels.__mro__[1], "cull_kernel_if_idle", cull)
    monkeypatch.setattr("xaiwidgets.serving.host.time", SimpleNamespace(monotonic=lambda: next(clock)))
    kernels = Kernels(cull_idle_timeout=20)
    kernels._kernels["one"] = object()

    def look():
        with contextlib.suppress(StopIteration):  # nothing in it waits, so it ends at once and needs no event loop
            kernels.cull_kernel_if_idle("one").send(None)
        return len(culled)

    try:
        assert [look() for _ in range(4)] == [0, 0, 0, 1]
    finally:
        kernels._kernels.clear()
