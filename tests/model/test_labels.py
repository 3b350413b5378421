"""Class names and the many ways of asking for one."""

from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.errors import InvalidTarget
from xaiwidgets.model.labels import Labels, imagenet_labels, numbered_labels


@pytest.fixture(scope="module")
def labels():
    return imagenet_labels()


def test_the_table_is_timms(labels):
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    assert labels.wnids == tuple(info.label_names())
    assert labels.names == tuple(info.label_descriptions())


def test_short_and_full_names(labels):
    assert len(labels) == 1000
    assert imagenet_labels() is labels
    assert [labels.short(i) for i in (967, 282, 285, 281)] == ["espresso", "tiger cat", "Egyptian cat", "tabby"]
    assert labels.full(281) == "tabby, tabby cat"
    assert labels.short(np.int64(967)) == "espresso"


def test_short_names_differ(labels):
    shorts = [labels.short(i) for i in range(1000)]
    assert len({short.casefold() for short in shorts}) == 1000
    assert [shorts[i] for i in (134, 517)] == ["crane (bird)", "crane (machine)"]
    assert [shorts[i] for i in (638, 639)] == ["maillot (tights)", "maillot (tank suit)"]
    plain = Labels(("other", "cat", "other"))
    assert [plain.short(i) for i in range(3)] == ["other (0)", "cat", "other (2)"]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (967, 967),
        (np.int64(3), 3),
        (np.uint8(3), 3),
        ("espresso", 967),
        ("  ESPRESSO ", 967),
        ("tiger_cat", 282),
        ("tabby cat", 281),
        ("tabby, tabby cat", 281),
        ("n02124075", 285),
        ("N02124075", 285),
        ("crane (bird)", 134),
        ("maillot, tank suit", 639),
        ("tank suit", 639),
        ("missile", 657),  # the usual name of one class, a synonym of another
        ("281", 281),
    ],
)
def test_what_finds_a_class(labels, query, index):
    assert labels.index(query) == index


def test_every_class_is_found_by_its_index_id_names_and_short_name(labels):
    for i in range(1000):
        assert labels.index(i) == labels.index(labels.wnids[i]) == labels.index(labels.short(i)) == i
        if ", " in labels.full(i):
            assert labels.index(labels.full(i)) == i


def test_a_tensor_of_one_number_is_an_index(labels):
    import torch

    assert labels.index(torch.tensor(5)) == 5


@pytest.mark.parametrize("query", [-1, 1000, True, 3.0, None, "1000", "-1", [1], "x" * 500, "", np.bool_(True)])
def test_what_finds_none(labels, query):
    with pytest.raises(InvalidTarget, match="from 0 to 999, a WordNet id or the name of one of the model's 1000"):
        labels.index(query)


def test_a_misspelled_name_is_answered_with_close_ones(labels):
    with pytest.raises(InvalidTarget, match=r"got 'expresso'. Did you mean espresso \(967\), espresso maker \(550\)"):
        labels.index("expresso")
    with pytest.raises(InvalidTarget, match=r"got 'qqqq'. Names look like 'tench'"):
        labels.index("qqqq")


@pytest.mark.parametrize(
    ("query", "both"),
    [
        ("crane", "134 crane (bird) n02012849; 517 crane (machine) n03126707"),
        ("Maillot", "638 maillot (tights) n03710637; 639 maillot (tank suit) n03710721"),
        ("panther", "286 cougar n02125311; 290 jaguar n02128925"),
    ],
)
def test_an_ambiguous_name_lists_what_it_may_mean(labels, query, both):
    with pytest.raises(InvalidTarget) as raised:
        labels.index(query)
    assert both in str(raised.value)
    assert "Give the index or the WordNet id" in str(raised.value)


def test_many_classes_of_one_name_are_listed_shortly():
    with pytest.raises(InvalidTarget, match=r"names 50: 0 same \(0\); .* and 42 more. Give the index\."):
        Labels(("same",) * 50).index("same")


def test_names_may_be_numbers():
    digits = Labels(tuple("0123456789"[::-1]))
    assert digits.index("3") == 6
    assert digits.index(3) == 3
    assert digits.search("3") == (6,)


def test_search_ranks_what_was_typed(labels):
    def found(text, limit=20):
        return [labels.short(i) for i in labels.search(text, limit)]

    assert found("espresso")[:2] == ["espresso", "espresso maker"]
    assert found("espr") == ["espresso", "espresso maker"]
    assert set(found("crane")[:2]) == {"crane (bird)", "crane (machine)"}
    assert found("retreiver")[0].endswith("retriever")
    assert found("labardor") == ["Labrador retriever"]
    assert found("n02124075") == ["Egyptian cat"]
    assert found("281") == ["tabby"]
    assert found("Golden  Retriever")[0] == "golden retriever"
    assert len(found("a", 7)) == 7
    assert found("") == found("   ") == found("espresso", 0) == found("281", 0) == []
    assert len(set(labels.search("dog", 1000))) == len(labels.search("dog", 1000))


def test_numbered_labels():
    labels = numbered_labels(3)
    assert labels == Labels(("class 0", "class 1", "class 2"))
    assert hash(labels) == hash(numbered_labels(3))
    assert labels.index("class 1") == 1
    with pytest.raises(InvalidTarget, match="a class index from 0 to 2 or the name of one of the model's 3 classes"):
        labels.index("n02124075")


@pytest.mark.parametrize(
    ("names", "wnids", "message"),
    [
        ((), (), "names must have at least one class"),
        ("cat", (), "names must be a sequence of strings"),
        (("cat", ""), (), "names must be a sequence of strings, none of them empty"),
        ((1, 2), (), "names must be a sequence of strings"),
        (("cat", "dog"), ("n1",), "wnids must be empty or have one id a class; got 1 for 2 names"),
    ],
)
def test_bad_tables_are_refused(names, wnids, message):
    with pytest.raises(InvalidTarget, match=message):
        Labels(names, wnids)


def test_a_list_of_names_becomes_immutable():
    assert Labels(["cat ", "dog"]).names == ("cat", "dog")
