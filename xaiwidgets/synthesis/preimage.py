"""A run of natural pre-images: one energy and one descent for inversion, activation maximization and caricature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.results import Exhibit
from xaiwidgets.errors import InvalidImage, InvalidTarget
from xaiwidgets.model.targets import NOTHING
from xaiwidgets.synthesis import priors
from xaiwidgets.synthesis.canvas import NOISE, Canvas
from xaiwidgets.synthesis.matching import Agreement, Features, Part, features, middle, stride
from xaiwidgets.synthesis.reading import read
from xaiwidgets.synthesis.run import Run
from xaiwidgets.synthesis.unit_scale import largest_score, pixels_seen
from xaiwidgets.synthesis.window import draw_place, grown, seen

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.passes import Gradients
    from xaiwidgets.model.targets import Goal
    from xaiwidgets.surgery.recipes import Recipe
    from xaiwidgets.synthesis.natural_preimage import NaturalPreimage
    from xaiwidgets.synthesis.run import Saved

#: How much of the sum of squared slopes, and of the last step, is kept at a step.
MEMORY = 0.9
#: How far a first step moves a pixel of the typical color, as a share of it; and what is left of it while settling.
FIRST, SETTLING = 0.05, 0.1
#: The weight of a unit whose largest activation is 1 and that sees a picture of ``SEEN`` pixels.
SEEN = 1e4
#: The weight of a loss against the priors, where the unit's own activations do not tell it.
WEIGHTS = {"inversion": 30.0, "caricature": 100.0}


class Preimage(Run):
    """A run in progress.

    Attributes:
        picture: ``(1, C, H + T - 1, W + T - 1)`` in gray levels less the mean color, larger than what is seen by the
            jitter. ``slope``: derivative of ``score`` by it, of what was seen at last. ``motion``: the last step.
        growth: the fading sum of squared slopes of the energy.
        original: the photo in gray levels, or ``None``. ``largest``: activation of the target on photos.
    """

    ARRAYS = ("picture", "slope", "motion", "growth", "original")
    VALUES = ("score", "reading", "largest")
    FREE = ("iterations", "settle")
    method: NaturalPreimage
    picture: Tensor
    slope: Tensor
    motion: Tensor
    growth: Tensor

    def __init__(self, method: NaturalPreimage, model: Model, target: Goal, photo: Tensor | None) -> None:
        super().__init__(method, model, target, photo)
        self.canvas = Canvas(model)
        self.size = self.canvas.shape[2:]
        wanted = method.loss
        if photo is None and (wanted != "maximization" or method.start == "photo"):
            what = "start='photo'" if wanted == "maximization" else f"loss={wanted!r}"
            raise InvalidImage(
                f"image must be given for {what}; without a photo, loss='maximization' makes one for a target."
            )
        if wanted == "maximization" and target == NOTHING:
            raise InvalidTarget(
                "target, or layer with unit, must be given for loss='maximization'; without one, loss='inversion' and "
                "loss='caricature' work from a photo and a layer."
            )
        self.original = None if photo is None else self.canvas.start("photo", photo, self.random)
        self.goal = target if wanted == "maximization" else self._features()
        self.score, self.largest = 0.0, 0.0
        self.reading: tuple[tuple[str, float], ...] = ()

    @property
    def unit(self) -> str:
        """What is made small: the weighted loss and the two priors."""
        return "energy"

    @property
    def planned(self) -> int:
        """How many steps there are to be; inversion settles at the end."""
        return super().planned + (self.method.settle if self.method.loss == "inversion" else 0)

    @property
    def jitter(self) -> int:
        """How many places the picture is seen at along each axis; 1 is none."""
        if self.method.jitter:
            return int(self.method.jitter)
        return max(1, round(stride(self.model, next(iter(self.goal.layers), "")) / 4))

    @property
    def weight(self) -> float:
        """How much the loss counts against the priors."""
        if self.method.loss != "maximization":
            return self.method.weight * WEIGHTS[self.method.loss]
        return self.method.weight * SEEN / pixels_seen(self.model, self.goal) / (self.largest or 1.0)

    def begin(self) -> None:
        """Set the first picture on a canvas that is larger by the jitter, and pass it through the network."""
        if self.method.loss == "maximization":
            photo = None if self.original is None else self.canvas.inputs(self.original)
            self.largest, words = largest_score(self.model, self.goal, self.method.references, photo)
            if words:
                self.note(words)
        edge = self.jitter - 1
        at_photo = self.method.start == "photo" or (self.method.start == "auto" and self.method.loss == "caricature")
        noise = NOISE * self.canvas.noise(self.random)
        picture = self.original if self.original is not None and at_photo else noise
        self.picture = priors.bounded(grown(picture, edge), self.method.color_bound)
        self.motion = self.growth = self.picture.new_zeros(self.picture.shape)
        if not self._look(self.picture):
            self.stop("the score or its gradient is not finite on the first picture; choose another start")

    def advance(self) -> None:
        """Do one step down the energy, shorten the colors that are too long, and pass the picture through."""
        method = self.method
        down = self.weight * (1 if method.loss == "inversion" else -1)
        alpha, variation = self._prior_weights(self.picture)
        slope = down * self.slope + alpha * priors.color_slope(self.picture, method.alpha)
        slope = slope + variation * priors.variation_slope(self.picture, method.beta)
        if not slope.any():
            self.stop(
                "the energy's gradient is exactly zero: no pixel changes what the layer gives. Start from a photo, or "
                "choose another layer or unit"
            )
            return
        self.growth = MEMORY * self.growth + slope.square()
        settling = self.step >= self.method.iterations
        rate = FIRST * method.typical_color**2 / method.alpha * slope[0, 0].numel() * method.step_size
        self.motion = MEMORY * self.motion - slope / (1 / rate + self.growth.sqrt()) * (SETTLING if settling else 1)
        picture = priors.bounded(self.picture + self.motion, method.color_bound)
        if not picture.isfinite().all() or not self._look(picture):
            self.stop("the next picture, its score or its gradient is not finite. Lower the weight and start anew")
            return
        self.picture = picture
        known = {
            "loss": down * self.score,
            "alpha_prior": alpha * float(priors.color_norm(picture, method.alpha)),
            "tv_prior": variation * float(priors.variation(picture, method.beta)),
        }
        self.log(sum(known.values()), **known, **dict(self.reading))

    def pixels(self) -> NDArray[np.float32]:
        """Return the middle of the canvas as colors."""
        return self.canvas.pixels(seen(self.picture, self._center(), self.size))

    def terms(self) -> dict[str, float]:
        """Return the weight of the loss and the length of the longest color."""
        return {"weight": self.weight, "longest_color": float(priors.lengths(self.picture).max())}

    def beside(self) -> tuple[Exhibit, ...]:
        """Return the photo and, of a caricature, what was added to it."""
        if self.original is None:
            return ()
        found = [Exhibit(self.canvas.pixels(self.original), "The photo")]
        if self.method.loss == "caricature":
            change = seen(self.picture, self._center(), self.size) - self.original
            largest = float(change.abs().max())
            gain = min(16.0, 127.0 / largest) if largest else 1.0
            shown = (0.5 + gain * change[0] / 255).clamp(0, 1).permute(1, 2, 0).expand(-1, -1, 3).float().cpu().numpy()
            found.append(Exhibit(np.ascontiguousarray(shown), f"What was added, × {gain:.3g}, on gray"))
        return tuple(found)

    def adopted(self, old: Any) -> None:
        """Enlarge or crop the canvas when the jitter is another one."""
        self._resize()

    def restore(self, saved: Saved) -> None:
        """Go on as it was, with the same photo.

        Raises:
            InvalidImage: it is another photo. Also what ``Run.restore`` raises.
        """
        given = self.original
        super().restore(saved)
        kept = self.original
        if (given is None) != (kept is None) or not (given is None or kept is None or bool((given == kept).all())):
            raise InvalidImage("image must be the photo of the saved run; got another one. Start a new run for it.")
        self._resize()

    def _resize(self) -> None:
        edge = self.jitter - 1 - (self.picture.shape[2] - self.size[0])
        if edge:
            self.picture, self.motion = grown(self.picture, edge), grown(self.motion, edge)
            self.growth, self.slope = grown(self.growth, edge), grown(self.slope, edge)

    def _features(self) -> Features:
        """Return what is compared with the photo."""
        layer = self.model.layer(self.method.layer or middle(self.model))
        activation = self.model.activations(self.canvas.inputs(self._photo()), [layer.name])[layer.name]
        return features(layer, activation, Part(), Agreement if self.method.loss == "caricature" else Features)

    def _photo(self) -> Tensor:
        if self.original is None:
            raise InvalidImage("image must be given to compare with a photo.")
        return self.original

    def _prior_weights(self, picture: Tensor) -> tuple[float, float]:
        """Return what the sums of the two priors are multiplied by."""
        method, area = self.method, picture[0, 0].numel()
        alpha = method.alpha_weight / area / method.typical_color**method.alpha
        return alpha, method.tv_weight / area / method.typical_edge**method.beta

    def _look(self, picture: Tensor) -> bool:
        """Pass what is seen of a picture through the network; return whether the score and its slope are finite."""
        settling = self.step >= self.method.iterations
        place = self._center() if settling else draw_place(picture.shape[2] - self.size[0], self.random)
        shown = seen(picture, place, self.size)
        found = self.ask(self.canvas.inputs(shown), self.goal, recipe=self._recipe())
        gradient = self.canvas.per_gray_level(found.input)
        slope = picture.new_zeros(picture.shape)
        seen(slope, place, self.size).copy_(gradient)
        self.slope, self.score = slope, float(found.score[0])
        self.reading = tuple(self._read(found, shown).items())
        return bool(gradient.isfinite().all() and found.score.isfinite().all())

    def _read(self, found: Gradients, shown: Tensor) -> dict[str, float]:
        """Return what is worth watching, by loss."""
        import torch

        if self.method.loss == "maximization":
            return {"activation": self.score, **read(found, self.goal, self.model).chance}
        if self.method.loss == "inversion":
            photo = self._photo()
            away = float((shown - photo).norm() / photo.norm().clamp_min(1e-12))
            return {"error": self.score**0.5, "squared_error": self.score, "pixel_error": away}
        alike = torch.cosine_similarity(shown.flatten(), self._photo().flatten(), dim=0)
        return {"agreement": self.score, "likeness": float(alike)}

    def _recipe(self) -> Recipe | None:
        from xaiwidgets.surgery.recipes import LEAKY

        leaky = self.method.leaky == "on" or (self.method.leaky == "auto" and self.method.loss == "maximization")
        return LEAKY if leaky and "rectifier" in self.model.offers else None

    def _center(self) -> tuple[int, int]:
        room = (self.jitter - 1) // 2
        return room, room
