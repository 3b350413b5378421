"""The Grid: what a person does to it, its limits, and its link."""

from __future__ import annotations

import random
from urllib.parse import urlencode

import pytest

from xaiwidgets.core.cards import card, cards
from xaiwidgets.engine.arrange import ACROSS, MOST_CELLS, Cell
from xaiwidgets.errors import InvalidKnob, UnknownMethod
from xaiwidgets.render.look import Look
from xaiwidgets.render.panels import SCALES
from xaiwidgets.studio.grid import FIRST, LAST_RANK, Column, Grid, Rank


def test_the_first_grid_is_made_of_cheap_methods_of_several_families():
    grid = Grid()
    assert grid.counts == (4, 2, 1)
    assert len({card(column.method).family for column in FIRST}) >= 3
    assert all(sum(column.make().cost((224, 224))) < 150 for column in grid.methods)


def test_methods_come_and_go_and_the_pair_stays_with_them():
    grid = Grid(pair=(Cell(1, 0, 0), Cell(3, 1, 0)))
    more = grid.with_method(Column.of("occlusion", window_height=48))
    assert [column.method for column in more.methods[-2:]] == ["occlusion", "occlusion"]
    assert more.methods[-1].knob("window_height") == 48
    less = more.without("methods", 0)
    assert less.pair == (Cell(0, 0, 0), Cell(2, 1, 0))
    assert less.methods == more.methods[1:]
    assert less.without("methods", 3).pair == less.pair
    assert less.without("targets", 0).pair == (Cell(0, 0, 0), Cell(2, 0, 0))
    assert more.changed(4, window_height=20, nonsense=3).methods[4] == Column.of("occlusion", window_height=20)


def test_the_pair_is_of_two_cells_whenever_there_are_two():
    one = Grid(methods=FIRST[:1], targets=(3,))
    assert one.pair == (Cell(0, 0, 0), Cell(0, 0, 0))
    assert one.with_method(FIRST[1]).pair == (Cell(0, 0, 0), Cell(1, 0, 0))
    assert one.with_target(4).pair == (Cell(0, 0, 0), Cell(0, 1, 0))
    assert one.with_layer("a").pair == one.pair
    assert one.with_layer("a").with_layer("b").pair == (Cell(0, 0, 0), Cell(0, 0, 1))
    grid = Grid(methods=FIRST[:3], pair=(Cell(1, 1, 0), Cell(2, 1, 0)))
    assert grid.without("methods", 2).pair == (Cell(1, 1, 0), Cell(0, 1, 0))
    assert grid.without("methods", 2).without("methods", 1).pair == (Cell(0, 1, 0), Cell(0, 0, 0))


def test_classes_and_layers_come_once():
    grid = Grid().with_target(7).with_target(Rank(1)).with_target(7)
    assert grid.targets == (Rank(1), Rank(2), 7)
    grid = grid.with_layer("a").with_layer("b").with_layer("a")
    assert grid.layers == ("a", "b")
    assert grid.counts == (4, 3, 2)
    assert grid.without("layers", 0).without("layers", 0).counts == (4, 3, 1)


def test_what_does_not_fit_is_refused_in_words():
    grid = Grid(targets=tuple(range(9)))
    assert len(grid.cells) == MOST_CELLS
    for more in (lambda: grid.with_method(FIRST[0]), lambda: grid.with_target(99), lambda: Grid(layers=tuple("abcde"))):
        with pytest.raises(InvalidKnob, match="at most 36 panels"):
            more()
    with pytest.raises(InvalidKnob, match="at least one method"):
        Grid(methods=FIRST[:1]).without("methods", 0)
    with pytest.raises(InvalidKnob, match="at least one class"):
        Grid(targets=(3,)).without("targets", 0)
    with pytest.raises(InvalidKnob, match="across must be one of methods, classes, layers"):
        Grid(across="rows")
    with pytest.raises(InvalidKnob, match="scale must be one of panel, shared, rank"):
        Grid(scale="common")
    with pytest.raises(UnknownMethod):
        Column.of("nothing")
    with pytest.raises(UnknownMethod):
        Column.of("activation_maximization")


