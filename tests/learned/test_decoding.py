"""Trained inversions: they beat the mean picture, refuse other features, and can be interrupted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import xaiwidgets as xw
from xaiwidgets.errors import InvalidImage, InvalidKnob, InvalidLayer, NotApplicable
from xaiwidgets.learned.decoding import train_decoder, train_decoder_steps, train_generator_steps
from xaiwidgets.learned.features import binary_patterns, features, oriented_gradients
from xaiwidgets.learned.recipes import Recipe, train, untrained
from xaiwidgets.learned.teaching import LEAST, Pictures, digit_pictures, digits16, find_pictures

SIDE = 16


class Functional(nn.Module):
    """A net whose activations are functions, and one of them is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.act, self.head = nn.ReLU(), nn.Linear(8 * 8 * 8, 10)

    def forward(self, images):
        return self.head(self.act(self.second(torch.relu(self.act(self.first(images))))).flatten(1))


def make_model(net=None, **options):
    torch.manual_seed(0)
    return xw.Model(net or Functional(), size=SIDE, mean=(0.2,), std=(0.5,), labels=list("0123456789"), **options)


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def few():
    """Some digits to learn from, so that an epoch takes a moment."""
    return Pictures(digit_pictures("train", SIDE)[0][:320], digit_pictures("test", SIDE)[0][:64])


def states(steps):
    return [state for state in steps if state is not None]


def weights(decoder):
    return list(decoder.network.state_dict().values())


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


@pytest.mark.parametrize("feature", ["second", "hog", "lbp"])
def test_it_beats_the_mean_picture_on_held_out_digits(model, few, feature):
    """With and without a gradient; full trainings are under ``lab``."""
    found = states(train_decoder_steps(model, few, feature=feature, epochs=12))
    assert [s.epoch for s in found] == list(range(1, 13))
    last = found[-1]
    assert last.progress == 1
    assert last.losses[-1] < last.losses[0] / 2
    assert last.errors[-1] < 0.75 * last.mean_error
    assert len(last.panel) == 8
    assert all(s.decoder is None for s in found[:-1])


def test_errors_are_distances_relative_to_those_of_random_pictures(model, few):
    decoder = train_decoder(model, few, feature="second", epochs=2)
    inputs = torch.cat([model.from_pixels(image) for image in few.test])
    made = decoder.reconstruct(model, inputs).permute(0, 2, 3, 1).numpy()
    gaps = np.sqrt(((made - few.test) ** 2).sum((1, 2, 3))).mean()
    flat = few.test.reshape(len(few.test), -1)
    apart = np.sqrt(((flat[:, None] - flat[None]) ** 2).sum(-1))
    unit = apart[~np.eye(len(flat), dtype=bool)].mean()
    assert decoder.error == pytest.approx(gaps / unit, rel=0.02)
    mean = few.train.mean(0).reshape(-1)
    assert decoder.mean_error == pytest.approx(np.sqrt(((flat - mean) ** 2).sum(1)).mean() / unit, rel=0.02)


