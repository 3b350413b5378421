"""The served page: complete, closed to other hosts, and gone when its visitor is."""

from __future__ import annotations

import signal
import time
import urllib.error
import urllib.request

import psutil
import pytest
from browser.pages import becomes, has

pytestmark = pytest.mark.browser

SLIDER = ".noUi-handle"


def move_slider(page, presses=3):
    """Press the arrow key and wait for the kernel's answer."""
    page.locator(SLIDER).focus()
    for _ in range(presses):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(f"document.body.innerText.includes('red is {presses}')", timeout=60_000)


def wait_until(condition, seconds):
    """Poll until the condition holds; return whether it did."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def get(url):
    """Return the status, the final address and the text of a plain request."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.url, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.url, error.read().decode("utf-8", "replace")


def test_page_works_and_asks_nothing_of_another_host(open_app, assert_offline, assert_quiet):
    page = open_app("tiny")
    move_slider(page)
    pixel = "document.querySelector('canvas').getContext('2d').getImageData(5, 5, 1, 1).data.join()"
    becomes(lambda: page.evaluate(pixel), "3,0,0,255")
    becomes(page.title, "Tiny")
    assert page.evaluate("document.documentElement.lang") == "en"
    assert "width=device-width" in page.locator("meta[name=viewport]").get_attribute("content")
    assert_offline(page)
    assert_quiet(page)


@pytest.mark.parametrize("width", [1440, 390])
def test_app_fills_the_page_without_margins(open_app, width):
    page = open_app("tiny", width, 700)
    box = page.locator(".widget-vbox").first
    becomes(box.bounding_box, lambda box: (box["x"], box["y"]) == (0, 0) and abs(box["width"] - width) <= 1)
    assert "Tiny" not in page.inner_text("body")  # the notebook's title is for readers in Jupyter


def test_a_policy_of_the_page_itself_blocks_other_hosts(open_app):
    page = open_app("tiny")
    blocked = page.evaluate(
        """() => new Promise(done => {
            document.addEventListener('securitypolicyviolation', e => done(e.violatedDirective));
            fetch('http://example.invalid/').catch(() => {});
            setTimeout(() => done('nothing'), 3000);
        })"""
    )
    assert blocked == "connect-src"


def test_loading_cover_says_what_is_happening(chromium, voila_server):
    context = chromium.new_context()
    page = context.new_page()
    try:
        page.goto(voila_server("tiny").url, wait_until="commit")
        cover = page.wait_for_selector("#loading", timeout=60_000)
        assert cover.get_attribute("role") == "status"
        text = cover.inner_text()
        assert "Tiny" in text
        assert text.rstrip().endswith("…")
    finally:
        context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_theme_is_the_servers_and_not_the_visitors(open_app, theme):
    other = "dark" if theme == "light" else "light"
    page = open_app("tiny", theme=theme, query=f"?theme={other}&template=lab")
    assert page.locator("body").get_attribute("data-jp-theme-light") == ("true" if theme == "light" else "false")
    red = page.evaluate(
        "parseInt(getComputedStyle(document.getElementById('rendered_cells')).backgroundColor.slice(4))"
    )
    assert red > 200 if theme == "light" else red < 60
    assert "jsdelivr" not in page.content()


def test_no_file_is_served(voila_server):
    url = voila_server("tiny").url
    for path in ("tiny.ipynb", "conftest.py", "picture.png", ".hidden.png", "%2e%2e/conftest.py"):
        assert get(f"{url}voila/files/{path}")[0] == 403, path
    for path in ("api/contents", "api/sessions", "api/kernels", "metrics", "lab"):
        assert get(f"{url}{path}")[0] in (403, 404), path


def test_source_is_not_in_the_page(voila_server):
    status, _, text = get(voila_server("tiny").url)
    assert status == 200
    assert "Starting a Python kernel" in text
    assert "put_image_data" not in text
    assert "jsdelivr" not in text


def test_an_app_that_cannot_start_says_where_the_reason_is_and_not_what_it_is(open_app):
    page = open_app("broken")
    words = "The reason is in the terminal where xaiwidgets was started."
    text = becomes(lambda: page.inner_text("body"), has(words))
    assert "the reason" not in text.replace("The reason", "")
    assert "in the source" not in text


def test_token_is_asked_for(voila_server, open_app):
    server = voila_server("tiny", token="s3cret-word")
    assert server.url.endswith("/?token=s3cret-word")
    bare = server.url.split("?")[0]
    assert "/login" in get(bare)[1]
    assert "/login" in get(f"{bare}?token=wrong")[1]
    move_slider(open_app("tiny", server=server))


def test_kernel_ends_when_its_tab_closes(open_app, voila_server):
    server = voila_server("tiny", fresh=True, cull_idle=2, cull_interval=1)
    page = open_app("tiny", server=server)
    becomes(lambda: len(server.kernels()), 1)
    page.wait_for_timeout(5_000)
    move_slider(page)  # an open tab keeps its kernel, however idle
    page.close()
    assert wait_until(lambda: not server.kernels(), 30), server.kernels()


def test_preheated_kernel_that_waited_long_is_not_culled_under_its_visitor(open_app, voila_server):
    server = voila_server("tiny", fresh=True, preheat=True, cull_idle=2, cull_interval=1)
    assert wait_until(lambda: len(server.kernels()) == 1, 30)
    time.sleep(5)
    move_slider(open_app("tiny", server=server))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_stopped_server_leaves_no_kernel(open_app, voila_server, number):
    server = voila_server("tiny", fresh=True)
    open_app("tiny", server=server)
    kernels = server.kernels()
    assert len(kernels) == 1
    server.process.send_signal(number)
    assert server.process.wait(20) == 0
    assert wait_until(lambda: not any(map(psutil.pid_exists, kernels)), 5)


def test_start_times(open_app, voila_server, record_property):
    """Print how long a person waits; the bounds leave room for a busy machine."""
    began = time.monotonic()
    server = voila_server("tiny", fresh=True)
    listening = time.monotonic() - began
    began = time.monotonic()
    move_slider(open_app("tiny", server=server), presses=1)
    interactive = time.monotonic() - began
    record_property("server_seconds", listening)
    record_property("page_seconds", interactive)
    print(f"\nserver listens after {listening:.1f} s, page answers after {interactive:.1f} s")
    assert listening < 15
    assert interactive < 20
