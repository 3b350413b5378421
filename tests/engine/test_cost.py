"""What a method is said to cost, and the settings that fit a budget."""

from __future__ import annotations

import dataclasses

import nets
import pytest
import torch

import xaiwidgets as xw
from xaiwidgets.core.cards import card, cards
from xaiwidgets.engine.cost import RULED, SORTS, Pace, Pass, known_pace, observe, pace, pace_steps, passes, predict
from xaiwidgets.errors import InvalidKnob, UnknownMethod

MIB = 2**20
#: Passes with round numbers, in seconds.
ROUND = Pace(
    forward=Pass(0.01, MIB),
    forwards=Pass(0.005, MIB, 8),
    gradient=Pass(0.03, 4 * MIB),
    gradients=Pass(0.02, 4 * MIB, 4),
    exact=Pass(0.04, 6 * MIB),
    ruled=(("backprop", Pass(0.05, 5 * MIB)), ("relevance", Pass(0.1, 7 * MIB))),
    smoothed=(Pass(0.11, 2 * MIB), Pass(0.16, 9 * MIB)),
)
PARTS = {
    **dict(zip(SORTS, (*(getattr(ROUND, name) for name in SORTS[:5]), *ROUND.smoothed), strict=False)),
    **dict(ROUND.ruled),
}


@pytest.fixture
def model():
    return xw.Model(nets.f3(), size=224)


def know(model):
    """Have a network take the times of ``ROUND``."""
    model.remember(("pace",), dict).update(PARTS)


def price(model, name, **knobs):
    return predict(model, card(name).make(**knobs), ROUND)


def test_passes_times_the_time_of_a_pass(model):
    rise = price(model, "rise", samples=400)
    assert (rise.forward, rise.backward) == (401, 0)
    assert rise.seconds == pytest.approx(401 * 0.005)
    assert rise.memory == 8 * MIB
    smooth = price(model, "smoothgrad", samples=16)
    assert smooth.seconds == pytest.approx(16 * 0.02 + 0.01)
    assert smooth.memory == 16 * MIB
    assert price(model, "saliency").seconds == pytest.approx(0.04)  # the network as it was built


def test_rules_are_priced_by_their_family_also_inside_a_wrapper(model):
    assert price(model, "lrp").seconds == pytest.approx(0.1)
    assert price(model, "guided_backprop").seconds == pytest.approx(0.05)
    assert price(model, "smoothgrad", samples=16, base="lrp").seconds == pytest.approx(16 * 0.1 + 0.01)


def test_a_method_with_heavier_passes_says_so(model):
    assert price(model, "blur_ig", points=32).seconds == pytest.approx(
        1.3 * price(model, "integrated_gradients", points=32).seconds
    )


@pytest.mark.parametrize(("scales", "largest"), [(1, 2.0), (2, 2.0), (4, 2.0), (4, 1.0), (6, 3.0)])
def test_pictures_of_several_sizes_are_priced_by_their_pixels_one_at_a_time(scales, largest, model):
    from xaiwidgets.explainers.cam.cameras import PASS, PIXELS

    method = xw.Cameras(scales=scales, largest=largest)
    sizes = method.sizes((224, 224), model.layer(""))
    pixels = sum(height * width for height, width in sizes) / 224**2
    wanted = scales * PASS + (pixels - scales) * PIXELS
    found = predict(model, method, ROUND)
    assert found.seconds == pytest.approx(wanted * 0.03), "of single passes, whatever batches would cost"
    assert found.memory >= 4 * MIB
    assert (found.forward, found.backward) == (scales, scales)
    if scales == 2:
        assert pixels == pytest.approx(5, rel=0.1), "the photo, and one of four times its pixels"


def test_a_softplus_is_priced_by_what_it_adds_to_each_pass(model):
    added, returned = 0.11 - 0.01, 0.16 - 0.04 - (0.11 - 0.01)
    scores = 0.01 + 0.11  # before and after
    assert price(model, "softplus_smoothing").seconds == pytest.approx(0.04 + added + returned + scores)
    cam, alone = price(model, "softplus_smoothing", base="grad_cam"), price(model, "grad_cam")
    assert cam.seconds == pytest.approx(alone.seconds + added + returned + scores)
    alone = price(model, "occlusion")
    many = price(model, "softplus_smoothing", base="occlusion")
    assert many.forward == alone.forward + 2
    assert many.seconds == pytest.approx(alone.seconds + alone.forward * added + scores)
    assert many.memory == 2 * alone.memory
    assert price(model, "softplus_smoothing", variant="gradient_only").seconds == pytest.approx(1.2 * 0.04)


