"""Networks that can be trained here, in seconds to minutes: their data, and how they learn from it."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.errors import InvalidImage, InvalidKnob, NotApplicable, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from xaiwidgets.learned.robust import Adversary
    from xaiwidgets.model.model import Model

    #: Pictures ``(N, H, W, C)`` in [0, 1] and labels ``(N,)``.
    Labelled = tuple[NDArray[np.float32], NDArray[np.int64]]


#: Accuracies that are so near to the wanted one are measured anew.
NEAR = 0.02
#: Seconds after which a training asks whether it is still wanted.
PAUSE = 0.05


@dataclass(frozen=True, eq=False)
class Recipe:
    """A network and the data it learns from.

    Attributes:
        id: name. ``title``: for people.
        make: returns the untrained network.
        load: returns the pictures ``(N, H, W, C)`` in [0, 1] and labels ``(N,)`` of ``train`` or ``test``.
        labels: names of the classes.
        mean, std: of the normalization.
        epochs: passes over the training pictures. ``rate``: peak of Adam's one cycle. ``batch``: pictures a step.
        adversary: learn from pictures that an adversary has changed, for a robust network; see ``learned.robust``.
    """

    id: str
    title: str
    make: Callable[[], nn.Module]
    load: Callable[[str], Labelled]
    labels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    epochs: int = 12
    rate: float = 4e-3
    batch: int = 64
    adversary: Adversary | None = None

    def model(self, net: nn.Module, size: tuple[int, int], name: str = "") -> Model:
        """Return a trained network as a ``Model``."""
        from xaiwidgets.model.labels import Labels
        from xaiwidgets.model.model import Model

        return Model(
            net,
            labels=Labels(self.labels),
            mean=self.mean,
            std=self.std,
            size=size,
            crop=1.0,
            interpolation="bilinear",
            name=name or self.id,
        )


@dataclass(frozen=True)
class Training:
    """A network in training.

    Attributes:
        progress: share of the planned epochs, in (0, 1].
        epoch: passes done over the training pictures.
        losses, accuracies: mean loss, and accuracy on the pictures it is trained on, after each epoch.
        test_accuracy: on held-out pictures; NaN until the end.
        seconds: of computing so far.
        model: the network at the end, else ``None`` unless the networks of all epochs were asked for.
    """

    progress: float
    epoch: int
    losses: tuple[float, ...] = ()
    accuracies: tuple[float, ...] = ()
    test_accuracy: float = math.nan
    seconds: float = 0.0
    model: Model | None = field(default=None, repr=False)


def recipes() -> tuple[Recipe, ...]:
    """Return the bundled recipes: shapes on textures (20 s on one thread), digits as they are (10 s), robust shapes.

    The robust network learns from shapes that are changed by at most 4 of 255 levels so as to deceive it (80 s).
    """
    return _bundled()


@lru_cache(maxsize=1)
def _bundled() -> tuple[Recipe, ...]:
    from xaiwidgets.data.shapes import SHAPES
    from xaiwidgets.learned.robust import Adversary

    colors = (0.5,) * 3, (0.25,) * 3
    return (
        Recipe("shapes", "Shapes on textures", _net("shapes_gap"), _shapes, SHAPES, *colors),
        Recipe(
            "digits8",
            "Digits of 8 × 8 px",
            _net("digits8"),
            _digits8,
            tuple("0123456789"),
            (0.0,),
            (1.0,),
            epochs=30,
            rate=2e-3,
        ),
        Recipe(
            "shapes_robust",
            "Shapes on textures, against an adversary",
            _net("shapes_gap"),
            _shapes,
            SHAPES,
            *colors,
            adversary=Adversary(),
        ),
    )


def recipe(wanted: Any) -> Recipe:
    """Return a bundled recipe by its name, or a ``Recipe`` as it is.

    Raises:
        NotApplicable: it is something else: a pre-trained network comes without its training.
    """
    if isinstance(wanted, Recipe):
        return wanted
    known = [one.id for one in recipes()]
    for one in recipes():
        if one.id == wanted:
            return one
    hint = did_you_mean(wanted, known) if isinstance(wanted, str) else ""
    raise NotApplicable(
        "training",
        f"a Recipe or one of {', '.join(known)} (a trained network comes without its data)",
        f"got {wanted!r}{hint}",
    )


def _net(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from xaiwidgets.data.shape_nets import NETS

        return NETS[name]()

    return make


def _shapes(split: str) -> Labelled:
    from xaiwidgets.data.shapes import shapes

    found = shapes(split)  # type: ignore[arg-type]
    return found.images, found.labels


def _digits8(split: str) -> Labelled:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    found = load_digits()
    images = (found.images / 16).astype(np.float32)[..., None]
    parts = train_test_split(
        images, found.target.astype(np.int64), test_size=0.25, stratify=found.target, random_state=0
    )
    return (parts[0], parts[2]) if split == "train" else (parts[1], parts[3])


def permuted(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the labels in a random order: each class is as frequent as before, and no label means anything."""
    return np.random.default_rng([seed, 7]).permutation(labels)


