"""A head of global average pooling for a network that has none, so that its class activation maps can be seen."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Range
from xaiwidgets.errors import NotApplicable
from xaiwidgets.learned.labelled import Examples, bundled, examples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from xaiwidgets.model.layers import Layer
    from xaiwidgets.model.model import Model

#: What is added to the name of a converted network.
SUFFIX = " with a pooling head"
#: Channels of the new convolution in the paper, beside the 512 of VGG; smaller trunks get twice their own number.
MOST_CHANNELS = 1024
#: Pictures a step of the training, and the rate it reaches.
BATCH, RATE = 32, 3e-3
#: Share of the pictures that is held out.
HELD_OUT = 0.2
#: Numbers of the trunk's maps that are kept in memory; of more, they are computed anew in each step.
KEPT = 2**27


@dataclass(frozen=True)
class HeadFit:
    """A head in training.

    Attributes:
        progress: share of the work done, in (0, 1].
        losses: of the steps so far.
        before: accuracy of the network as it is, on the held-out pictures; NaN until it is measured.
        after: that of the network with the new head; NaN until the end.
        trained: how many pictures it is trained on. ``held_out``: how many are not.
        own: right answers are those of the network itself, so that ``after`` says how often both agree.
        model: the network with the new head, at the end.
    """

    progress: float
    losses: NDArray[np.float32]
    before: float = math.nan
    after: float = math.nan
    trained: int = 0
    held_out: int = 0
    own: bool = False
    model: Model | None = None

    @property
    def change(self) -> float:
        """Accuracy after less accuracy before."""
        return self.after - self.before

    def sentence(self) -> str:
        """Return in words what the new head does to the network's answers."""
        made = f"A new head was trained on {self.trained:,} pictures"
        if self.own:
            return (
                f"{made}: on {self.held_out:,} others it gives the network's own answer {self.after:.1%} of the time."
            )
        change = f"{'+' if self.change >= 0 else '−'}{abs(100 * self.change):.1f} points"
        return (
            f"{made}: on {self.held_out:,} others its accuracy is {self.after:.1%}, {change} against the network as it "
            f"was ({self.before:.1%})."
        )


def with_pooling_head(model: Model, images: Any = None, **options: Any) -> Model:
    """Return a Model of the same trunk with a head of global average pooling, trained on pictures.

    See ``with_pooling_head_steps``, whose options these are.
    """
    fit = None
    for fit in with_pooling_head_steps(model, images, **options):  # noqa: B007 - the last
        pass
    if fit is None or fit.model is None:
        raise RuntimeError("a finished fit must hold its model")
    return fit.model


def with_pooling_head_steps(
    model: Model,
    images: Any = None,
    *,
    held_out: Any = None,
    layer: str = "",
    channels: int = 0,
    steps: int = 400,
    rate: float = RATE,
    seed: int = 0,
) -> Iterator[HeadFit]:
    """Train a new head, yielding after each batch; the last item holds the Model and its accuracy before and after.

    The network is cut off at a layer; a 3×3 convolution, a ReLU, the mean over all places and a linear layer take the
    place of the rest, and only they are trained (Zhou et al. 2016, section 3). The user's module is not changed: the
    new Model shares the weights of its trunk. Closing the generator cancels the work.

    Args:
        model: any with a layer that gives a spatial map.
        images: pairs (picture, label), a data set or loader of such pairs; a picture is anything that ``read_picture``
            takes, or a tensor ``(C, H, W)`` that is an input already, a label an index or a name. Pictures without
            labels (a folder, a list, the name of a reference set) are labelled by the network itself. ``None``: the
            bundled digits, for networks that take them.
        held_out: the same, for measuring the accuracy; by default a fifth of the pictures.
        layer: where the trunk ends; by default the last stage that is no pooling.
        channels: of the convolution; 0 is twice the trunk's, at most 1,024.
        steps: of the training, 32 pictures each.
        rate: the learning rate that it reaches.
        seed: of the order and the start.

    Raises:
        NotApplicable: no layer gives a spatial map.
        InvalidKnob, InvalidLayer, InvalidImage, InvalidTarget: an argument, which the message names.
    """
    Range(0, 65_536).check("channels", channels)
    Range(1, 1_000_000).check("steps", steps)
    Range(1e-8, 1.0).check("rate", rate)
    Range(0, 2**31 - 1).check("seed", seed)
    end = _trunk_end(model, layer)
    train, test = _split(model, images, held_out, seed)
    yield from _Conversion(model, end, train, test, channels, steps, float(rate), seed).run()


def convertible(model: Model) -> bool:
    """Return whether a network has no such head, and data of its own to train one on."""
    from xaiwidgets.learned.labelled import takes_digits

    return "gap_head" not in model.offers and "spatial" in model.offers and takes_digits(model)


def _trunk_end(model: Model, layer: str) -> Layer:
    if not layer and "spatial" not in model.offers:
        works = "a layer that gives a spatial map"
        raise NotApplicable("with_pooling_head", works, f"no layer of {model.name} does")
    if layer:
        return model.layer(layer, spatial=True)
    return next((stage for stage in reversed(model.stages) if "Pool" not in stage.kind), model.stages[-1])


def _split(model: Model, images: Any, held_out: Any, seed: int) -> tuple[Examples, Examples]:
    if images is None:
        return bundled(model, "train"), bundled(model, "test") if held_out is None else examples(model, held_out)
    found = examples(model, images)
    if held_out is not None:
        return found, examples(model, held_out)
    order = np.random.default_rng(seed).permutation(found.count).tolist()
    few = max(1, round(HELD_OUT * found.count))
    return found.part(order[few:]), found.part(order[:few])