def test_networks_without_rectifiers_have_no_smoothed_passes():
    smooth = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.SiLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 3),
    )
    assert pace(xw.Model(smooth, size=24)).smoothed is None


def test_the_smoothed_passes_of_a_network_are_probed_on_the_smoothed_network(model, monkeypatch):
    from xaiwidgets.surgery import smooth

    seen, made = [], smooth.SmoothMode.__enter__
    monkeypatch.setattr(smooth.SmoothMode, "__enter__", lambda mode: seen.append(torch.is_grad_enabled()) or made(mode))
    found = pace(model)
    assert found.smoothed is not None
    assert {False, True} <= set(seen), "forward alone, and for a gradient"
    assert found.smoothed[1].memory > found.smoothed[0].memory


def test_what_a_run_took_corrects_its_own_price_only(model):
    parts = model.remember(("pace",), dict)
    parts.update(PARTS)
    assert known_pace(model) == ROUND
    before = xw.cost(model, "smoothgrad").seconds
    observe(model, xw.Rise(samples=100), 4.04)  # 0.04 s a pass
    assert xw.cost(model, "rise", samples=200).seconds == pytest.approx(201 * 0.04)
    assert xw.cost(model, "smoothgrad").seconds == before
    observe(model, xw.Rise(samples=100), 0.505)
    assert xw.cost(model, "rise", samples=200).seconds == pytest.approx(201 * 0.005)


def test_a_probe_that_is_closed_goes_on_where_it_stopped(model):
    running = pace_steps(model)
    for _ in range(6):
        assert next(running) is None
    running.close()
    kept = dict(model.remember(("pace",), dict))
    assert set(kept) == {"forward"}
    found = pace(model)
    assert found.forward is kept["forward"]
    assert pace(model) == found
    assert {name for name, _ in found.ruled} == set(RULED)


def test_a_probe_spends_no_passes_and_leaves_no_mark(model):
    state = torch.get_rng_state()
    pace(model)
    assert torch.equal(state, torch.get_rng_state())
    result = xw.explain(model, "coffee", "saliency", target=0)
    assert result.provenance.passes == (1, 1)


def test_a_network_that_the_rules_refuse_has_no_price_for_them():
    smooth = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.SiLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 3),
    )
    found = pace(xw.Model(smooth, size=24))
    assert "backprop" not in dict(found.ruled)
    assert found.of_family("backprop") is None


@pytest.mark.parametrize("made", cards("explainer"), ids=lambda made: made.id)
def test_every_method_has_a_price_and_can_be_made_cheaper_or_is_cheap(model, made):
    size = model.input_shape[1:]
    method = made.make()
    forward, backward = passes(method, model, size)
    found = predict(model, method, ROUND)
    assert (found.forward, found.backward) == (forward, backward)
    assert found.seconds > 0
    assert found.memory > 0
    assert f"{forward:,} forward" in str(found)


@pytest.fixture
def priced(model):
    parts = model.remember(("pace",), dict)
    parts.update(PARTS)
    return model


def test_a_budget_lowers_counts_and_widens_strides(priced):
    rise = xw.within(priced, "rise", 1.0, samples=4000)
    assert 0.7 < xw.cost(priced, rise).seconds <= 1.0
    assert dataclasses.replace(rise, samples=4000) == xw.Rise(samples=4000)
    hidden = xw.within(priced, "occlusion", 0.2)
    assert xw.cost(priced, hidden).seconds <= 0.2
    assert hidden.stride_height > 16
    assert hidden.window_height == 32


def test_what_fits_stays_and_what_cannot_fit_is_the_least(priced):
    assert xw.within(priced, "rise", 1000.0, samples=300) == xw.Rise(samples=300)
    assert xw.within(priced, "saliency", 1e-6) == xw.Saliency()
    assert xw.within(priced, "rise", 1e-6).samples == 10


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "10", True, None])
def test_a_budget_must_be_a_positive_number(priced, seconds):
    with pytest.raises(InvalidKnob, match=r"^seconds must be a positive number"):
        xw.within(priced, "rise", seconds)


def test_unknown_names_are_named(model):
    with pytest.raises(UnknownMethod, match=r"^method must be one of"):
        xw.cost(model, "raise")
    with pytest.raises(InvalidKnob, match="rise has no hyper-parameter 'masks'"):
        xw.cost(model, "rise", masks=3)
