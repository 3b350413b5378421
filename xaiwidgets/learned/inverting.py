"""One run of learned inversion: features, a picture made of them, and the features of that picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xaiwidgets.core.results import Exhibit
from xaiwidgets.errors import InvalidImage
from xaiwidgets.learned.decoded import Decoded
from xaiwidgets.learned.decoders import as_inputs, shown
from xaiwidgets.learned.features import features

if TYPE_CHECKING:
    from torch import Tensor


class Inverting(Decoded):
    """A run of three steps: it shows the mean picture, then what is made, then how near that is in the features."""

    ARRAYS = (*Decoded.ARRAYS, "code")
    VALUES = (*Decoded.VALUES, "feature_error")

    code: Tensor
    feature_error = float("nan")

    @property
    def planned(self) -> int:
        """Three steps."""
        return 3

    @property
    def unit(self) -> str:
        """Of the objective."""
        return "pixel error, relative to the mean picture's"

    def begin(self) -> None:
        """Find the decoder, which knows the mean picture."""
        super().begin()
        if self.photo is None:
            raise InvalidImage("image must be given for learned_inversion: a photo's name, a path, or an array.")
        self.made = self.decoder.network.mean[None].clone()
        self.code = self.decoder.code_mean[None].clone()

    def advance(self) -> None:
        """Compute the features, decode them, or compute those of what was made."""
        if self.step == 0:
            self.code = self._features(self._photo)
        elif self.step == 1:
            self.made = self.decoder.decode(self.code).clamp(0, 1)
        else:
            again = self._features(as_inputs(self.model, self.made).to(self.model.like))
            self.feature_error = float((again - self.code).norm() / self.code.norm().clamp_min(1e-12))
        self.log(self._error())

    def terms(self) -> dict[str, float]:
        """Return the error of the features, once it is known."""
        return {} if np.isnan(self.feature_error) else {"relative feature error": self.feature_error}

    def beside(self) -> tuple[Exhibit, ...]:
        """Return the photo as it is wanted, and the mean picture, which is what no feature at all would give."""
        decoder = self.decoder
        return (
            Exhibit(shown(self._wished()), "the photo, at the size that is made"),
            Exhibit(shown(decoder.network.mean[None]), "the mean picture, made of no feature"),
        )

    @property
    def _photo(self) -> Tensor:
        if self.photo is None:
            raise InvalidImage("image must be given for learned_inversion: a photo's name, a path, or an array.")
        return self.photo

    def _features(self, inputs: Tensor) -> Tensor:
        return features(self.model, self.decoder.feature, inputs).to(self.decoder.code_mean)

    def _wished(self) -> Tensor:
        import torch

        pixels = np.array(self.model.to_pixels(self._photo).transpose(2, 0, 1)[None])
        photo = torch.from_numpy(pixels).to(self.decoder.code_mean)
        if tuple(photo.shape[-2:]) == self.decoder.size:
            return photo
        resize = torch.nn.functional.interpolate
        return resize(photo, size=self.decoder.size, mode="bilinear", align_corners=False, antialias=True)

    def _error(self) -> float:
        wished = self._wished()
        far = (self.decoder.network.mean[None] - wished).norm().clamp_min(1e-12)
        return float((self.made - wished).norm() / far)
