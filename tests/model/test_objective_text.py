"""Text for objectives: what it means, that it is read back as it was, and that nothing a stranger sends does harm."""

from __future__ import annotations

import random
import time

import pytest

import xaiwidgets as xw
from tests.model.test_objectives import ALL, SIDE, make_net
from xaiwidgets import objectives as o
from xaiwidgets.errors import InvalidTarget, XaiError
from xaiwidgets.model.objective_text import CALLS, LONGEST


@pytest.fixture(scope="module")
def model():
    return xw.Model(make_net(), size=SIDE, labels=["cat", "big dog", "3", 'a "b" \\c'], name="smooth")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat", o.label("cat")),
        ('  "big dog" ', o.label("big dog")),
        ('"3"', o.label("3")),
        ("logit(3)", o.label(3)),
        ("probability(cat)", o.label("cat", "probability")),
        ("blocks.4:12", o.channel("blocks.4", 12)),
        ("4:12@center", o.neuron("4", 12)),
        ("4.1 : 12 @ 3 , 5", o.channel("4.1", 12, (3, 5))),
        ("relu#2:1@max", o.channel("relu#2", 1, "max")),
        ('head:"big dog"', o.channel("head", "big dog")),
        ("dream(4)", o.dream("4")),
        ("direction(4; 1=1, 6=-0.5)", o.direction("4", {1: 1.0, 6: -0.5})),
        ("direction(4; 6=-0.5, 1=1; power=2)@center", o.direction("4", {1: 1.0, 6: -0.5}, 2.0, "center")),
        ("caricature(4; coffee; power=2)", o.caricature("4", "coffee", 2.0)),
        ("match(4; coffee)", o.match("4", "coffee")),
        (
            "espresso + 0.5 * blocks.4:12 - norm(blocks.2)",
            o.label("espresso") + 0.5 * o.channel("blocks.4", 12) - o.norm("blocks.2"),
        ),
        ("-cat", -o.label("cat")),
        ("- 2 * cat * -3", 6 * o.label("cat")),
        ("2*(cat + 1e-3*dream(4)) - (cat - 5)", 2 * (o.label("cat") + 0.001 * o.dream("4")) - (o.label("cat") - 5)),
        ("2 × cat − dog", 2 * o.label("cat") - o.label("dog")),
        ("dream", o.label("dream")),
        ("1 + 2 * 3 + cat", o.label("cat") + 7),
    ],
)
def test_a_text_means_what_it_says(text, expected):
    assert xw.parse_objective(text) == expected


def random_objective(chance, depth=0):
    kind = chance.randrange(3 if depth < 4 else 1)
    if kind == 0:
        return chance.choice(ALL)
    one, other = random_objective(chance, depth + 1), random_objective(chance, depth + 1)
    if kind == 1:
        return one + other * chance.choice([1, -1, 0.1, 1e-9, -3.25]) + chance.choice([0, 0, 2.5, -1])
    return one * other * chance.choice([1, -1, 0.3, 7]) - one


@pytest.mark.parametrize("seed", range(60))
def test_what_is_written_is_read_back(model, seed):
    made = random_objective(random.Random(seed))
    assert xw.parse_objective(str(made)) == made
    bound = model.objective(made)
    assert xw.parse_objective(bound.text, model) == bound


@pytest.mark.parametrize("index", range(4))
def test_every_class_can_be_written(model, index):
    bound = model.objective(o.label(index))
    assert xw.parse_objective(bound.text, model) == bound


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "character 1; got the end"),
        ("cat +", "got the end"),
        ("cat dog", "character 5; got 'dog'"),
        ("big dog", "character 5"),
        ("(cat", r"\) at character 5"),
        ("cat)", "the end at character 4"),
        ('"cat', "quotes that are closed"),
        ("cat / 2", "character 5"),
        ("draem(4)", "Did you mean dream"),
        ("__import__(os)", "one of"),
        ("4:1.5", "whole number"),
        ("4:-1", "a channel"),
        ("4:1@left", "whole number"),
        ("4:1@3", ", at character"),
        ("direction(4)", "; at character"),
        ("direction(4; 1)", "= at character"),
        ("direction(4; 1=1; size=2)", "power"),
        ("caricature(4; /etc/passwd)", "character 15"),
        ('caricature(4; "/etc/passwd")', "photo must be one of the samples"),
        ("1e999 * cat", "number"),
        ("9" * 5000 + " * cat", "number"),
        ("cat:" + "9" * 5000, "whole number"),
        ("(" * 3000 + "cat", "parentheses"),
        ("cat" + " + cat" * 600, "terms"),
        ("-" * 50_000, "got the end"),
        ("a" * (LONGEST + 1), "at most"),
        ("cat\0", "character 4"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, words):
    start = time.process_time()
    with pytest.raises(InvalidTarget, match=words) as caught:
        xw.parse_objective(text)
    assert len(str(caught.value)) < 700
    assert time.process_time() - start < 2


def test_only_text_is_read():
    with pytest.raises(InvalidTarget, match="string"):
        xw.parse_objective(3)


def test_no_text_raises_anything_else(model):
    """Random pieces of the language, put together at random."""
    chance = random.Random(1)
    pieces = [
        "cat",
        '"big dog"',
        "4",
        ":",
        "@",
        "center",
        "(",
        ")",
        ";",
        "=",
        ",",
        "+",
        "-",
        "*",
        "0.5",
        "coffee",
        *CALLS,
    ]
    for _ in range(3000):
        text = " ".join(chance.choices(pieces, k=chance.randrange(1, 12)))
        try:
            made = xw.parse_objective(text)
        except XaiError:
            continue
        assert xw.parse_objective(str(made)) == made, text
