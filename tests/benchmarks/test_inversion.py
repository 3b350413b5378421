"""How much faster a trained decoder inverts a layer than an optimization of the picture does.

    pytest -m benchmark -s tests/benchmarks/test_inversion.py

Both invert what the same layer of the bundled digit network gives for the same digits, each as a person calls it: the
whole run, with results after every step. They run in turn, with the same number of threads, and are measured in seconds
of the processor, which other work on the machine changes least; the ratio is the median of the digits' ratios. What the
training took is printed, and is not counted: it is done once for all pictures.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest
import torch

import xaiwidgets as xw
from xaiwidgets.model.references import find_references

pytestmark = pytest.mark.benchmark
#: Digits that are inverted, and passes over the training digits: more change what is made, and not how fast.
DIGITS, EPOCHS = 5, 2
#: So many times faster (Dosovitskiy and Brox 2016, section 1: one pass in place of an optimization).
FASTER = 20


def timed(call):
    start = time.process_time()
    found = call()
    return found, time.process_time() - start


@pytest.mark.parametrize("place", [1, -1], ids=["early", "last"])
def test_a_decoder_inverts_a_layer_more_than_twenty_times_faster(place):
    model = xw.load_model("digits_gap")
    layer = model.stages[place].name
    decoder, training = timed(lambda: xw.train_decoder(model, feature=layer, epochs=EPOCHS, name="timed"))
    assert decoder.feature == layer and decoder.size == model.input_shape[1:]
    references = find_references("digits")
    photos = [references.picture(number) for number in range(DIGITS + 1)]

    def learned(photo):
        return xw.synthesize(model, "learned_inversion", image=photo, decoder="timed")

    def optimized(photo):
        return xw.synthesize(model, "representation_inversion", image=photo, layer=layer)

    sides = learned, optimized
    for side in sides:
        side(photos[-1])
    spent, errors = [], []
    for number, photo in enumerate(photos[:DIGITS]):
        order = (0, 1) if number % 2 else (1, 0)
        made = {which: timed(lambda side=sides[which], photo=photo: side(photo)) for which in order}
        spent.append([made[which][1] for which in (0, 1)])
        wished = model.to_pixels(model.input(photo))
        errors.append([float(np.abs(made[which][0].image[..., :1] - wished).mean()) for which in (0, 1)])
    ratio = statistics.median(slow / fast for fast, slow in spent)
    fast, slow = (statistics.median(side) for side in zip(*spent, strict=True))
    steps = xw.RepresentationInversion().iterations
    print(
        f"\n{layer} of digits_gap: decoder {fast * 1e3:.1f} ms, optimization ({steps} steps) {slow * 1e3:.0f} ms, "
        f"ratio {ratio:.0f}; trained for {training:.0f} s; mean error of a pixel {np.mean(errors, axis=0).round(3)} "
        f"({torch.get_num_threads()} threads)"
    )
    assert ratio > FASTER
