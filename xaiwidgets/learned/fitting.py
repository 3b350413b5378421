"""One training of a network from features to pictures: its data, its batches, its checkpoints."""

from __future__ import annotations

import math
import os
import time
from os import fspath
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.knobs import Range
from xaiwidgets.core.results import Exhibit
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.learned.code_error import code_errors
from xaiwidgets.learned.decoders import Decoder, as_inputs, shown
from xaiwidgets.learned.decoding import DecoderTraining
from xaiwidgets.learned.features import features, signature
from xaiwidgets.learned.resuming import resume, save
from xaiwidgets.learned.store import keep
from xaiwidgets.learned.teaching import floats
from xaiwidgets.learned.upconv import fresh

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.learned.rivalry import Rivalry
    from xaiwidgets.learned.teaching import Pictures
    from xaiwidgets.model.model import Model

#: Pictures a step (Dosovitskiy and Brox 2016). ``LOOK``: pictures a pass while features are computed.
BATCH, LOOK = 64, 16
#: Seconds after which a training asks whether it is still wanted.
PAUSE = 0.05
#: Bytes of features that are kept.
KEPT = 2_000_000_000
PANEL = 8
#: Pairs of random pictures whose mean distance errors are relative to.
PAIRS = 2000
#: A number of a feature that varies less than this is as good as constant.
STILL = 1e-6
#: Adam's running means.
BETAS = (0.9, 0.999)


