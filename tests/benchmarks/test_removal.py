"""What deletion takes beyond the bare passes, and what Quantus takes for as many pictures.

    pytest -m benchmark -s -n0 tests/benchmarks/test_removal.py

On the bundled network and the coffee photo. Deletion is run batch by batch, each followed by the same number of bare
passes of the prepared copy, so that both see the same machine; it may take ``OVERHEAD`` times as long. Quantus'
``PixelFlipping`` is called as by default but for its step: it counts every color as a feature, of which it would remove
one at a time, in 150528 passes; 1792 are taken. Each step is one pass of the user's module for one picture. It is held
against as many pictures in our batches on the prepared copy and, in the last column, against as many passes of the
user's module as it is: 1.0, so that all we gain here is by batches and by the prepared copy. On one thread.
Seconds are those of the processor, which others' work on a shared machine does not lengthen.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
import quantus
import torch

import xaiwidgets as xw
from xaiwidgets.engine.batching import batch_size

pytestmark = pytest.mark.benchmark

OVERHEAD = 1.15
STEPS, DRAWS = 56, 1


def seconds_of(run):
    start = time.process_time()
    found = run()
    return time.process_time() - start, found


def test_deletion_takes_little_more_than_its_passes_and_quantus_many_times_that():
    model = xw.load_model()
    image = model.input("coffee")
    size, network = batch_size(model), model.prepared.module
    batch = image.repeat(size, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    target = model.target("espresso")
    saved = xw.explain(model, "coffee", "grad_cam", target=target)

    def bare(count):
        with torch.no_grad():
            for start in range(0, count, size):
                network(batch[: min(size, count - start)])

    knobs = {"steps": STEPS, "draws": DRAWS}
    xw.evaluate(model, "coffee", saved, "deletion", target=target, steps=2, draws=1)  # everything is loaded
    running = xw.evaluate_steps(model, "coffee", saved, "deletion", target=target, **knobs)
    next(running)
    ours = floor = spent = 0
    while True:
        seconds, score = seconds_of(lambda: next(running, False))
        if score is False:
            break
        ours += seconds
        done = min(size, (DRAWS + 2) * (STEPS - 1) + 2 - spent) if score is None else score.provenance.passes[0] - spent
        floor += seconds_of(lambda done=done: bare(done))[0]
        spent += done
    assert spent == (DRAWS + 2) * (STEPS - 1) + 2

    pixels = image.contiguous().numpy()
    values = np.broadcast_to(saved.heatmap()[None, None], pixels.shape).copy()
    metric = quantus.PixelFlipping(features_in_step=1792, disable_warnings=True)
    answer = np.array([target.classes[0]])
    run = lambda: metric(model=model.module, x_batch=pixels, y_batch=answer, a_batch=values, device="cpu")

    def as_built():
        with torch.no_grad():
            model.module(image.contiguous())

    as_built()
    theirs, found = seconds_of(run)
    steps = len(found[0])
    floor_of_theirs = floor / spent * steps
    built = steps * float(np.median([seconds_of(as_built)[0] for _ in range(15)]))
    print(f"\n\n{spent} pictures, {size} a pass, {torch.get_num_threads()} threads")
    print(f"{'deletion':24}{ours:8.2f} s{ours / floor:8.2f} × bare")
    ratios = f"{theirs / floor_of_theirs:8.2f} × bare{theirs / built:8.2f} × as built"
    print(f"{'Quantus PixelFlipping':24}{theirs:8.2f} s{ratios}, for {steps} pictures")
    assert ours / floor <= OVERHEAD
    assert theirs / floor_of_theirs > ours / floor
