"""Known qualitative results hold on the bundled network: what hardly changes when the weights or the class do."""

from __future__ import annotations

import behavior
import numpy as np
import pytest

PHOTOS = ("coffee", "chelsea")
METHODS = ("saliency", "grad_cam", "guided_backprop", "deconvnet")


@pytest.fixture(scope="module")
def found():
    return {name: behavior.measure(name, PHOTOS) for name in METHODS}


def mean(found, name):
    return float(np.mean([found[name][stage] for stage in behavior.STAGES]))


def test_guided_backprop_and_deconvnet_change_far_less_with_random_weights(found):
    print({name: round(mean(found, name), 2) for name in METHODS})
    for name in ("guided_backprop", "deconvnet"):
        assert mean(found, name) > mean(found, "saliency") + 0.1
        assert mean(found, name) > mean(found, "grad_cam") + 0.3
        assert found[name]["last layer"] > 0.95, "what the last layer has learned plays no part"
    assert mean(found, "saliency") < 0.46
    assert mean(found, "grad_cam") < 0.46


def test_guided_backprop_and_deconvnet_change_less_with_the_class(found):
    for name in ("guided_backprop", "deconvnet"):
        assert found[name]["classes"] > 0.95
        assert found[name]["classes"] > found["saliency"]["classes"] + 0.1


def test_the_measure_sees_what_it_should():
    ramp = np.arange(12.0).reshape(3, 4)
    assert behavior.similarity(ramp, 2 * ramp) == pytest.approx(1)
    assert behavior.similarity(ramp, -ramp) == pytest.approx(1)
    assert behavior.similarity(ramp, ramp[::-1, ::-1]) == pytest.approx(-1)
    assert behavior.similarity(ramp, np.ones_like(ramp)) == 0
