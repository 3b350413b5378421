"""Scrubbing through the layers: one pass answers for every stage, and for every method that takes one pass."""

from __future__ import annotations

import numpy as np
import pytest

import xaiwidgets as xw
from xaiwidgets.model import passes
from xaiwidgets.studio.lens import Lens

#: What takes one pass of a layer's activation and gradient, whatever is made of them.
ONE_PASS = ("grad_cam", "grad_cam_pp", "layer_cam", "hirescam", "xgrad_cam", "fused_cam")


@pytest.fixture
def seen(monkeypatch):
    """Write down every pass that any network makes, as (kind, images)."""
    found = []
    for name in ("forward", "gradient"):
        plain = getattr(passes, name)

        def watched(network, images, *given, name=name, plain=plain, **options):
            found.append((name, len(images)))
            return plain(network, images, *given, **options)

        monkeypatch.setattr(passes, name, watched)
    return found


def scrub(studio, digits, method):
    """Put every stage, last to first; return the frames' results."""
    results = []
    for stage in reversed(digits.stages):
        studio.put(studio.lens.with_method(method).with_knobs(layer=stage.name))
        assert studio.status.kind == "idle", studio.status.text
        assert studio.frame.result.layer == stage.name
        results.append(studio.frame.result)
    return results


@pytest.mark.parametrize("method", ONE_PASS)
def test_scrubbing_through_all_stages_is_one_forward_and_one_backward_pass(method, make_studio, digits, seen):
    studio = make_studio(Lens(method=method))
    studio.start()
    assert seen == [("forward", 1), ("gradient", 1)], "the predictions, and the map"
    results = [studio.frame.result, *scrub(studio, digits, method)]
    assert len(digits.stages) > 3
    assert len(seen) == 2
    assert np.sum([result.provenance.passes for result in results], axis=0).tolist() == [1, 1]
    for result in results:
        expected = xw.explain(digits, "coffee", method, layer=result.layer).values
        np.testing.assert_allclose(result.values, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_all_of_them_share_that_pass(make_studio, digits, seen):
    studio = make_studio()
    studio.start()
    for method in (*ONE_PASS, "eigen_cam"):
        scrub(studio, digits, method)
    assert seen == [("forward", 1), ("gradient", 1)]


def test_noisy_copies_of_another_layer_do_not_need_the_photo_again(make_studio, digits):
    studio = make_studio()
    studio.start()
    for stage in digits.stages[:2]:
        lens = studio.lens.with_method("smooth_grad_cam_pp").with_knobs(layer=stage.name, samples=3)
        studio.put(lens)
        assert studio.frame.result.provenance.passes == (3, 3)
