"""What the browser tests know about the Explorer's page."""

from __future__ import annotations

import base64
import re
from time import monotonic, sleep

#: Says when the picture on the canvas last changed, from a few hundred of its pixels, at every frame of the browser.
WATCH = """
() => {
  const hash = () => {
    const c = [...document.querySelectorAll('canvas.xai-stage')].find(e => e.offsetParent !== null);
    const g = c.getContext('2d', {willReadFrequently: true});
    let h = c.width;
    for (let i = 1; i < 6; i++) {
      const row = g.getImageData(0, Math.floor(c.height * i / 6), c.width, 1).data;
      for (let k = 0; k < row.length; k += 29) h = (h * 31 + row[k]) | 0;
    }
    return h;
  };
  window.xai = {hash, at: 0, changes: 0, last: null, text: 0, asked: 0};
  const tick = () => {
    const now = window.xai.hash();
    if (now !== window.xai.last) { window.xai.last = now; window.xai.at = performance.now(); window.xai.changes++; }
    requestAnimationFrame(tick);
  };
  for (const kind of ['keydown', 'pointerdown', 'mousemove'])
    window.addEventListener(kind, () => { window.xai.asked = performance.now(); }, true);
  tick();
}
"""
IDLE = ".xai-kind-idle"


def ready(page, timeout=120_000):
    """Wait for the first explanation, then watch the canvas."""
    page.wait_for_selector(IDLE, timeout=timeout)
    page.wait_for_function("document.querySelector('.xai-status').innerText.includes('passes')", timeout=timeout)
    page.evaluate(WATCH)


def becomes(read, wanted, seconds=60):
    """Read until what is read is ``wanted`` or, where that is a function, until it holds; return what was read.

    What a page shows arrives in parts, also after its status has said that all is done.
    """
    end = monotonic() + seconds
    while True:
        found = read()
        good = wanted(found) if callable(wanted) else found == wanted
        if good or monotonic() > end:
            assert good, f"after {seconds} s it is {found!r}" + ("" if callable(wanted) else f", not {wanted!r}")
            return found
        sleep(0.05)


def has(*words):
    """Return a condition: all these words are in a text."""
    return lambda text: all(word in text for word in words)


def rested(page, script, arg, timeout=60_000):
    """Return what a script gives of some pixels once it has been the same for so long that they were sent exactly."""
    page.wait_for_function(
        f"""arg => {{
          const now = ({script})(arg), old = window.rest;
          if (!old || old.now !== now) window.rest = {{now, at: performance.now()}};
          return performance.now() - window.rest.at > 900;
        }}""",
        arg=arg,
        timeout=timeout,
    )
    return page.evaluate(script, arg)


def picture(page):
    """Return a number that stands for the picture on the canvas."""
    return page.evaluate("window.xai.hash()")


def wait_for_change(page, before, timeout=60_000):
    """Wait until the picture differs from ``before``."""
    page.wait_for_function(f"window.xai.hash() !== {before}", timeout=timeout)


def settle(page, timeout=60_000):
    """Wait until nothing is computed and the exact picture has been sent."""
    page.wait_for_function(
        "document.querySelector('.xai-kind-idle, .xai-kind-stopped') && performance.now() - window.xai.at > 1500",
        timeout=timeout,
    )


def slider(page, name):
    """Return the handle of the slider with this label."""
    box = page.locator(".widget-inline-hbox, .widget-hslider", has=page.get_by_text(name, exact=True)).first
    return box.locator(".noUi-handle").first


def status(page):
    """Return the status line's text."""
    return page.locator(".xai-status").first.inner_text()


def wait_for_status(page, words, timeout=60_000):
    """Wait until the status line begins with these words."""
    page.wait_for_function(
        "words => document.querySelector('.xai-status').innerText.startsWith(words)", arg=words, timeout=timeout
    )


def top_row(page):
    """Return (probability in percent, label) of the first prediction."""
    text = page.locator(".xai-row button").first.inner_text()
    found = re.match(r"\s*([\d.]+)%\s+(.*)", text)
    return float(found[1]), found[2].strip()


def link_bytes(page):
    """Return what the download link on the page holds."""
    href = page.locator("a.xai-save").first.get_attribute("href")
    return base64.b64decode(href.partition("base64,")[2])


def canvas_box(page):
    """Return x, y, width, height of the canvas on the page."""
    return page.locator("canvas.xai-stage").first.bounding_box()


def choose(page, name):
    """Press the button with this name; one of a folded family is unfolded first."""
    button = page.get_by_role("button", name=name, exact=True).first
    chip = page.locator("button.xai-chip", has_text=re.compile(f"^{re.escape(name)}$"))
    if not button.count() and chip.count():  # what is hidden has no role
        page.locator(".xai-methods > .widget-vbox", has=chip).locator(".xai-family").click()
    button.click()


def reset(page):
    """Bring a shared page back to its first screen."""
    region = page.get_by_role("button", name="Hide a region")
    if "mod-active" in region.get_attribute("class"):
        region.click()
    code = page.get_by_role("button", name="Python code")
    if "mod-active" in code.get_attribute("class"):
        code.click()
    page.get_by_label("Layout", exact=True).select_option("overlay")
    choose(page, "Saliency")
    for photo, first in (("Chelsea the cat", "tiger cat"), ("Cup of coffee", "espresso")):
        # choosing a photo anew asks for its first class; waiting for each makes sure that the kernel has kept up
        page.get_by_role("button", name=photo).click()
        wait_for_status(page, f"Saliency for {first}")
    choose(page, "Grad-CAM")
    wait_for_status(page, "Grad-CAM for espresso")
    settle(page)


def readout(page, name):
    """Return the number beside the slider with this label."""
    row = page.locator(".widget-inline-hbox", has=page.get_by_text(name, exact=True))
    return float(row.locator(".widget-readout").first.inner_text())


def region(page):
    """Return (top, left, height, width) of the hidden region, in pixels of the network's input."""
    return tuple(readout(page, name) for name in ("top", "left", "height", "width"))