def test_a_constant_feature_gives_the_mean_picture(few):
    class Constant(Functional):
        def forward(self, images):
            return super().forward(images * 0)

    decoder = train_decoder(make_model(Constant()), few, feature="second", epochs=10)
    made = decoder.decode(decoder.code_mean[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(made - few.train.mean(0)).max() < 1e-2


def test_hand_made_features_are_what_they_are_called():
    stripes = np.tile(np.arange(32) % 8 / 7, (32, 1))
    hog = oriented_gradients(stripes).reshape(3, 3, 2, 2, 9)
    assert hog.shape == (3, 3, 2, 2, 9)
    assert hog[..., 0].sum() > 0.9 * hog.sum()  # all gradients point to the right
    lbp = binary_patterns(stripes).reshape(8, 8, 10)
    assert np.allclose(lbp.sum(-1), 1)
    flat = binary_patterns(np.full((32, 32), 0.5)).reshape(8, 8, 10)
    assert flat[1:-1, 1:-1, 8].min() == 1  # all neighbors are as bright; beyond the border it is dark


def test_a_saved_decoder_is_the_same_and_refuses_other_features(model, few, tmp_path):
    decoder = train_decoder(model, few, feature="second", epochs=1)
    decoder.save(tmp_path / "decoder.pt")
    again = xw.load_decoder(tmp_path / "decoder.pt")
    inputs = model.from_pixels(few.test[0])
    assert torch.equal(again.reconstruct(model, inputs), decoder.reconstruct(model, inputs))
    assert (again.feature, again.shape, again.error) == (decoder.feature, decoder.shape, decoder.error)
    changed = model.with_weights({"first.bias": model.module.first.bias.detach() + 1e-3})
    with pytest.raises(InvalidKnob, match="other weights or another preprocessing"):
        again.reconstruct(changed, inputs)
    other = xw.Model(model.module, size=SIDE, mean=(0.3,), std=(0.5,))
    with pytest.raises(InvalidKnob, match="another preprocessing"):
        again.reconstruct(other, inputs)
    with pytest.raises(InvalidKnob, match="shape"):
        again.decode(torch.zeros(1, 3))


def test_files_that_are_no_decoders_are_refused(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"nothing")
    torch.save({"format": "other"}, tmp_path / "b.pt")
    for name in ("a.pt", "b.pt", "missing.pt"):
        with pytest.raises(InvalidKnob, match=r"written by Decoder\.save"):
            xw.load_decoder(tmp_path / name)


@pytest.mark.parametrize("generator", [False, True])
def test_an_interrupted_training_ends_as_if_it_had_not_been(model, few, tmp_path, generator):
    steps = train_generator_steps if generator else train_decoder_steps
    options = {} if generator else {"feature": "second"}
    net = untrained(digits16()) if generator else model
    whole = states(steps(net, few, epochs=4, **options))[-1]
    path = tmp_path / "checkpoint.pt"
    running = steps(net, few, epochs=4, checkpoint=path, **options)
    for state in running:
        if state is not None and state.epoch == 2:
            break
    running.close()
    rest = states(steps(net, few, epochs=4, checkpoint=path, **options))
    assert [s.epoch for s in rest] == [3, 4]
    assert rest[-1].losses == whole.losses
    assert rest[-1].errors == whole.errors
    assert equal(rest[-1].decoder, whole.decoder)
    with pytest.raises(InvalidKnob, match="differs in epochs"):
        states(steps(net, few, epochs=5, checkpoint=path, **options))
    path.write_bytes(b"nothing")
    with pytest.raises(InvalidKnob, match="checkpoint must be a file"):
        states(steps(net, few, epochs=4, checkpoint=path, **options))


def test_another_learning_rate_acts_while_it_trains(model, few):
    steps = train_decoder_steps(model, few, feature="second", epochs=3)
    first = next(state for state in steps if state is not None)
    slow = [state for state in (steps.send({"rate": 1e-6}), *steps) if state is not None][-1]
    with pytest.raises(InvalidKnob, match="rate must be"):
        list(moved(model, few, {"rate": 2.0}))
    plain = states(train_decoder_steps(model, few, feature="second", epochs=3))[-1]
    assert first.losses[0] == plain.losses[0]
    assert plain.losses[-1] < 0.95 * slow.losses[-1]


def moved(model, few, sent):
    steps = train_decoder_steps(model, few, feature="second", epochs=2)
    yield next(steps)
    yield steps.send(sent)


def test_closing_it_ends_it_and_nothing_global_changes(model, few):
    before, state = torch.get_rng_state(), {k: v.clone() for k, v in model.module.state_dict().items()}
    steps = train_decoder_steps(model, few, feature="second", epochs=3)
    next(steps)
    steps.close()
    with pytest.raises(StopIteration):
        next(steps)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(value, model.module.state_dict()[name]) for name, value in state.items())
    assert all(p.grad is None for p in model.module.parameters())


def test_folders_and_their_number(tmp_path):
    from PIL import Image

    model = make_model(crop=1.0)
    images = (digit_pictures("test", SIDE)[0][:LEAST, ..., 0] * 255).astype(np.uint8)
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number:03}.png")
    last = states(train_decoder_steps(model, tmp_path, feature="second", epochs=1))[-1]
    as_array = states(train_decoder_steps(model, images[..., None], feature="second", epochs=1))[-1]
    assert as_array.losses == last.losses
    (tmp_path / "000.png").unlink()
    with pytest.raises(InvalidImage, match=f"at least {LEAST}.*got {LEAST - 1}"):
        states(train_decoder_steps(model, tmp_path, feature="second", epochs=1))


