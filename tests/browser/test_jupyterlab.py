"""The apps in JupyterLab and in Notebook 7, where what a person does arrives on a thread of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import urlsplit

import pytest
from browser.pages import WATCH, becomes, choose, has, picture, slider, wait_for_change
from PIL import Image
from playwright.sync_api import TimeoutError as PlaywrightTimeout

import xaiwidgets as xw

pytestmark = pytest.mark.browser

#: Starting a server, or a kernel with torch, on a busy machine.
LOADED = 120_000
SOON = 60_000
TOKEN = "a-word-for-this-test"
HOME = Path(__file__).parents[2]
#: Nothing may be fetched from elsewhere: no news, no extension lists.
OFFLINE = {
    "@jupyterlab/apputils-extension:notification": {"checkForUpdates": False, "fetchNews": "false"},
}


def notebook(name):
    """Return a notebook with an app in its only cell."""
    source = ["import xaiwidgets as xw\n", "\n", f"app = xw.{name}()\n", "app"]
    cell = {"cell_type": "code", "id": "app", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def answers(url):
    with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status == 200
    return False


@contextlib.contextmanager
def running(app, home):
    """Run ``jupyter lab`` or ``jupyter notebook`` in a home of its own; give its address."""
    (home / "root").mkdir()
    settings = home / "settings"
    settings.mkdir()
    (settings / "overrides.json").write_text(json.dumps(OFFLINE), "utf-8")
    port = free_port()
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.open_browser": False,
        "ServerApp.root_dir": home / "root",
        "ServerApp.allow_root": True,
        "IdentityProvider.token": TOKEN,
        "LabServerApp.app_settings_dir": settings,
        "LabApp.app_settings_dir": settings,
        "JupyterNotebookApp.app_settings_dir": settings,
        "LabApp.news_url": None,
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "LabApp.extension_manager": "readonly",
    }
    places = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    paths = [str(HOME), *filter(None, [os.environ.get("PYTHONPATH")])]
    installed = {"site-packages", "dist-packages"} & set(HOME.parts)
    with (home / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter", app, *(f"--{name}={value}" for name, value in options.items())],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=home,
            env={
                **os.environ,
                **places,
                "HOME": str(home),
                "IPYTHONDIR": str(home / "ipython"),
                "OMP_NUM_THREADS": "1",
                **({} if installed else {"PYTHONPATH": os.pathsep.join(paths)}),
            },
        )
        try:
            url = f"http://127.0.0.1:{port}"
            end = monotonic() + LOADED / 1000
            while not answers(f"{url}/api?token={TOKEN}"):
                if process.poll() is not None or monotonic() > end:
                    pytest.fail(f"jupyter {app} did not start:\n{(home / 'log.txt').read_text()[-3000:]}")
                sleep(0.2)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(15)


def end_kernels(url):
    """End every session: an app that goes on computing would take the next one's time."""
    asked = urllib.request.Request(f"{url}/api/sessions", headers={"Authorization": f"token {TOKEN}"})
    with urllib.request.urlopen(asked, timeout=20) as answer:
        sessions = json.load(answer)
    for session in sessions:
        place = f"{url}/api/sessions/{session['id']}"
        ended = urllib.request.Request(place, method="DELETE", headers=asked.headers)
        urllib.request.urlopen(ended, timeout=20).close()


@pytest.fixture(scope="module")
def lab_home(tmp_path_factory):
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def lab_server(lab_home):
    with running("lab", lab_home) as url:
        yield url


@pytest.fixture
def lab(lab_server, lab_home, open_page):
    """Return ``lab(app, name) -> Page``: an app in the only cell of a new notebook in JupyterLab, and run."""

    def make(app, name=None):
        name = name or app.lower()
        (lab_home / "root" / f"{name}.ipynb").write_text(json.dumps(notebook(app)), "utf-8")
        page = open_page(f"{lab_server}/lab/workspaces/{name}/tree/{name}.ipynb?token={TOKEN}")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=LOADED)
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']", timeout=LOADED)
        run_all(page)
        return page

    yield make
    end_kernels(lab_server)


