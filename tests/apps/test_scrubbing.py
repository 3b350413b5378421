"""The layer strip serves every method with a knob named ``layer``; where a pass is kept, moving it spends nothing."""

from __future__ import annotations

import pytest

MAPS = ("grad_cam_pp", "layer_cam", "hirescam", "xgrad_cam", "fused_cam", "eigen_cam")


@pytest.mark.parametrize("method", MAPS)
def test_the_strip_scrubs_the_methods_layer(method, make_explorer, digits, send, spent):
    explorer = make_explorer()
    explorer.put(method="saliency")
    assert explorer.strip._slider.disabled
    explorer.put(method=method)
    assert not explorer.strip._slider.disabled
    before = len(spent)
    for number, stage in enumerate(digits.stages):
        send(explorer.strip._slider, index=number)
        assert explorer.result.layer == stage.name
        assert explorer.result.provenance.method == method
    assert len(spent) == before
