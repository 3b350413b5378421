"""The matrix of methods and networks: it can fail, its page is complete, and what it says still holds."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import checks
import networks
import pytest

from xaiwidgets.core.cards import cards

FOLDER = Path(__file__).parent / "matrix"
CARDS = cards("explainer")
#: A functional head, concatenations and max-pooling; ReLU6, depth-wise convolutions and residual additions.
SAMPLES = ("torchvision:squeezenet1_1", "timm:tf_efficientnet_lite0", "torchvision:resnet18")


def load():
    spec = importlib.util.spec_from_file_location("matrix_main", FOLDER / "__main__.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


MAIN = load()


@pytest.fixture(scope="module", params=SAMPLES)
def case(request):
    return MAIN.case(request.param)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
def test_is_right_or_says_what_it_is(card, case):
    found = checks.verdict(card, case)
    assert found.kind in {"right", "caveat", "refused"}, found
    assert found.kind == "right" or found.note
    page = MAIN.PAGE.read_text("utf-8")
    assert MAIN.MARKS[found.kind] == cell(page, case.model.name, card.id), "run python tests/matrix --write"


def cell(page, network, method):
    """Return what the page says of a method on a network."""
    lines = [line.split("|") for line in page.splitlines() if line.startswith("| ")]
    heads = [head.strip(" `") for head in lines[0]]
    row = next(line for line in lines if line[1].strip() == network)
    return row[heads.index(method)].strip()


def test_the_page_has_no_silent_row_and_nothing_wrong():
    page = MAIN.PAGE.read_text("utf-8")
    assert "WRONG" not in page
    for name in networks.NAMES:
        for card in CARDS:
            assert cell(page, name, card.id) in MAIN.MARKS.values()
    for card in CARDS:
        assert re.search(rf"^- `{card.id}`: \w", page, re.M)
    assert len(networks.TORCHVISION) >= 18
    assert len(networks.TIMM) >= 10


def test_a_page_reads_back_as_it_was_written():
    page = MAIN.PAGE.read_text("utf-8")
    assert "\n".join(MAIN.page(MAIN.read(page), networks.NAMES, CARDS)) + "\n" == page


@pytest.mark.parametrize("method", ["saliency", "lrp", "deeplift_rescale", "fullgrad", "guided_backprop"])
def test_a_wrong_result_is_called_wrong(method, monkeypatch):
    case = MAIN.case("torchvision:squeezenet1_1")
    card = next(made for made in CARDS if made.id == method)
    assert checks.verdict(card, case).kind == "right"
    plain = checks.Case.run

    def off(self, what, model=None):
        found = plain(self, what, model)
        if model is not None:
            return found
        gap = found.gap if found.gap is None else found.gap + 0.01 * abs(found.score)
        return found.replace(values=found.values * 1.001, gap=gap)

    monkeypatch.setattr(checks.Case, "run", off)
    assert checks.verdict(card, case).kind == "wrong"