def test_a_few_photos_are_cut_into_crops_and_whole_photos_are_held_out():
    """Each photo has a color of its own, brighter to the right, so that a crop tells where it comes from."""
    model = xw.Model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 12 * 8, 2)), size=(14, 10), crop=1.0)
    photos = []
    for number in range(10):
        photo = np.zeros((60, 90, 3), np.uint8)
        photo[..., 0], photo[..., 1] = 25 * number, np.arange(90)
        photos.append(photo)
    found = end_of(find_pictures(model, photos, 3, crops=40))
    assert found.train.shape == (320, 14, 10, 3)
    assert found.test.shape == (80, 14, 10, 3)
    sources = [{round(value / 25) for value in part[..., 0].mean((1, 2))} for part in (found.train, found.test)]
    assert len(sources[0]) == 8
    assert sources[0] | sources[1] == set(range(10))
    rising = found.train[:, 7, -1, 1].astype(int) - found.train[:, 7, 0, 1]
    assert 0.4 < (rising > 0).mean() < 0.6  # half of them are mirrored
    widths = np.abs(rising) / 9 * 10  # the picture is 60 px high, so a crop is at most 42 wide
    assert 14 < widths.min() < 22
    assert 36 < widths.max() <= 44
    assert end_of(find_pictures(model, photos, 3, crops=40)).digest == found.digest
    assert end_of(find_pictures(model, photos, 4, crops=40)).digest != found.digest
    for few, crops in ((photos[:4], 100), (photos, 20)):
        with pytest.raises(InvalidImage, match=f"at least 5 photos.*got {len(few)} with {crops}"):
            end_of(find_pictures(model, few, 0, crops=crops))
    with pytest.raises(InvalidImage, match="to cut crops"):
        end_of(find_pictures(model, None, 0, crops=4))
    with pytest.raises(InvalidKnob, match="crops must be"):
        states(train_decoder_steps(model, photos, crops=-1))
    last = states(train_decoder_steps(model, photos, crops=30, epochs=1, size=10))[-1]
    assert last.decoder.error > 0


def end_of(steps):
    """Return what a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_bad_arguments_are_named(model, few):
    with pytest.raises(InvalidImage, match="at least 300"):
        states(train_decoder_steps(model, few.train[:100]))
    with pytest.raises(InvalidImage, match="shape"):
        states(train_decoder_steps(model, np.zeros((300, 8, 8, 1))))
    with pytest.raises(InvalidImage, match="values from"):
        states(train_decoder_steps(model, np.full((300, SIDE, SIDE, 1), 2.0)))
    with pytest.raises(InvalidImage, match="no bundled pictures"):
        states(
            train_decoder_steps(xw.Model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2)), size=8))
        )
    with pytest.raises(InvalidLayer, match="layer must be one of"):
        states(train_decoder_steps(model, few, feature="nope"))
    for name, value in {"epochs": 0, "rate": 1.0, "seed": -1, "size": 4}.items():
        with pytest.raises(InvalidKnob, match=f"{name} must be"):
            states(train_decoder_steps(model, few, **{name: value}))
    tiny = untrained("digits8")
    with pytest.raises(NotApplicable, match="16 × 16"):
        states(train_decoder_steps(tiny, feature="hog"))
    flat = xw.Model(nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 10)), size=SIDE, mean=(0.5,), std=(0.5,))
    with pytest.raises(NotApplicable, match="never negative"):
        states(train_generator_steps(flat, few))
    # a code that is negative for some pictures
    signed = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 12), nn.Tanh(), nn.Linear(12, 10))
    with pytest.raises(NotApplicable, match="never negative"):
        states(train_generator_steps(make_model(signed), few))


def test_features_of_a_batch_are_those_of_its_pictures(model, few):
    inputs = torch.cat([model.from_pixels(image) for image in few.test[:3]])
    for name in ("hog", "lbp", "second"):
        whole = features(model, name, inputs)
        single = torch.cat([features(model, name, inputs[k : k + 1]) for k in range(3)])
        assert torch.allclose(whole, single, atol=1e-5)


@pytest.mark.lab
@pytest.mark.parametrize("feature", ["hog", "lbp"])
def test_digits_are_made_again_from_features_without_a_gradient(feature):
    """Digits of 32 px: mean picture 0.71, nearest neighbors 0.39 and 0.41, learned 0.23 and 0.24."""
    side = 32
    linear = Recipe(
        "digits32", "Digits", lambda: nn.Sequential(nn.Flatten(), nn.Linear(side**2, 10)),
        lambda split: digit_pictures(split, side), tuple("0123456789"), (0.0,), (1.0,),
    )  # fmt: skip
    last = states(train_decoder_steps(untrained(linear), feature=feature))[-1]
    print(feature, last.errors[-1], last.nearest_error, last.mean_error)
    assert last.errors[-1] < 0.30
    assert last.errors[-1] < 0.75 * last.nearest_error


@pytest.mark.lab
def test_deeper_layers_know_less_of_shapes():
    """The net of shapes, from its second ReLU to the logits: 0.35, 0.46, 0.61 and 0.69; the mean picture: 0.71."""
    model = train("shapes")
    errors = []
    for layer in ("features.4", "features.7", "flatten", "classifier"):
        last = states(train_decoder_steps(model, feature=layer, epochs=12))[-1]
        errors.append(last.errors[-1])
    print(errors, last.mean_error)
    assert errors == sorted(errors)
    assert errors[-1] < last.mean_error
