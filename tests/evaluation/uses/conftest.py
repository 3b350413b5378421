"""Networks that learn from tagged shapes, trained once for the tests that take minutes."""

from __future__ import annotations

import numpy as np
import pytest

from xaiwidgets.data.shapes import SIDE, TAG, shapes
from xaiwidgets.learned.recipes import train

#: Where the tag is: top, left, bottom, right.
TAG_BOX = (SIDE - TAG[0] - 1, 1, SIDE - 1, TAG[1] + 1)


def tagged_net(tags, epochs):
    """Return a network trained on shapes with these tags."""
    data = shapes("train", tags=tags)
    return train("shapes", images=data.images, labels=data.labels, epochs=epochs, name=f"{tags} tags")


@pytest.fixture(scope="session")
def hans():
    """A network that has learned the tag along with the disk."""
    return tagged_net("correlated", 15)


@pytest.fixture(scope="session")
def honest():
    """A network for which the tag meant nothing."""
    return tagged_net("random", 12)


@pytest.fixture(scope="session")
def tagged_disks():
    """Disks with the tag."""
    found = shapes("test", 400, tags="correlated")
    return [found.scene(k) for k in np.flatnonzero(found.tagged & (found.labels == 0))][:60]
