"""Learned inversion as a method: one pass of the decoder, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xaiwidgets as xw
from xaiwidgets.errors import InvalidImage, InvalidKnob, NotApplicable
from xaiwidgets.learned.decoding import train_decoder
from xaiwidgets.learned.recipes import untrained
from xaiwidgets.learned.teaching import Pictures, digit_pictures, digits16


@pytest.fixture(scope="module")
def model():
    return untrained(digits16(), seed=3)


@pytest.fixture(scope="module")
def photo():
    return np.repeat(digit_pictures("test", 16)[0][5], 3, axis=2)


def pictures(count=320):
    return Pictures(digit_pictures("train", 16)[0][:count], digit_pictures("test", 16)[0][:64])


@pytest.fixture(scope="module", params=["features.1", "hog", "lbp"])
def decoder(model, request):
    return train_decoder(model, pictures(), feature=request.param, epochs=10, name=f"of {request.param}")


def test_it_shows_what_the_decoder_makes(model, decoder, photo):
    found = list(xw.synthesize_steps(model, "learned_inversion", image=photo, decoder=f"of {decoder.feature}"))
    mean = decoder.network.mean.permute(1, 2, 0).numpy()
    assert len(found) == 3
    assert np.allclose(found[0].image, mean, atol=1e-6)
    assert found[0].score == pytest.approx(1)
    made = decoder.reconstruct(model, model.input(photo))[0].permute(1, 2, 0).numpy()
    assert np.allclose(found[-1].image, made, atol=1e-6)
    assert found[-1].score < 0.9
    gap = np.linalg.norm(made - photo[..., :1]) / np.linalg.norm(mean - photo[..., :1])
    assert found[-1].score == pytest.approx(gap, rel=5e-3)  # photos come as 8 bits
    assert found[-1].terms["relative feature error"] > 0
    assert "relative feature error" not in found[1].terms
    assert np.allclose(found[-1].beside[0].image, photo, atol=0.5 / 255 + 1e-6)


def test_it_asks_for_a_decoder_and_a_photo(model, photo):
    other = untrained(digits16(), seed=4)
    with pytest.raises(NotApplicable, match=r"xaiwidgets\.train_decoder"):
        xw.synthesize(untrained("digits8"), "learned_inversion", image=photo)
    train_decoder(model, pictures(300), feature="features.4", epochs=1, name="of four")
    with pytest.raises(InvalidKnob, match="other weights"):
        xw.synthesize(other, "learned_inversion", image=photo, decoder="of four")
    with pytest.raises(InvalidImage, match="image must be given"):
        xw.synthesize(model, "learned_inversion", decoder="of four")


def test_the_newest_decoder_that_fits_is_taken(model, photo):
    for layer in ("features.1", "features.4"):
        made = train_decoder(model, pictures(300), feature=layer, epochs=1)
    assert np.allclose(
        xw.synthesize(model, "learned_inversion", image=photo).image,
        made.reconstruct(model, model.input(photo))[0].permute(1, 2, 0).numpy(),
        atol=1e-6,
    )


def test_a_run_does_not_go_on_with_another_decoder(model, photo):
    train_decoder(model, pictures(300), feature="features.4", epochs=1, name="changing")
    method = xw.LearnedInversion(decoder="changing")
    goal, inputs = model.target(0), model.input(photo)
    state = next(method.steps(model, inputs, goal)).state
    train_decoder(model, pictures(300), feature="features.4", epochs=2, name="changing")
    with pytest.raises(InvalidKnob, match="the network that the run began with"):
        next(method.resume(state).steps(model, inputs, goal))


def test_pictures_can_be_smaller_than_the_networks(model, photo):
    made = train_decoder(model, pictures(300), feature="features.4", epochs=1, size=8, name="half")
    found = xw.synthesize(model, "learned_inversion", image=photo, decoder="half")
    assert made.size == (8, 8)
    assert found.image.shape == (8, 8, 3)
    assert torch.equal(made.network.mean, made.network.mean.clamp(0, 1))
