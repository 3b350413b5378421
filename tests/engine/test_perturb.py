"""The perturbation runner: the scores of a plain loop, in batches of any size, in constant memory."""

from __future__ import annotations

import weakref

import nets
import pytest
import torch

from xaiwidgets.engine import perturb
from xaiwidgets.engine.memory import peak_of
from xaiwidgets.engine.perturb import altered_scores, perturbed_scores
from xaiwidgets.model.meter import CURRENT, Meter
from xaiwidgets.model.model import Model

COUNT = 11


def shift(copies, numbers):
    """Every copy gets its own number added to one row."""
    for copy, number in zip(copies, numbers, strict=True):
        copy[:, number] += number


def loop(model, image, target):
    scores = []
    for number in range(COUNT):
        copy = image.clone()
        copy[:, :, number] += number
        scores.append(float(model.scores(copy, target)[0]))
    return torch.tensor(scores)


def gather(steps):
    numbers, scores = zip(*steps, strict=True)
    assert [n for r in numbers for n in r] == list(range(COUNT))
    assert [len(r) for r in numbers] == [len(s) for s in scores]
    return [len(r) for r in numbers], torch.cat(scores)


@pytest.mark.parametrize(("batch", "sizes"), [(1, [1] * 11), (4, [4, 4, 3]), (11, [11]), (99, [11])])
@pytest.mark.parametrize("make", [nets.f3, nets.in_place_input], ids=lambda f: f.__name__)
def test_scores_are_those_of_a_loop(make, batch, sizes):
    model, image = Model(make(), size=nets.SIZE), nets.images()
    before = image.clone()
    target = model.target(1).with_output("probability")
    found = gather(perturbed_scores(model, image, target, COUNT, shift, batch))
    assert found[0] == sizes
    torch.testing.assert_close(found[1], loop(model, image, target), rtol=1e-5, atol=1e-7)
    assert torch.equal(image, before)


def test_hidden_units_and_the_measured_size():
    model, image = Model(nets.f3(), size=nets.SIZE), nets.images()
    target = model.unit("bn2", 3)
    _, scores = gather(perturbed_scores(model, image, target, COUNT, shift))
    torch.testing.assert_close(scores, loop(model, image, target), rtol=1e-5, atol=1e-7)


def test_one_at_a_time_stays_one_at_a_time():
    model, image = Model(nets.one_at_a_time(), size=nets.SIZE), nets.images()
    sizes, scores = gather(perturbed_scores(model, image, model.target(1), COUNT, shift, 8))
    assert sizes == [1] * COUNT
    torch.testing.assert_close(scores, loop(model, image, model.target(1)), rtol=1e-5, atol=1e-7)


def test_no_copies_no_passes():
    model = Model(nets.f1(), size=nets.SIZE)
    assert list(perturbed_scores(model, nets.images(), model.target(1), 0, shift, 4)) == []


def scarce(monkeypatch, model, most, error):
    """Let passes of more than ``most`` images fail."""
    real, asked = model.scores, []

    def scores(images, target):
        asked.append(len(images))
        if len(images) > most:
            raise error
        return real(images, target)

    monkeypatch.setattr(model, "scores", scores)
    return asked


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("x"), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")],
    ids=lambda e: type(e).__name__,
)
def test_the_batch_is_halved_until_it_fits(error, monkeypatch):
    model, image = Model(nets.f3(), size=nets.SIZE), nets.images()
    target = model.target(1)
    expected = loop(model, image, target)
    asked = scarce(monkeypatch, model, 2, error)
    sizes, scores = gather(perturbed_scores(model, image, target, COUNT, shift, 8))
    assert asked == [8, 4, 2, 2, 2, 2, 2, 1]
    assert sizes == [2, 2, 2, 2, 2, 1]
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-7)


def test_one_image_that_does_not_fit_and_other_errors_are_raised(monkeypatch):
    model = Model(nets.f3(), size=nets.SIZE)
    asked = scarce(monkeypatch, model, 0, MemoryError())
    with pytest.raises(MemoryError):
        next(perturbed_scores(model, nets.images(), model.target(1), COUNT, shift, 4))
    assert asked == [4, 2, 1]
    asked = scarce(monkeypatch, model, 0, RuntimeError("another"))
    with pytest.raises(RuntimeError, match="another"):
        next(perturbed_scores(model, nets.images(), model.target(1), COUNT, shift, 4))
    assert asked == [4]


