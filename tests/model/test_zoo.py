"""Networks by name: the bundled ones work offline, the others say what is missing."""

from __future__ import annotations

import socket
from urllib.error import URLError

import numpy as np
import pytest
import torch

from xaiwidgets.errors import WeightsUnavailable
from xaiwidgets.model import zoo
from xaiwidgets.model.zoo import BUNDLED, UnknownModel, load_model


@pytest.fixture
def offline(monkeypatch):
    """No way out: whoever connects finds out at once."""

    def refuse(*_args, **_kwargs):
        raise URLError("no network in this test")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_networks_load_offline(name, offline):
    model = load_model(name)
    assert model.name == name
    assert not model.module.training
    assert model.classes == len(model.labels) == {"efficientnet_lite0": 1000, "shapes_gap": 4}.get(name, 10)
    assert {"gradient", "relu", "spatial"} <= model.offers
    random = load_model(name, weights="none")
    assert random.name == f"{name} (random weights)"
    mine, theirs = model.module.state_dict(), random.module.state_dict()
    assert mine.keys() == theirs.keys()
    assert any(not torch.equal(mine[key], theirs[key]) for key in mine)


def test_the_bundled_network_knows_its_photos():
    model = load_model()
    for photo, index in (("coffee", 967), ("camera", 872)):
        assert int(model.logits(model.input(photo)).argmax()) == index


def test_the_digit_networks_know_digits():
    from sklearn.datasets import load_digits

    digit = load_digits().images[0].astype(np.float32) / 16  # a zero
    canvas = np.zeros((48, 48, 1), np.float32)
    canvas[12:36, 12:36, 0] = np.kron(digit, np.ones((3, 3)))
    for name in ("digits_gap", "digits_vgg"):
        model = load_model(name)
        assert int(model.logits(model.from_pixels(canvas)).argmax()) == 0


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:resnet18"])
def test_other_libraries_without_weights(name, offline):
    state = torch.get_rng_state()
    one, other = load_model(name, weights="none"), load_model(name, weights="none")
    assert torch.equal(torch.get_rng_state(), state)
    assert one.name == f"{name} (random weights)"
    assert one.input_shape == (3, 224, 224)
    assert one.labels.short(967) == "espresso"
    assert torch.equal(one.module.conv1.weight, other.module.conv1.weight)
    assert [s.name for s in one.stages][-1] == "layer4.1"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("efficientnet", r"name must be one of efficientnet_lite0, .*Did you mean efficientnet_lite0"),
        ("torchvision:resnet81", r"torchvision has no classifier 'resnet81'. Did you mean .*resnet18"),
        ("timm:resnet81", r"timm has no network 'resnet81'. Did you mean .*resnet18"),
        ("timm:resnet18.a1_in2k", r"timm has no network 'resnet18.a1_in2k'. Did you mean .*resnet18.a1_in1k"),
        ("keras:resnet18", r"torchvision:NAME or timm:NAME; got 'keras:resnet18'"),
        ("torchvision:", "got 'torchvision:'"),
        ("", "got ''"),
        (None, "name must be a string; got NoneType"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(UnknownModel, match=message):
        load_model(name, weights="none")


def test_unknown_weights():
    with pytest.raises(UnknownModel, match=r"weights must be 'default' or 'none'; got 'imagenet'"):
        load_model(weights="imagenet")


def test_a_download_that_fails_says_what_why_and_what_works(monkeypatch):
    import torchvision

    def download(*_args, **_kwargs):
        raise URLError("name or service not known")

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", download)
    with pytest.raises(WeightsUnavailable) as caught:
        load_model("torchvision:squeezenet1_1")
    said = str(caught.value)
    assert "torchvision:squeezenet1_1" in said
    assert "URLError" in said
    assert "name or service not known" in said
    for name in (*BUNDLED, "weights='none'", "Model(module"):
        assert name in said
    assert isinstance(caught.value.__cause__, URLError)


def test_a_timm_download_that_fails_says_so_too(monkeypatch):
    import timm

    def download(*_args, **_kwargs):
        raise URLError("unreachable")

    monkeypatch.setattr(timm, "create_model", download)
    state = torch.get_rng_state()
    with pytest.raises(
        WeightsUnavailable, match=r"weights of timm:resnet18 could not be downloaded \(URLError: .*unreach"
    ):
        load_model("timm:resnet18")
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("content", [b"", b"not weights", None], ids=["empty", "text", "missing"])
def test_broken_files_say_which_package_to_install_again(content, tmp_path):
    path = tmp_path / "weights.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        WeightsUnavailable, match=r"weights of digits_gap could not be read from the package xaiwidgets \("
    ):
        zoo._read(path, "digits_gap", "xaiwidgets")
