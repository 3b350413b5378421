"""What a step of activation maximization costs beside the passes that it cannot do without.

    pytest -m benchmark -s tests/benchmarks/test_synthesis.py

The floor is one forward and one backward pass of the network as it is prepared for synthesis; a step adds the way
between gray levels and network, the regularizers, the curves and the picture that is shown. Steps and passes run in
turn, with the same number of threads, and are measured in seconds of the processor, which other work on the machine
changes least; the ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import itertools
import statistics
import time

import pytest
import torch

import xaiwidgets as xw
from xaiwidgets.synthesis.activation_maximization import ActivationMaximization
from xaiwidgets.synthesis.presets import PRESETS

pytestmark = pytest.mark.benchmark
#: Steps or passes a round, and rounds.
STEPS = {"efficientnet_lite0": 8, "shapes_gap": 60}
ROUNDS = 11
#: A step may cost this many times its passes: at 224 pixels the network's work dwarfs that on the picture. The passes
#: of the small network take a millisecond, as long as what any step does in Python: 500 steps a second all the same.
ALLOWED = {"efficientnet_lite0": 1.15, "shapes_gap": 2.5}


def floor(model, target):
    """Return what runs the passes and nothing else, on the network that steps run on."""
    network = model.prepared.module
    image = model.prepared.fit(torch.zeros((1, *model.input_shape)))
    (wanted,) = target.classes

    def run(count):
        for _ in range(count):
            leaf = image.clone().requires_grad_()
            torch.autograd.grad(network(leaf)[0, wanted], leaf)

    return run


def ascent(model, target, knobs):
    """Return what takes steps of one endless run, results drawn as for a person who watches."""
    method = ActivationMaximization(**{**PRESETS[knobs].knobs, "iterations": 2000})

    def forever():
        while True:
            yield from method.steps(model, None, target)

    steps = forever()
    return lambda count: list(itertools.islice(steps, count))


@pytest.mark.parametrize("knobs", ["none", "calm"])
@pytest.mark.parametrize("name", ["efficientnet_lite0", "shapes_gap"])
def test_a_step_costs_little_more_than_its_passes(name, knobs):
    model = xw.load_model() if name == "efficientnet_lite0" else xw.load_model(name)
    target, count = model.target(1), STEPS[name]
    sides = floor(model, target), ascent(model, target, knobs)
    for side in sides:
        side(count)
    rounds = []
    for number in range(ROUNDS):
        spent = [0.0, 0.0]
        for which in (0, 1) if number % 2 else (1, 0):
            start = time.process_time()
            sides[which](count)
            spent[which] = (time.process_time() - start) / count
        rounds.append(spent)
    ratio = statistics.median(step / passes for passes, step in rounds)
    passes, step = (statistics.median(side) for side in zip(*rounds, strict=True))
    print(
        f"\n{name}, {knobs}: {1 / step:.1f} steps a second, {step * 1e3:.1f} ms each, passes {passes * 1e3:.1f} ms, "
        f"ratio {ratio:.2f} ({torch.get_num_threads()} threads)"
    )
    if knobs == "none":
        assert ratio <= ALLOWED[name]
