"""Targets: classes, sums, differences and hidden units, and errors that name the argument."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xaiwidgets.errors import InvalidTarget
from xaiwidgets.model.labels import Labels, imagenet_labels
from xaiwidgets.model.targets import EachClass, Question, Target, check_target, class_target, unit_target

LABELS = Labels(("cat", "dog", "tree, oak", "car"))
OUTPUTS = torch.randn((3, 4), generator=torch.Generator().manual_seed(0))
MAPS = torch.randn((3, 2, 4, 5), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("wanted", [2, "tree", "oak", "tree, oak", "OAK", np.int64(2), (2,), ["oak"], ("tree", 2)])
def test_one_class_in_many_words(wanted):
    target = class_target(LABELS, wanted)
    assert (target.classes, target.minus, target.name) == ((2,), None, "tree")
    assert torch.equal(target.score(OUTPUTS), OUTPUTS[:, 2])


def test_wordnet_ids():
    assert class_target(imagenet_labels(), "n07920052").classes == (967,)
    assert class_target(imagenet_labels(), "n07920052") == class_target(imagenet_labels(), "espresso")


def test_several_classes_are_added_and_two_can_be_compared():
    both = class_target(LABELS, ["cat", 3])
    assert both.name == "cat + car"
    torch.testing.assert_close(both.score(OUTPUTS), OUTPUTS[:, 0] + OUTPUTS[:, 3])
    question = Target.difference("cat", "dog")
    less = class_target(LABELS, question.classes[0], question.minus)
    assert less.name == "cat − dog"
    torch.testing.assert_close(less.score(OUTPUTS), OUTPUTS[:, 0] - OUTPUTS[:, 1])


def test_outputs():
    target = class_target(LABELS, (1, 2))
    exact = np.exp(OUTPUTS.double().numpy())
    shares = exact / exact.sum(1, keepdims=True)
    probability = target.with_output("probability")
    np.testing.assert_allclose(probability.score(OUTPUTS).numpy(), shares[:, 1] + shares[:, 2], rtol=1e-6)
    logarithm = target.with_output("log_probability")
    np.testing.assert_allclose(logarithm.score(OUTPUTS).numpy(), np.log(shares[:, 1] * shares[:, 2]), rtol=1e-6)
    assert (target.unit, probability.unit, logarithm.unit) == ("logit", "probability", "log probability")
    assert target.output == "logit"


@pytest.mark.parametrize(
    "wrong", [-1, 4, "horse", "", None, True, 1.5, [], [0, 9], object(), float("nan"), "n99999999"]
)
def test_no_such_class(wrong):
    with pytest.raises(InvalidTarget, match=r"^target must "):
        class_target(LABELS, wrong)


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ("mean", MAPS[:, 1].mean((1, 2))),
        ("max", MAPS[:, 1].amax((1, 2))),
        ("center", MAPS[:, 1, 2, 2]),
        ((0, 0), MAPS[:, 1, 0, 0]),
        ((3, 4), MAPS[:, 1, 3, 4]),
        ([np.int64(3), 1], MAPS[:, 1, 3, 1]),
    ],
)
def test_hidden_units(position, expected):
    target = unit_target(Target.hidden("conv", np.int32(1), position), (2, 4, 5))
    assert type(target.channel) is int
    assert target.unit == "activation"
    torch.testing.assert_close(target.score(OUTPUTS, {"conv": MAPS}), expected)
    assert target.with_output("probability") is target
    assert hash(target) == hash(unit_target(Target.hidden("conv", 1, position), (2, 4, 5)))


def test_units_have_names():
    assert unit_target(Target.hidden("conv", 1), (2, 4, 5)).name == "conv channel 1"
    assert unit_target(Target.hidden("conv", 1, (0, 2)), (2, 4, 5)).name == "conv channel 1 at (0, 2)"


def test_a_unit_without_a_map_has_no_position():
    target = unit_target(Target.hidden("fc", 3, "max"), (4,))
    assert target.position == "mean"
    assert torch.equal(target.score(OUTPUTS, {"fc": OUTPUTS}), OUTPUTS[:, 3])
    assert unit_target(Target.hidden("fc", 3, (9, 9)), (4,)).position == "mean"


@pytest.mark.parametrize("channel", [-1, 2, 1.0, "1", None, True, [0]])
def test_no_such_channel(channel):
    with pytest.raises(InvalidTarget, match=r"^channel must be a whole number from 0 to 1 for layer 'conv'; got "):
        unit_target(Target.hidden("conv", channel), (2, 4, 5))


@pytest.mark.parametrize(
    "position", ["middle", (4, 0), (0, 5), (-1, 0), (1.5, 2), (1,), (1, 2, 3), None, 3, (True, 0), ("0", "1"), {}]
)
def test_no_such_position(position):
    with pytest.raises(InvalidTarget, match=r"^position must be one of mean, max, center or \(row, column\)"):
        unit_target(Target.hidden("conv", 0, position), (2, 4, 5))


def test_layers_of_tokens_have_no_channels():
    with pytest.raises(InvalidTarget, match=r"^layer must give channels.*'tokens' gives \(197, 768\)"):
        unit_target(Question(layer="tokens"), (197, 768))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Target(classes=(4,)), r"^classes must be indices from 0 to 3; got 4"),
        (Target(classes=(-1,)), r"^classes must be indices from 0 to 3; got -1"),
        (Target(classes=("cat",)), r"^classes must be indices from 0 to 3; got 'cat'"),
        (Target(classes=(0,), minus=9), r"^classes must be indices from 0 to 3; got 9"),
        (Target(), "^classes must name at least one class"),
        (Target(classes=(0,), output="odds"), "^output must be one of logit, probability, log_probability; got 'odds'"),
        (Target(layer="conv", channel=7), "^channel must be"),
        (Target(layer="conv", position=(9, 9)), "^position must be"),
    ],
)
def test_a_finished_target_is_checked(target, message):
    with pytest.raises(InvalidTarget, match=message):
        check_target(target, LABELS, (2, 4, 5))


def test_a_finished_target_that_fits_is_kept():
    for target in (Target(classes=(0, 3), minus=1), Target(layer="conv", channel=1, position=(3, 4))):
        assert check_target(target, LABELS, (2, 4, 5)) is target


@pytest.mark.parametrize("output", ["logit", "probability", "log_probability"])
def test_several_classes_side_by_side_say_the_same_of_any_target_of_them(output):
    columns = EachClass((0, 1, 3), output)
    scores = columns.score(OUTPUTS)
    assert scores.shape == (3, 3)
    for wanted, minus in ((3, None), ([1, 3], None), (3, 0)):
        target = class_target(LABELS, wanted, minus).with_output(output)
        assert columns.covers(target)
        assert torch.equal(columns.read(scores, target), target.score(OUTPUTS))


def test_targets_that_do_not_follow_from_some_classes():
    columns = EachClass((0, 1, 3), "logit")
    assert not columns.covers(Target(classes=(0, 2)))
    assert not columns.covers(Target(classes=(0,), minus=2))
    assert not columns.covers(Target(classes=(0,), output="probability"))
    assert not columns.covers(Target(layer="one"))
    assert columns.covers(Target(classes=(0,), minus=3))