def test_one_buffer_is_used_again_and_passes_are_counted(monkeypatch):
    model, image = Model(nets.f3(), size=nets.SIZE), nets.images()
    made, places = [], []
    real = perturb._buffer
    monkeypatch.setattr(perturb, "_buffer", lambda *args: made.append(args) or real(*args))
    token = CURRENT.set(Meter())
    try:
        note = lambda copies, numbers: places.append(copies.data_ptr())
        list(perturbed_scores(model, image, model.target(1), COUNT, note, 2))
        assert CURRENT.get().passes == (COUNT, 0)
    finally:
        CURRENT.reset(token)
    assert len(made) == 1
    assert len(set(places)) == 1


def test_nothing_is_switched_off_between_two_batches():
    model = Model(nets.f3(), size=nets.SIZE)
    steps = perturbed_scores(model, nets.images(), model.target(1), COUNT, shift, 2)
    for _ in steps:
        assert torch.is_grad_enabled()
    steps.close()


def test_a_buffer_that_is_written_whole_need_not_be_filled_first():
    model = Model(nets.f1(), size=24, mean=(0.5,) * 3, std=(0.5,) * 3)
    image, target = torch.rand(1, *model.input_shape), model.target(0)

    def write(copies, numbers):
        for copy, number in zip(copies, numbers, strict=True):
            copy.copy_(image[0] * (number + 1))

    parts = perturbed_scores(model, image, target, COUNT, write, 2, fresh=False)
    expected = torch.cat([model.scores(image * (number + 1), target) for number in range(COUNT)])
    assert torch.allclose(gather(parts)[1], expected, rtol=1e-5)


def test_memory_does_not_grow_with_the_number_of_copies():
    model, image = Model(nets.f3(), size=nets.SIZE), nets.images()
    target = model.target(1)
    model.scores(image, target)

    def run(count):
        for _ in perturbed_scores(model, image, target, count, lambda copies, numbers: copies.add_(numbers[0]), 4):
            pass

    few, many = peak_of(lambda: run(4)), peak_of(lambda: run(400))
    assert few <= many <= 1.01 * few


def test_what_a_batch_that_was_too_large_has_taken_is_let_go_before_the_next(monkeypatch):
    model, image = Model(nets.f3(), size=nets.SIZE), nets.images()
    held, made = [], []
    real = perturb._buffer

    def buffer(*args):
        assert all(one() is None for one in held), "the pass that failed, or its buffer, is still there"
        made.append(args[1])
        found = real(*args)
        held.append(weakref.ref(found))
        return found

    def scores(images, target):
        large = torch.ones(1000)
        held.append(weakref.ref(large))
        if len(images) > 2:
            raise MemoryError
        return torch.zeros(len(images))

    monkeypatch.setattr(perturb, "_buffer", buffer)
    monkeypatch.setattr(model, "scores", scores)
    gather(perturbed_scores(model, image, model.target(1), COUNT, shift, 8))
    assert made == [8, 4, 2]


def test_a_buffer_that_does_not_fit_is_halved_too(monkeypatch):
    model, image = Model(nets.f3(), size=nets.SIZE), nets.images()
    expected, asked, real = loop(model, image, model.target(1)), [], perturb._buffer

    def buffer(base, size):
        asked.append(size)
        if size > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
        return real(base, size)

    monkeypatch.setattr(perturb, "_buffer", buffer)
    sizes, scores = gather(perturbed_scores(model, image, model.target(1), COUNT, shift, 8))
    assert asked == [8, 4, 2]
    assert sizes == [2, 2, 2, 2, 2, 1]
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-7)


def test_anything_can_be_altered_in_the_same_way():
    """A layer's output, in its own memory format."""
    model, image = Model(nets.f3(), size=nets.SIZE), nets.images()
    tail = model.tail(image, model.target(1), "relu")

    def switch_off(copies, numbers):
        assert copies.stride()[1:] == tail.activation.stride()[1:]
        for copy, number in zip(copies, numbers, strict=True):
            copy[number % 8] = 0

    expected = []
    for number in range(COUNT):
        one = tail.activation.clone()
        one[0, number % 8] = 0
        expected.append(tail.scores(one))
    found = gather(altered_scores(model, tail.activation, tail.scores, COUNT, switch_off, 4))
    assert found[0] == [4, 4, 3]
    torch.testing.assert_close(found[1], torch.cat(expected), rtol=1e-5, atol=1e-7)