def fits_its_cell(page):
    """The app is no wider than its cell, and neither it nor the notebook shows an error."""
    app, cell = page.locator(".xai-app"), page.locator(".jp-OutputArea-output").first
    becomes(lambda: app.bounding_box()["width"] - cell.bounding_box()["width"], lambda over: over <= 1)
    assert page.locator(".xai-error").count() == 0
    assert page.locator(".jp-OutputArea-output pre").count() == 0  # no traceback


@pytest.fixture
def open_page(chromium):
    """Return ``open_page(url) -> Page`` in a fresh profile; after the test, nothing was asked of another host."""
    contexts, foreign = [], []

    def make(url):
        context = chromium.new_context(viewport={"width": 1440, "height": 900})
        contexts.append(context)
        page = context.new_page()
        here = urlsplit(url).netloc

        def note(request):
            parts = urlsplit(request.url)
            if parts.scheme not in ("data", "blob", "about") and parts.netloc != here:
                foreign.append(request.url)

        page.on("request", note)
        page.on("websocket", note)
        page.goto(url, wait_until="commit")
        return page

    yield make
    for context in contexts:
        context.close()
    assert foreign == []


def run_all(page):
    """Choose Run All Cells; a menu that was still being built when it was clicked is tried again."""
    for attempt in range(4):
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        with contextlib.suppress(PlaywrightTimeout):
            page.wait_for_function(
                "/\\[(\\*|1)\\]/.test(document.querySelector('.jp-InputPrompt').innerText)",
                timeout=10_000 * (attempt + 1),
            )
            return
        page.keyboard.press("Escape")
    pytest.fail(f"the cell did not run; the page says:\n{page.inner_text('body')[:2000]}")


def explained(page):
    """Wait for the photo and its first explanation."""
    page.wait_for_selector("canvas.xai-stage", timeout=LOADED)
    page.wait_for_function(
        "document.querySelector('.xai-status')?.innerText.startsWith('Grad-CAM for espresso')", timeout=LOADED
    )
    page.wait_for_selector(".xai-kind-idle", timeout=LOADED)
    page.evaluate(WATCH)
    page.wait_for_function("performance.now() - window.xai.at > 1000", timeout=SOON)


def colors(page):
    """Return how many different values a band of the canvas holds."""
    return page.evaluate(
        "() => { const c = document.querySelector('canvas.xai-stage');"
        " return new Set(c.getContext('2d').getImageData(0, c.height / 2, c.width, 20).data).size }"
    )


def test_explorer_in_jupyterlab(lab, tmp_path):
    page = lab("Explorer")
    explained(page)
    becomes(lambda: colors(page), lambda count: count > 50)

    before = picture(page)
    choose(page, "Saliency")
    page.wait_for_function("document.querySelector('.xai-status').innerText.startsWith('Saliency for espresso')")
    wait_for_change(page, before)
    page.wait_for_function("performance.now() - window.xai.at > 1000", timeout=SOON)

    before = picture(page)
    slider(page, "Opacity").focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    wait_for_change(page, before)

    fits_its_cell(page)
    page.screenshot(path=tmp_path / "lab.png")


def test_compare_in_jupyterlab(lab, tmp_path):
    page = lab("Compare")
    done = "document.querySelector('.xai-kind-idle')?.innerText.startsWith('{} panels: {} done')"
    page.wait_for_function(done.format(8, 8), timeout=LOADED)
    becomes(page.locator(".xw-colorbar").count, 8 + 2)

    panels = page.locator("canvas.xai-tiles").first
    panels.scroll_into_view_if_needed()
    box = panels.bounding_box()
    page.mouse.move(box["x"] + box["height"] / 3, box["y"] + box["height"] / 2)
    page.wait_for_function("document.querySelectorAll('.xai-value').length === 10", timeout=SOON)
    becomes(page.locator(".xai-value").first.inner_text, has("logit"))

    page.locator(".xai-row button").nth(2).click()
    page.wait_for_function(done.format(12, 12), timeout=LOADED)
    becomes(page.locator(".xai-rowname").count, 3)
    sheet = page.locator("canvas.xai-tiles").first
    becomes(sheet.bounding_box, lambda box: abs(box["height"] - box["width"] / (4 + 3 / 16)) <= 1)

    page.wait_for_function(
        "() => { const b = document.querySelector('.xai-board'); return b.scrollWidth <= b.clientWidth }", timeout=SOON
    )
    fits_its_cell(page)
    page.screenshot(path=tmp_path / "lab.png")


