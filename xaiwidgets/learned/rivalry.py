"""The adversarial loss of a generator: a second network learns to tell what it makes from real pictures.

Dosovitskiy and Brox 2016, "Generating images with perceptual similarity metrics based on deep networks", section 3.
This module imports torch: import it inside functions.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from xaiwidgets.learned.upconv import SLOPE

#: Channels of the critic's maps, and units of what it makes of the code.
CHANNELS, UNITS = 32, 64
#: Where the critic's loss is less than this share of the generator's, it waits: it must not run away (section 3).
AHEAD = 0.1
#: Learning rate of the critic, relative to the generator's at the time.
RELATIVE = 0.5


class Critic(nn.Module):
    """Pixels ``(N, C, H, W)`` and codes ``(N, D)`` to one number each, above 0 where the picture looks real.

    Convolutions halve the maps until they are small; their mean over places is joined by what two layers make of the
    code, so that a real picture of another code is no more believed than a made one.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, size: tuple[int, int, int], center: Tensor, scale: Tensor) -> None:
        super().__init__()
        channels, height, width = size
        self.register_buffer("center", center.clone())
        self.register_buffer("scale", scale.clone())
        halvings = max(1, min(4, round(math.log2(min(height, width) / 4))))
        parts: list[nn.Module] = []
        for number in range(halvings):
            given = channels if number == 0 else CHANNELS
            parts += [nn.Conv2d(given, CHANNELS, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        self.seen = nn.Sequential(*parts, nn.Conv2d(CHANNELS, UNITS, 3, padding=1), nn.LeakyReLU(SLOPE))
        self.told = nn.Sequential(
            nn.Linear(center.numel(), UNITS), nn.LeakyReLU(SLOPE), nn.Linear(UNITS, UNITS), nn.LeakyReLU(SLOPE)
        )
        self.verdict = nn.Sequential(nn.Linear(2 * UNITS, UNITS), nn.LeakyReLU(SLOPE), nn.Linear(UNITS, 1))

    def forward(self, pixels: Tensor, codes: Tensor) -> Tensor:
        """Return how real each picture looks ``(N,)``, the logarithm of its odds."""
        seen = self.seen(2 * pixels - 1).mean(dim=(2, 3))
        told = self.told(((codes - self.center) / self.scale).flatten(1))
        verdict: Tensor = self.verdict(torch.cat([seen, told], dim=1))[:, 0]
        return verdict


class Rivalry:
    """A critic that learns beside a generator.

    Args:
        size: ``(C, H, W)`` of the pictures.
        center: of the codes. ``scale``: what they are divided by.
        betas: of Adam.
        seed: of the critic's start; the global random state stays as it is.
    """

    def __init__(
        self, size: tuple[int, int, int], center: Tensor, scale: Tensor, betas: tuple[float, float], seed: int
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.critic = Critic(size, center, scale).to(center.device)
        self.optimizer = torch.optim.Adam(self.critic.parameters(), betas=betas)
        self.waits = False

    def loss(self, made: Tensor, codes: Tensor) -> Tensor:
        """Return the generator's loss, −log D(made), with a graph to the pictures and none to the critic's weights."""
        weights = list(self.critic.parameters())
        for weight in weights:
            weight.requires_grad_(False)
        try:
            return nn.functional.softplus(-self.critic(made, codes)).mean()
        finally:
            for weight in weights:
                weight.requires_grad_(True)

    def learn(self, real: Tensor, made: Tensor, codes: Tensor, rate: float) -> float:
        """Let the critic learn from real pictures and made ones of the same codes, unless it is far ahead.

        Returns its loss, −log D(real) − log(1 − D(made)), before the step.
        """
        with torch.enable_grad():
            real_odds, made_odds = self.critic(real, codes), self.critic(made.detach(), codes)
            loss = nn.functional.softplus(-real_odds).mean() + nn.functional.softplus(made_odds).mean()
            against = float(nn.functional.softplus(-made_odds.detach()).mean())
            self.waits = float(loss.detach()) < AHEAD * against
            if not self.waits:
                for group in self.optimizer.param_groups:
                    group["lr"] = RELATIVE * rate
                self.optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
        return float(loss.detach())

    def state(self) -> dict[str, Any]:
        """Return all that it takes to go on."""
        return {"critic": self.critic.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on as it was."""
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])