class _Conversion:
    """One run of the training."""

    def __init__(
        self,
        model: Model,
        end: Layer,
        train: Examples,
        test: Examples,
        channels: int,
        steps: int,
        rate: float,
        seed: int,
    ) -> None:
        from xaiwidgets.learned.pooled_net import pooling_head

        self.model, self.end, self.train, self.test = model, end, train, test
        self.steps, self.rate, self.seed = steps, rate, seed
        inputs = end.shape[0]
        width = channels or min(MOST_CHANNELS, 2 * inputs)
        self.head = pooling_head(inputs, width, model.classes, seed).to(model.like)
        self.keeps = train.count * math.prod(end.shape) <= KEPT
        self.maps: dict[int, Tensor] = {}
        self.answers: dict[int, Tensor] = {}
        self.losses: list[float] = []
        self.done = 0
        # a pass over the held-out pictures before and after, one over the training pictures, and the steps themselves
        batches = -(-train.count // BATCH)
        self.work = 2 * -(-test.count // BATCH) + (batches if self.keeps or train.own else 0) + steps

    def run(self) -> Iterator[HeadFit]:
        """Yield the fit after each batch."""
        before = 0
        for numbers in _batches(self.test.count):
            before += self._right(self.model, self.test, numbers)
            yield self._fit()
        fit = self._fit(before=before / self.test.count)
        if self.keeps or self.train.own:
            for numbers in _batches(self.train.count):
                self._look(numbers)
                yield self._fit(fit)
        for _ in self._train():
            yield self._fit(fit)
        made = self._made()
        after = 0
        for numbers in _batches(self.test.count):
            after += self._right(made, self.test, numbers)
            if numbers[-1] < self.test.count - 1:
                yield self._fit(fit)
        fit = self._fit(fit, after=after / self.test.count, model=made)
        made.remarks = (*self.model.remarks, fit.sentence())
        yield dataclasses.replace(fit, progress=1.0)

    def _fit(self, fit: HeadFit | None = None, **found: Any) -> HeadFit:
        known = fit or HeadFit(
            0.0, np.zeros(0, np.float32), trained=self.train.count, held_out=self.test.count, own=self.test.own
        )
        losses = np.array(self.losses, np.float32)
        return dataclasses.replace(known, progress=self.done / self.work, losses=losses, **found)

    def _right(self, model: Model, pictures: Examples, numbers: range) -> int:
        """Return how many of some pictures a network answers rightly."""
        self.done += 1
        images = pictures.inputs(numbers)
        answers = model.logits(images).argmax(dim=1)
        if pictures.labels is None:
            return int((answers == self.model.logits(images).argmax(dim=1)).sum())
        return int((answers.cpu() == _tensor([pictures.labels[number] for number in numbers])).sum())

    def _look(self, numbers: range) -> None:
        """Keep the trunk's maps, and the network's answers where there are no labels."""
        self.done += 1
        images = self.train.inputs(numbers)
        if self.keeps:
            self.maps.update(zip(numbers, self._trunk(images), strict=True))
        if self.train.own:
            self.answers.update(zip(numbers, self.model.probabilities(images), strict=True))

    def _trunk(self, images: Tensor) -> Tensor:
        return self.model.activations(images, [self.end.name])[self.end.name]

    def _train(self) -> Iterator[None]:
        import torch

        with torch.inference_mode(False):
            optimizer = torch.optim.AdamW(self.head.parameters(), self.rate, weight_decay=1e-2)
        total = max(self.steps, 2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.rate, total_steps=total)
        rng = np.random.default_rng(self.seed)
        order: list[int] = []
        for step in range(self.steps):
            while len(order) < min(BATCH, self.train.count):
                order += rng.permutation(self.train.count).tolist()
            some, order = order[:BATCH], order[BATCH:]
            self._step(optimizer, some)
            if step < total - 1:
                schedule.step()
            self.done += 1
            yield

    def _step(self, optimizer: Any, some: list[int]) -> None:
        import torch
        from torch.nn import functional

        with torch.inference_mode(False):
            if self.keeps:
                maps = torch.stack([self.maps[number] for number in some])
            else:
                maps = self._trunk(self.train.inputs(some))
            if self.train.labels is None:
                wanted = torch.stack([self.answers[number] for number in some])
            else:
                wanted = _tensor([self.train.labels[number] for number in some]).to(maps.device)
            with torch.enable_grad():
                loss = functional.cross_entropy(self.head(maps.clone()), wanted)
                gradients = torch.autograd.grad(loss, list(self.head.parameters()))
            for parameter, gradient in zip(self.head.parameters(), gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
        self.losses.append(float(loss.detach()))

    def _made(self) -> Model:
        from xaiwidgets.learned.pooled_net import PooledNet
        from xaiwidgets.model.model import Model
        from xaiwidgets.model.skeleton import make_skeleton

        head: nn.Module = self.head.eval().requires_grad_(False)
        for parameter in head.parameters():
            parameter.grad = None
        seen = self.model.preprocessing
        return Model(
            PooledNet(make_skeleton(self.model.module), self.end.name.partition("#")[0], head).eval(),
            labels=self.model.labels,
            mean=seen.mean,
            std=seen.std,
            size=seen.size,
            crop=seen.crop,
            interpolation=seen.interpolation,
            name=f"{self.model.name}{SUFFIX}",
        )


def _batches(count: int) -> Iterator[range]:
    return (range(start, min(start + BATCH, count)) for start in range(0, count, BATCH))


def _tensor(labels: list[int]) -> Tensor:
    import torch

    return torch.tensor(labels)
