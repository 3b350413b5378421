"""What the cascade of random weights takes beyond its bare passes, and what Quantus takes for its own.

    pytest -m benchmark -s -n0 tests/benchmarks/test_randomization.py

On the bundled network and the coffee photo, saliency, one seed. Each stage is followed by a bare forward and backward
pass of the prepared copy, so that both see the same machine, and by the forward pass that takes the statistics of
normalizations anew where that is wanted; the first row is a run in which the copy is made.
Quantus' ``MPRT`` is called as by default (Spearman's correlation of absolute, normalized maps of its own saliency): it
draws every module in turn, normalizations too, and is held against as many bare passes as it makes maps. On one thread.
Seconds are those of the processor, which others' work on a shared machine does not lengthen.
"""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
import quantus
import torch

import xaiwidgets as xw

pytestmark = pytest.mark.benchmark

METRIC = "model_parameter_randomization"
#: Over all layers, once there is a private copy of the network, which is kept: the first row is a run that makes it.
OVERHEAD = {("recalibrate", "rank"): 1.15, ("keep", "rank"): 1.15, ("keep", "all"): 1.6}
#: The peer's seconds for a whole cascade, over ours with statistics taken anew and layer by layer.
FASTER = 1.25


@pytest.fixture(scope="module")
def model():
    return xw.load_model()


@pytest.fixture(scope="module")
def table():
    """Rows that are printed in the end."""
    rows = []
    yield rows
    print(f"\n\n{'':44}{'maps':>6}{'seconds':>9}{'× bare':>8}   ({torch.get_num_threads()} threads)")
    for name, maps, seconds, ratio in rows:
        print(f"{name:44}{maps:>6}{seconds:>9.2f}{ratio:>8.2f}")


def bare(model, image, label, *, again=False):
    """One forward and one backward pass of the prepared copy, in seconds; with ``again``, one more forward."""
    network = model.prepared
    start = time.process_time()
    leaf = network.fit(image).detach().requires_grad_()
    torch.autograd.grad(network.module(leaf.clone())[0, label], leaf)
    if again:
        with torch.no_grad():
            network.module(leaf.clone())
    return time.process_time() - start


def in_turn(model, norms, similarities, blocks):
    """Return the processor's seconds of a cascade, those of as many bare passes in between, and their number."""
    image = model.input("coffee")
    label = model.target(None, image).classes[0]
    steps = xw.evaluate_steps(
        model, "coffee", "saliency", METRIC, similarities=similarities, blocks=blocks, norms=norms
    )
    for _ in range(3):
        bare(model, image, label)
    ours = theirs = done = 0.0
    while True:
        start = time.process_time()
        score = next(steps, steps)
        ours += time.process_time() - start
        if score is steps:
            return ours, theirs, int(done)
        if score is not None:
            # the trained network's map is made before the first stage
            for _ in range(1 + (done == 0)):
                theirs += bare(model, image, label, again=norms == "recalibrate")
                done += 1


@pytest.mark.parametrize("blocks", [True, False], ids=["blocks", "layers"])
@pytest.mark.parametrize(("norms", "similarities"), [("recalibrate", "rank"), ("keep", "rank"), ("keep", "all")])
def test_little_more_than_the_bare_passes(model, norms, similarities, blocks, table):
    ours, theirs, maps = in_turn(model, norms, similarities, blocks)
    table.append((f"{'blocks' if blocks else 'layers'}, {norms}, {similarities}", maps, ours, ours / theirs))
    print(f"\n{table[-1]}")
    if not blocks:
        assert ours <= OVERHEAD[norms, similarities] * theirs


def test_the_peer(model, table):
    image = model.input("coffee").contiguous()
    label = model.target(None, image).classes[0]
    metric = quantus.MPRT(disable_warnings=True, return_average_correlation=True)
    own = [bare(model, image, label) for _ in range(8)][3:]
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric(
            model=model.module,
            x_batch=image.numpy(),
            y_batch=np.array([label]),
            explain_func=quantus.explain,
            explain_func_kwargs={"method": "Saliency"},
            device="cpu",
        )
    theirs = time.process_time() - start
    own += [bare(model, image, label) for _ in range(5)]
    maps = 1 + sum(hasattr(part, "reset_parameters") for part in model.module.modules())
    ratio = theirs / (maps * float(np.median(own)))
    table.append(("Quantus MPRT", maps, theirs, ratio))
    print(f"\n{table[-1]}")
    ours = next(row[2] for row in table if row[0] == "layers, recalibrate, rank")
    assert theirs >= FASTER * ours
