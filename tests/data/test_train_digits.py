"""Training: the shipped weights can be made again, and the parts do what they say."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
import torch

from xaiwidgets import data
from xaiwidgets.data import train_digits
from xaiwidgets.data.digits import digits

FOLDER = Path(data.__file__).parent
#: What the shipped weights were trained with: torch's release and the instructions that it computes with.
TRAINED_WITH = ("2.15.0", "x86_64", "AVX512")


@pytest.fixture
def one_deterministic_thread():
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.mark.lab
def test_training_again_gives_the_shipped_weights(one_deterministic_thread):
    net = train_digits.train("digits_gap")
    assert train_digits.accuracy(net) >= 0.95
    shipped = torch.load(FOLDER / "digits_gap.pt", weights_only=True)
    assert list(net.state_dict()) == list(shipped)
    here = (torch.__version__.split("+")[0], platform.machine(), torch.backends.cpu.get_cpu_capability())
    if here == TRAINED_WITH:
        for name, value in net.state_dict().items():
            assert torch.equal(value, shipped[name]), name


def test_a_short_training_is_the_same_twice_and_learns(one_deterministic_thread, monkeypatch):
    monkeypatch.setitem(train_digits.EPOCHS, "digits_gap", 1)
    monkeypatch.setattr(train_digits, "digits", lambda kind, split, seed: digits(kind, split, 320, seed))
    one, two = (train_digits.train("digits_gap").state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    other = train_digits.train("digits_gap", seed=1).state_dict()
    assert not torch.equal(one["classifier.weight"], other["classifier.weight"])


def test_the_script_writes_both_files_and_tells_their_accuracy(monkeypatch, tmp_path, capsys, one_deterministic_thread):
    def barely(name, seed=0):
        torch.manual_seed(seed)
        return train_digits.NETS[name]().eval()

    monkeypatch.setattr(train_digits, "train", barely)
    train_digits.main(["--out", str(tmp_path / "new")])
    lines = capsys.readouterr().out.splitlines()
    for name, line in zip(("digits_gap", "digits_vgg"), lines, strict=True):
        assert line.startswith(f"{name}: held-out accuracy 0.")
        net = train_digits.NETS[name]()
        net.load_state_dict(torch.load(tmp_path / "new" / f"{name}.pt", weights_only=True))
        assert f"{train_digits.accuracy(net.eval()):.4f}" in line


def test_only_training_digits_are_used(monkeypatch, one_deterministic_thread):
    asked = []

    def spy(kind, split, seed):
        asked.append((kind, split, seed))
        return digits(kind, split, 64, seed)

    monkeypatch.setattr(train_digits, "digits", spy)
    train_digits.train("digits_vgg")
    assert {(kind, split) for kind, split, _ in asked} == {("single", "train")}
    assert len({seed for _, _, seed in asked}) == train_digits.EPOCHS["digits_vgg"]


def test_normalize_and_warp_keep_the_shape():
    images = torch.tensor(digits("single", "train", 8).images)
    normal = train_digits.normalize(images)
    assert torch.allclose(normal[:, 0] * 0.3 + 0.25, images, rtol=0, atol=1e-6)
    torch.manual_seed(0)
    warped = train_digits.warp(normal)
    assert warped.shape == normal.shape == (8, 1, 48, 48)
    assert not torch.equal(warped, normal)
    assert np.isclose(warped.mean(), normal.mean(), atol=0.15)
    constant = torch.full((2, 1, 48, 48), 0.7)
    assert torch.allclose(train_digits.warp(constant), constant)