class Fitting:
    """A training in progress; private to the generator that drives it."""

    def __init__(self, model: Model, pictures: Pictures, options: dict[str, Any], checkpoint: Any, name: str) -> None:
        self.model, self.pictures, self.options, self.name = model, pictures, options, name
        self.path = None if checkpoint is None else fspath(checkpoint)
        self.feature: str = options["feature"]
        self.rate: float = options["rate"]
        self.weight: float = options.get("weight", 0.0)
        self.adversarial: float = options.get("adversarial", 0.0)
        self.rivalry: Rivalry | None = None
        self.after: float = options.get("after", 0.0) * options["epochs"]
        self.losses: list[float] = []
        self.errors: list[float] = []
        self.seconds = 0.0
        self.paused = self.started = time.perf_counter()

    def run(self) -> Generator[DecoderTraining | None, Any, None]:
        """Yield after each epoch, with ``None`` several times a second."""
        yield from self._prepare()
        epochs = self.options["epochs"]
        if self.path and os.path.exists(self.path):  # noqa: PTH110 - a path of any kind was made a string
            resume(self, self.path)
        while len(self.losses) < epochs:
            yield from self._epoch()
            if self.path:
                save(self, self.path)
            if len(self.losses) < epochs:
                self._adopt((yield self._state()))
                self.started = self.paused = time.perf_counter()
        yield self._state(decoder=self._decoder())

    def _pause(self) -> Generator[None, Any, None]:
        """Let others have a turn, if it is time; what they send may be another learning rate."""
        now = time.perf_counter()
        if now - self.paused > PAUSE:
            self.seconds += now - self.started
            self._adopt((yield None))
            self.started = self.paused = time.perf_counter()

    def _adopt(self, sent: Any) -> None:
        """Use the learning rate that was sent in, if one was."""
        if sent is not None:
            self.rate = float(Range(1e-6, 0.1).check("rate", dict(sent).get("rate")))

    # -- what it learns from --------------------------------------------------------------------------------------

    def _prepare(self) -> Generator[None, Any, None]:
        import torch

        self.codes, self.wished = yield from self._look(self.pictures.train)
        self.test_codes, self.test_wished = yield from self._look(self.pictures.test)
        random = np.random.default_rng([self.options["seed"], 13])
        test = self.test_wished.flatten(1)
        pairs = torch.from_numpy(random.integers(len(test), size=(2, PAIRS)))
        distances = (test[pairs[0]] - test[pairs[1]]).norm(dim=1)
        self.unit = float(distances[pairs[0] != pairs[1]].mean()) or 1.0
        mean = self.wished.mean(dim=0)
        self.mean_error = float((test - mean.flatten()).norm(dim=1).mean()) / self.unit
        self.nearest_error = yield from self._nearest()
        axes = (0, 2, 3) if self.codes.ndim == 4 else (0,)
        center, sd = self.codes.mean(dim=axes, keepdim=True)[0], self.codes.std(dim=axes, keepdim=True)[0]
        scale = torch.where(sd > STILL, sd, torch.ones_like(sd))
        self.code_mean, self.code_sd = self.codes.mean(dim=0), self.codes.std(dim=0)
        floor = max(STILL, float(self.code_sd.mean()))
        self.unit_of_code = self.code_sd.clamp_min(floor)
        with torch.inference_mode(False):
            self.network = fresh(tuple(self.codes.shape[1:]), mean, center, scale, self.options["seed"]).to(mean.device)
            self.optimizer = torch.optim.Adam(self.network.parameters(), self.rate, betas=BETAS)
            if self.adversarial:
                from xaiwidgets.learned.rivalry import Rivalry

                size, seed = tuple(mean.shape), self.options["seed"]
                self.rivalry = Rivalry((size[0], size[1], size[2]), center, scale, BETAS, seed + 1)
        self.order = torch.Generator().manual_seed(self.options["seed"])

    def _look(self, images: NDArray[Any]) -> Generator[None, Any, tuple[Tensor, Tensor]]:
        """Return the features of pictures, and the pictures ``(N, C, h, w)`` at the size that is made."""
        import torch

        side = self._side()
        codes: list[Tensor] = []
        wished: list[Tensor] = []
        for start in range(0, len(images), LOOK):
            some = floats(images[start : start + LOOK])
            inputs = torch.cat([self.model.from_pixels(image) for image in some])
            codes.append(features(self.model, self.feature, inputs).clone())
            if start == 0 and codes[0][0].numel() * 4 * len(images) > KEPT:
                size = codes[0][0].numel() * 4 * len(images) / 1e9
                raise InvalidKnob(
                    f"feature must be small enough to be kept for all pictures; {self.feature!r} takes {size:.1f} GB "
                    f"for {len(images)}. Take a deeper layer, or fewer pictures."
                )
            pixels = torch.from_numpy(some.transpose(0, 3, 1, 2).copy())
            if tuple(pixels.shape[-2:]) != side:
                resize = torch.nn.functional.interpolate
                pixels = resize(pixels, size=side, mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)
            wished.append(pixels)
            yield from self._pause()
        return torch.cat(codes), torch.cat(wished).to(codes[0].device)

    def _side(self) -> tuple[int, int]:
        """Return height and width of what is made: the shorter side is ``size``."""
        height, width = self.model.input_shape[1:]
        share = self.options["size"] / min(height, width)
        return round(height * share), round(width * share)

    def _nearest(self) -> Generator[None, Any, float]:
        """Return the error of taking the training picture whose features are nearest."""
        import torch

        flat, total = self.codes.flatten(1), 0.0
        for start in range(0, len(self.test_codes), LOOK):
            part = self.test_codes[start : start + LOOK].flatten(1)
            nearest = torch.cdist(part, flat).argmin(dim=1)
            gaps = self.wished[nearest] - self.test_wished[start : start + LOOK]
            total += float(gaps.flatten(1).norm(dim=1).sum())
            yield from self._pause()
        return total / len(self.test_codes) / self.unit

    # -- learning -------------------------------------------------------------------------------------------------

    def _epoch(self) -> Generator[None, Any, None]:
        import torch

        count, total = len(self.codes), 0.0
        batches = -(-count // BATCH)
        done, planned = len(self.losses) * batches, self.options["epochs"] * batches
        for number, part in enumerate(torch.split(torch.randperm(count, generator=self.order), BATCH)):
            falling = 0.5 * (1 + math.cos(math.pi * (done + number) / planned))
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate * falling
            total += (yield from self._step(part)) * len(part)
            yield from self._pause()
        self.losses.append(total / count)
        made = torch.cat([self._made(part) for part in torch.split(self.test_codes, BATCH)])
        gaps = (made.clamp(0, 1) - self.test_wished).flatten(1).norm(dim=1)
        self.errors.append(float(gaps.mean()) / self.unit)

    def _step(self, part: Tensor) -> Generator[None, Any, float]:
        """Learn from some pictures, by their numbers, and return their loss."""
        import torch

        with torch.inference_mode(False):
            codes, wished = self.codes[part].clone(), self.wished[part].clone()
            with torch.enable_grad():
                made = self.network(codes)
                loss = (made - wished).square().mean()
        value = float(loss.detach())
        if self.weight and len(self.losses) >= self.after:
            given = self.model, self.feature, self.unit_of_code
            error, slope = yield from code_errors(*given, made.detach(), codes, self._pause)
            with torch.inference_mode(False), torch.enable_grad():
                # the gradient by the pictures is known; this has the same one by the network's weights
                loss = loss + self.weight * (as_inputs(self.model, made) * slope).sum() / len(part)
            value += self.weight * error
        rivalry = self.rivalry if len(self.losses) >= self.after else None
        if rivalry is not None:
            with torch.inference_mode(False), torch.enable_grad():
                loss = loss + self.adversarial * rivalry.loss(made, codes)
        with torch.inference_mode(False), torch.enable_grad():
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            if rivalry is not None:
                rivalry.learn(wished, made, codes, float(self.optimizer.param_groups[0]["lr"]))
        return value

    def _made(self, codes: Tensor) -> Tensor:
        import torch

        with torch.no_grad():
            made: Tensor = self.network(codes)
        return made

    # -- what it tells --------------------------------------------------------------------------------------------

    def _state(self, decoder: Decoder | None = None) -> DecoderTraining:
        now = time.perf_counter()
        self.seconds += now - self.started
        self.started = now
        done, planned = len(self.losses), self.options["epochs"]
        return DecoderTraining(
            min(1.0, done / planned),
            done,
            tuple(self.losses),
            tuple(self.errors),
            self.mean_error,
            self.nearest_error,
            self._panel(),
            self.seconds,
            decoder,
            "" if decoder is None else keep(self.name, decoder),
        )

    def _panel(self) -> tuple[Exhibit, ...]:
        found = []
        for number in range(min(PANEL, len(self.test_codes))):
            wished = self.test_wished[number : number + 1]
            made = self._made(self.test_codes[number : number + 1]).clamp(0, 1)
            error = float((made - wished).norm()) / self.unit
            both = np.concatenate([shown(wished), shown(made)])
            found.append(Exhibit(both, f"held-out picture {number + 1} above what is made of it, error {error:.2f}"))
        return tuple(found)

    def _decoder(self) -> Decoder:
        for parameter in self.network.parameters():
            parameter.grad = None
        return Decoder(
            self.feature,
            tuple(self.codes.shape[1:]),
            signature(self.model, self.feature),
            self.model.name,
            self.network.eval().requires_grad_(False),
            self.code_mean,
            self.code_sd,
            self.errors[-1],
            self.mean_error,
            self.nearest_error,
            is_generator="weight" in self.options,
        )