def train_steps(
    wanted: Any,
    *,
    seed: int = 0,
    epochs: int | None = None,
    images: NDArray[np.float32] | None = None,
    labels: NDArray[np.int64] | None = None,
    until: float | None = None,
    models: bool = False,
    name: str = "",
) -> Generator[Training, None, None]:
    """Train a network from nothing, yielding after each epoch; the last item holds the ``Model``.

    The same seed gives the same network on one machine; no global random state is used. Closing it cancels the work.

    Args:
        wanted: a recipe or its name.
        seed: of the weights and of the order of pictures.
        epochs: at most so many; by default the recipe's.
        images: in place of those that the recipe loads for training, ``(N, H, W, C)`` in [0, 1].
        labels: the same, ``(N,)``.
        until: stop when this share of the training pictures is classified right (then the rate stays at half its peak,
            for nobody knows how many epochs there will be).
        models: hold a copy of the network after each epoch, too.
        name: of the ``Model``.

    Raises:
        InvalidImage: pictures and labels do not fit together.
        InvalidKnob: a number of epochs below 1, or a share outside (0, 1].
    """
    options: dict[str, Any] = {
        "seed": seed,
        "epochs": epochs,
        "images": images,
        "labels": labels,
        "until": until,
        "models": models,
        "name": name,
    }
    for state in train_pieces(wanted, **options):
        if state is not None:
            yield state


def train_pieces(
    wanted: Any,
    *,
    seed: int = 0,
    epochs: int | None = None,
    images: NDArray[np.float32] | None = None,
    labels: NDArray[np.int64] | None = None,
    until: float | None = None,
    models: bool = False,
    name: str = "",
) -> Generator[Training | None, None, None]:
    """Do what ``train_steps`` does, with ``None`` several times a second, so that it can be closed within an epoch."""
    made = recipe(wanted)
    own_images, own_labels = made.load("train")
    pictures = own_images if images is None else images
    answers = own_labels if labels is None else labels
    if len(pictures) != len(answers) or len(pictures) < 2:
        raise InvalidImage(f"images and labels must be as many, at least two; got {len(pictures)} and {len(answers)}.")
    most = made.epochs if epochs is None else epochs
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise InvalidKnob(f"epochs must be a whole number of at least 1; got {most!r}.")
    if until is not None and not 0 < until <= 1:
        raise InvalidKnob(f"until must be a share in (0, 1]; got {until!r}.")
    run = _Run(made, pictures, answers, seed, most, steady=until is not None)
    size = int(pictures.shape[1]), int(pictures.shape[2])
    while True:
        state = yield from run.epoch(until)
        if state.epoch == most or (until is not None and state.accuracies[-1] >= until):
            break
        yield replace(state, model=made.model(copy.deepcopy(run.net).eval(), size, name)) if models else state
    held_out, truth = made.load("test")
    tested = run.accuracy(_tensor(held_out, made), truth)
    yield replace(state, progress=1.0, test_accuracy=tested, model=made.model(run.net.eval(), size, name))


