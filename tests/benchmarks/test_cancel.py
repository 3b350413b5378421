"""How soon a stop stops: from the press until the worker rests."""

from __future__ import annotations

import time
from statistics import median

import pytest

from xaiwidgets.studio.lens import Lens
from xaiwidgets.studio.studio import Studio

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize("method", ["rise", "occlusion", "smoothgrad", "integrated_gradients"])
def test_cancel_to_idle(method):
    studio = Studio(lens=Lens(method="grad_cam"))
    studio.start()
    assert studio.wait(120)
    times = []
    for number in range(8):
        begun = []
        studio._listeners["frame"][:] = [lambda frame, begun=begun: begun.append(frame)]
        studio.put(Lens(method=method).with_knobs(samples=4000 + number, points=400 + number, stride_height=4 + number))
        while not begun:
            time.sleep(0.002)
        time.sleep(0.05)
        start = time.perf_counter()
        studio.stop()
        assert studio.wait(10)
        times.append(1000 * (time.perf_counter() - start))
    studio.close()
    print(f"\ncancel to idle, {method}: median {median(times):.0f} ms, longest {max(times):.0f} ms  (target 200)")
    assert median(times) < 200