def test_only_what_is_computed_is_part_of_the_question():
    grid = Grid()
    looked_at = {"across": "classes", "scale": "rank", "look": Look(opacity=0.1), "pair": (Cell(1, 1, 0),) * 2}
    for name, value in looked_at.items():
        assert grid.replace(**{name: value}).question == grid.question
    for name, value in {"image": "chelsea", "layers": ("a",), "targets": (1,), "methods": FIRST[:2]}.items():
        assert grid.replace(**{name: value}).question != grid.question


def test_round_trip_through_a_link():
    rng = random.Random(0)
    made = cards("explainer")
    for _ in range(60):
        columns = []
        for one in rng.sample(made, rng.randint(1, 3)):
            values = {k.name: rng.choice(list(k.domain.samples(k.default))) for k in one.knobs}
            columns.append(Column.of(one.id, **values))
        targets = rng.sample([3, 999, *map(Rank, range(1, LAST_RANK + 1))], rng.randint(1, 4))
        layers = rng.sample(["blocks.2.0.conv_dw#2", "a,b=c&d %", "features.3"], rng.randint(0, 3))
        grid = Grid(
            image="chelsea",
            methods=tuple(columns),
            targets=tuple(targets),
            layers=tuple(layers),
            across=rng.choice(ACROSS),
            scale=rng.choice(SCALES),
            look=Look(opacity=rng.random(), sign=rng.choice(["auto", "absolute"])),
            pair=(Cell(0, 0, 0), Cell(len(columns) - 1, len(targets) - 1, max(0, len(layers) - 1))),
        )
        assert Grid.from_query(grid.to_query()) == grid
        assert Grid.from_query("?" + grid.to_query()) == grid


def test_the_default_link():
    assert Grid.from_query("") == Grid()
    assert Grid.from_query(Grid().to_query()) == Grid()


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ({"m0": "nothing", "m1": "rise"}, {"methods": (Column("rise"),)}),
        ({"m0": "activation_maximization"}, {}),
        ({"m0": "rise", "m0.samples": "1e99"}, {"methods": (Column.of("rise", samples=10**6),)}),
        ({"m0": "rise", "m0.samples": "[[", "m0.x": "3"}, {"methods": (Column("rise"),)}),
        ({"targets": "top9,top0,-3,abc,top,"}, {}),
        ({"targets": "top2,5,5,99999999999999"}, {"targets": (Rank(2), 5)}),
        ({"targets": "1234567"}, {"targets": (1_000_000,)}),
        ({"targets": ",".join(map(str, range(99)))}, {"targets": tuple(range(9))}),
        ({f"l{n}": f"x{n}" for n in range(36)}, {"layers": tuple(f"x{n}" for n in range(4))}),
        ({"l0": "y" * 999}, {"layers": ("y" * 300,)}),
        ({"across": "rows", "scale": "none", "look.opacity": "7"}, {"look": Look(opacity=1.0)}),
        ({"pair": "0.0.0-9.9.9"}, {"pair": (Cell(0, 0, 0), Cell(3, 1, 0))}),
        ({"pair": "1.2-x"}, {}),
        ({"image": "../" * 99}, {"image": ("../" * 99)[:100]}),
    ],
)
def test_what_a_link_may_not_ask_is_left_out(parts, wanted):
    assert Grid.from_query(urlencode(parts)) == Grid(**wanted)


def test_a_link_of_too_many_methods_is_cut():
    many = {f"m{n}": "saliency" for n in range(50)}
    grid = Grid.from_query(urlencode({**many, "targets": "1,2,3", "l0": "a", "l1": "b"}))
    assert grid.counts == (MOST_CELLS, 1, 1)
    assert grid.targets == (1,)


@pytest.mark.parametrize(
    "query", ["&" * 100_000, "m0=rise&m0.samples=" + "9" * 20_000, "\x00=\ud800", "pair=" + "9" * 999]
)
def test_nonsense_is_no_error(query):
    assert isinstance(Grid.from_query(query), Grid)