def untrained(wanted: Any, *, seed: int = 0, name: str = "") -> Model:
    """Return the network that ``train_steps`` of this seed begins with."""
    made = recipe(wanted)
    images, _ = made.load("test")
    return made.model(_fresh(made, seed).eval(), (int(images.shape[1]), int(images.shape[2])), name)


def _fresh(made: Recipe, seed: int) -> nn.Module:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return made.make()


class _Run:
    """A network that learns, an epoch at a time."""

    def __init__(
        self,
        made: Recipe,
        images: NDArray[np.float32],
        labels: NDArray[np.int64],
        seed: int,
        most: int,
        *,
        steady: bool,
    ) -> None:
        import torch

        self.net = _fresh(made, seed)
        self.inputs, self.wished = _tensor(images, made), torch.from_numpy(np.array(labels, np.int64))
        self.made, self.most = made, most
        self.order = torch.Generator().manual_seed(seed)
        self.starts = torch.Generator().manual_seed(seed + 1)  # its own: the order is that of the ordinary training
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=made.rate / 2 if steady else made.rate)
        steps = -(-len(self.inputs) // made.batch) * most
        cycle = torch.optim.lr_scheduler.OneCycleLR
        self.schedule = None if steady else cycle(self.optimizer, made.rate, total_steps=steps)
        self.losses: tuple[float, ...] = ()
        self.accuracies: tuple[float, ...] = ()
        self.seconds = 0.0

    def epoch(self, until: float | None) -> Generator[None, None, Training]:
        """Go through all pictures once, and return how far that has come."""
        import torch

        start, count = time.perf_counter(), len(self.inputs)
        total, right, paused = 0.0, 0, start
        self.net.train()
        for part in torch.split(torch.randperm(count, generator=self.order), self.made.batch):
            loss, hits = self.step(part)
            total, right = total + loss * len(part), right + hits
            if time.perf_counter() - paused > PAUSE:
                self.seconds += time.perf_counter() - start
                yield None
                start = paused = time.perf_counter()
        reached = right / count
        if until is not None and reached >= until - NEAR:
            reached = self.accuracy(self.inputs, self.wished.numpy())  # it has moved on since it saw the first of them
        self.losses, self.accuracies = (*self.losses, total / count), (*self.accuracies, reached)
        self.seconds += time.perf_counter() - start
        done = len(self.losses)
        return Training(done / self.most, done, self.losses, self.accuracies, seconds=self.seconds)

    def step(self, part: Tensor) -> tuple[float, int]:
        """Learn from some pictures, by their numbers; return their mean loss and how many were classified right."""
        import torch
        from torch import nn

        inputs, adversary = self.inputs[part], self.made.adversary
        if adversary is not None:
            inputs = adversary.changed(self.net, inputs, self.wished[part], self.made, self.starts)
        with torch.enable_grad():
            outputs = self.net(inputs)
            loss = nn.functional.cross_entropy(outputs, self.wished[part])
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        return float(loss.detach()), int((outputs.argmax(1) == self.wished[part]).sum())

    def accuracy(self, inputs: Tensor, labels: NDArray[np.int64]) -> float:
        """Return the share of inputs that the network classifies right."""
        import torch

        self.net.eval()
        with torch.no_grad():
            guesses = torch.cat([self.net(part).argmax(1) for part in torch.split(inputs, 256)])
        return float(np.mean(guesses.numpy() == labels))


def train(wanted: Any, **options: Any) -> Model:
    """Return a network trained from nothing as a ``Model``; see ``train_steps``, whose options these are."""
    found = None
    for found in train_steps(wanted, **options):  # noqa: B007 - the last
        pass
    if found is None or found.model is None:
        raise RuntimeError("a finished training must hold its model")
    return found.model


def _tensor(pictures: NDArray[np.float32], made: Recipe) -> Tensor:
    import torch

    values = (pictures - np.array(made.mean, np.float32)) / np.array(made.std, np.float32)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2), np.float32))
