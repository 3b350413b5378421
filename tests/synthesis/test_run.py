"""The frame that all runs of synthesis share, with runs that only count."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from xaiwidgets.errors import InvalidKnob
from xaiwidgets.synthesis.activation_maximization import ActivationMaximization
from xaiwidgets.synthesis.run import Run, play


class Counting(Run):
    """Counts its steps; ``log`` has the step and its square."""

    def __init__(self, method, model, target, photo=None):
        super().__init__(method, model, target, photo)
        self.seen = []

    def begin(self):
        self.seen.append(("begin", self.step))

    def advance(self):
        if self.step == 4:
            self.stop("four is enough")
            return
        self.note("counted")
        self.log(self.step + 1.0, square=(self.step + 1.0) ** 2)

    def pixels(self):
        return np.zeros((2, 2, 3), np.float32)

    def terms(self):
        return {"seen": float(len(self.seen))}

    def adopted(self, old):
        self.seen.append(("adopted", old.step_size))


def test_steps_curves_terms_and_notes_are_kept(conv_net):
    found = list(play(Counting, ActivationMaximization(iterations=3), conv_net, conv_net.target(1)))
    assert [one.step for one in found] == [1, 2, 3]
    assert [one.progress for one in found] == [1 / 3, 2 / 3, 1.0]
    assert found[-1].curve.tolist() == [1, 2, 3] and found[-1].curves["square"].tolist() == [1, 4, 9]
    assert found[-1].terms == {"objective": 3.0, "square": 9.0, "seen": 1.0}
    assert found[-1].notes == ("counted",)
    assert found[0].curve.tolist() == [1], "what was yielded before does not change"


def test_a_run_that_stops_says_so_once_more_and_ends(conv_net):
    found = list(play(Counting, ActivationMaximization(iterations=9), conv_net, conv_net.target(1)))
    assert [one.step for one in found] == [1, 2, 3, 4, 4]
    assert found[-1].notes == ("counted", "Stopped after 4 steps: four is enough.")
    assert found[-2].progress == 4 / 9 and found[-1].progress == 1.0


def test_what_is_sent_is_told_to_the_run_with_what_was_before(conv_net):
    method = ActivationMaximization(iterations=3, step_size=8.0)
    steps = play(Counting, method, conv_net, conv_net.target(1))
    next(steps)
    found = steps.send(dataclasses.replace(method, step_size=2.0))
    assert found.terms["seen"] == 2.0 and found.events == ((2, "step_size", 8.0, 2.0),)
    state = next(play(Counting, method, conv_net, conv_net.target(1))).state
    resumed = dataclasses.replace(method, step_size=2.0).resume(state)
    assert next(play(Counting, resumed, conv_net, conv_net.target(1))).terms["seen"] == 1.0
    assert next(play(Counting, method.resume(state), conv_net, conv_net.target(1))).terms["seen"] == 0.0
    with pytest.raises(InvalidKnob, match="seed must stay 0"):
        steps.send(dataclasses.replace(method, seed=1))


@pytest.mark.parametrize(("layer", "ends"), [("first", True), ("second", True), ("head", False)])
def test_a_pass_ends_at_a_hidden_layer_but_not_at_class_scores(conv_net, layer, ends):
    run = Counting(ActivationMaximization(), conv_net, conv_net.unit(layer, 1))
    found = run.ask(conv_net.from_pixels(np.full((16, 16, 3), 0.5, np.float32)))
    assert found.outputs.shape == (1, 0 if ends else 4)