def test_trustlab_in_jupyterlab(lab, tmp_path):
    page = lab("TrustLab")
    said = "words => document.querySelector('.xai-said2')?.innerText.includes(words)"
    page.wait_for_function(said, arg="down to conv_stem", timeout=LOADED)
    page.wait_for_selector(".xai-kind-idle", timeout=LOADED)
    slider(page, "Drawn anew").focus()
    page.keyboard.press("Home")
    page.wait_for_function(said, arg="The trained network.", timeout=SOON)
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_function(said, arg="down to classifier", timeout=SOON)

    page.locator("button.xai-family", has_text="Evaluation metrics").click()
    page.locator("button.xai-test", has_text="Deletion").click()
    page.wait_for_function(said, arg="20% removed", timeout=LOADED)
    slider(page, "Share of pixels").focus()
    page.keyboard.press("End")
    page.wait_for_function(said, arg="100% removed", timeout=SOON)

    fits_its_cell(page)
    page.screenshot(path=tmp_path / "lab.png")


def test_synthesislab_in_jupyterlab(lab, tmp_path):
    page = lab("SynthesisLab")
    said = "words => document.querySelector('.xai-status')?.innerText.startsWith(words)"
    page.wait_for_function(said, arg="Maximizing espresso, step", timeout=LOADED)
    choose(page, "Reset")
    page.wait_for_function(said, arg="Paused: espresso, step 1", timeout=SOON)
    for number in (2, 3, 4):
        choose(page, "Step")
        page.wait_for_function(said, arg=f"Paused: espresso, step {number}", timeout=SOON)
    slider(page, "Step").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(said, arg="Paused: espresso, step 3", timeout=SOON)
    choose(page, "Fork")
    page.locator(".xai-lane").nth(1).wait_for(timeout=SOON)
    choose(page, "Step")
    page.wait_for_function(said, arg="Paused: espresso, step 4", timeout=SOON)

    fits_its_cell(page)
    page.screenshot(path=tmp_path / "lab.png")


def test_explorer_in_notebook_7(open_page, tmp_path):
    with running("notebook", tmp_path) as url:
        (tmp_path / "root" / "app.ipynb").write_text(json.dumps(notebook("Explorer")), "utf-8")
        page = open_page(f"{url}/notebooks/app.ipynb?token={TOKEN}")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=LOADED)
        page.wait_for_selector(".jp-NotebookKernelStatus", state="attached", timeout=LOADED)
        run_all(page)
        explained(page)
        becomes(lambda: colors(page), lambda count: count > 50)
        page.screenshot(path=tmp_path / "notebook.png")


def test_a_folder_is_named_and_learned_from_in_jupyterlab(lab, lab_home, tmp_path):
    """Where whoever types a path could as well run code; on a served page there is no such field."""
    for number, name in enumerate(("coffee", "chelsea", "china", "rocket", "astronaut")):
        picture = Image.fromarray(xw.read_picture(name).pixels).resize((240, 180))
        (tmp_path / "photos").mkdir(exist_ok=True)
        picture.save(tmp_path / "photos" / f"{number}.jpg")
    page = lab("SynthesisLab", "folder")
    page.wait_for_function("document.querySelector('.xai-status')?.innerText.includes('step')", timeout=LOADED)
    choose(page, "Learned inversion")
    page.get_by_label("Pictures", exact=True).select_option("A\xa0folder")
    folder = page.get_by_placeholder("path of a folder")
    for path, words in ((tmp_path / "nowhere", "no such folder"), (tmp_path / "photos", "")):
        folder.fill(str(path))
        folder.press("Enter")
        choose(page, "Train")
        if words:
            said = "words => document.querySelector('.xai-status').innerText.includes(words)"
            page.wait_for_function(said, arg=words, timeout=SOON)
    page.get_by_text("Learns from 5 photos, 120 random crops of each, 1 of the photos held out.").wait_for(
        timeout=LOADED
    )
    page.get_by_role("button", name=re.compile(r"Stop \(epoch 1 of 25, error")).wait_for(timeout=LOADED)
    page.get_by_role("button", name=re.compile(r"Stop \(epoch")).click()
    page.get_by_role("button", name="Go on", exact=True).wait_for(timeout=SOON)
    assert len(list((lab_home / ".xaiwidgets" / "trainings").glob("*.pt"))) == 1
