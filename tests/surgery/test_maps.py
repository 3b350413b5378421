"""Maps by their number: what is counted, what is handed out, and what takes another's place."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from xaiwidgets.surgery.ending import BeforeSoftmax
from xaiwidgets.surgery.maps import MapWatch

WEIGHT = torch.ones(2, 1, 1, 1)


def net(x):
    y = functional.relu(functional.conv2d(x, WEIGHT), inplace=True)
    y = y * 2
    y.add_(1)  # what it returns is dropped
    return y.mean(dim=(2, 3))


def shapes(run, x):
    seen = []
    with MapWatch(lambda number, output, over: seen.append((number, tuple(output.shape), over))) as watch:
        run(x)
    assert watch.count == len(seen)
    return seen


def test_counts_maps_in_order_and_says_which_are_written_in_place():
    found = shapes(net, torch.ones(1, 1, 3, 4))
    assert found == [(n, (1, 2, 3, 4), over) for n, over in enumerate((False, True, False, True))]
    assert shapes(lambda x: x.mean((2, 3)) + x[0].sum(), torch.ones(1, 1, 3, 4)) == []
    assert shapes(lambda x: (x.shape, x.data_ptr(), x.long()), torch.ones(1, 1, 3, 4)) == []


def test_puts_another_map_in_place_also_of_one_whose_return_is_dropped():
    other = torch.full((1, 2, 3, 4), 7.0)
    for number, wanted in ((0, 15.0), (1, 15.0), (2, 8.0), (3, 7.0)):
        x = torch.ones(1, 1, 3, 4)
        with MapWatch(lambda at, _map, _over, number=number: other.clone() if at == number else None):
            found = net(x)
        assert found.unique().tolist() == [wanted]


def test_sees_operations_before_a_mode_that_was_entered_earlier_replaces_them():
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Softmax(dim=1))
    x = torch.randn(1, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    kept = []
    with BeforeSoftmax(), MapWatch(lambda _number, output, _over: kept.append(output)):
        module(x)
    assert len(kept) == 2
    torch.testing.assert_close(kept[1], kept[0])
