"""What a studio knows of the photos and of the network: pictures, inputs, logits, predictions and prices."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.cards import card, cards
from xaiwidgets.engine.run import missing
from xaiwidgets.errors import InvalidModel
from xaiwidgets.model.preprocess import Preprocessing
from xaiwidgets.studio.album import Album
from xaiwidgets.studio.frame import Prediction
from xaiwidgets.studio.teller import Teller

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from xaiwidgets.engine.cost import Cost, Pace
    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Target
    from xaiwidgets.studio.lens import Lens

#: Pixels of the longer side of the photo on the canvas.
VIEW = 720
#: Photos whose pictures and inputs are kept.
PHOTOS = 12


class Knowledge(Teller):
    """Keeps what was found out about photos and the network, each computed once.

    Args:
        model: a ``Model``, the name of one for ``load_model``, or ``None`` for the bundled one.
        events: the names that can be listened to.
    """

    def __init__(self, model: Model | str | None, events: Iterable[str]) -> None:
        super().__init__(events)
        self.album = Album()
        self.model: Model | None = None
        self._wanted: Model | str = model if model is not None else "efficientnet_lite0"
        if not isinstance(self._wanted, str):
            self.model = self._wanted.sharing()
        self._inputs: OrderedDict[str, Tensor] = OrderedDict()
        self._predicted: dict[str, tuple[Prediction, ...]] = {}
        self._logits: dict[str, Tensor] = {}
        self._views: OrderedDict[str, NDArray[np.uint8]] = OrderedDict()
        self._offered = False
        self._pace: Pace | None = None  # kept here too: the thread of the page must not wait for the model's lock

    @property
    def lock(self) -> Any:
        """What a listener holds while it reads several things here, or makes widgets that another thread could make.

        It comes before the lock of all drawing.
        """
        return self._lock

    @property
    def preprocessing(self) -> Preprocessing:
        """The model's, or that of the bundled model until one is loaded."""
        return self.model.preprocessing if self.model is not None else Preprocessing()

    def photo(self, key: str) -> NDArray[np.uint8]:
        """Return what the model sees of a picture, at display resolution."""
        height, width = self.preprocessing.size
        size = (round(VIEW * height / max(height, width)), round(VIEW * width / max(height, width)))
        known = f"{key} {self.preprocessing}"
        with self._lock:
            if known not in self._views:
                self._views[known] = self.preprocessing.view(self.album.get(key), size)
                while len(self._views) > PHOTOS:
                    self._views.popitem(last=False)
            return self._views[known]

    def _input(self, key: str) -> Tensor:
        with self._lock:
            if key not in self._inputs:
                self._inputs[key] = self._ready().input(self.album.get(key))
                while len(self._inputs) > PHOTOS:
                    self._inputs.popitem(last=False)
            return self._inputs[key]

    def _whole(self, key: str) -> Tensor:
        """Return the logits of the whole photo, computed once."""
        if key not in self._logits:
            self._logits[key] = self._ready().logits(self._input(key))
        return self._logits[key]

    def _top(self, logits: Tensor, count: int = 5) -> tuple[Prediction, ...]:
        if not bool(logits.isfinite().all()):
            raise InvalidModel(
                "the network must give finite scores; for this photo it gave NaN or infinity. Check its weights, and "
                "that mean= and std= are those it was trained with."
            )
        labels = self._ready().labels
        chances = logits[0].softmax(dim=0)
        order = chances.argsort(descending=True)[:count].tolist()
        return tuple(Prediction(i, labels.short(i), float(chances[i]), float(logits[0, i])) for i in order)

    def reasons(self) -> dict[str, str]:
        """Return, by method id, what the loaded model lacks for it; empty where it applies or that is not known yet."""
        if self.model is None or not self._offered:
            return {made.id: "" for made in cards("explainer")}
        return {made.id: missing(made, self.model) for made in cards("explainer")}

    def cost(self, lens: Lens) -> Cost | None:
        """Return what the lens's method will take, or ``None`` before the network was probed.

        Raises:
            InvalidKnob: the method does not take pictures of this size with these settings.
        """
        from xaiwidgets.engine.cost import predict

        if self.model is None or self._pace is None:
            return None
        return predict(self.model, lens.make(), self._pace)

    def fitted(self, lens: Lens, seconds: float) -> Lens:
        """Return the lens with counts lowered or strides widened to take at most ``seconds``, once that is known."""
        from xaiwidgets.engine.cost import fit

        if self.model is None or self._pace is None:
            return lens
        made = fit(self.model, lens.make(), seconds, self._pace)
        return lens.with_knobs(**{knob.name: getattr(made, knob.name) for knob in card(lens.method).knobs})

    def _ready(self) -> Model:
        if self.model is None:
            raise RuntimeError("the model is not loaded yet")
        return self.model

    def target(self, lens: Lens) -> Target:
        """Return the target that the lens names, resolved on the loaded model."""
        model = self._ready()
        if lens.unit is not None:
            return model.unit(lens.unit.layer, lens.unit.channel, lens.unit.position)
        if lens.target:
            return model.target(list(lens.target))
        return model.target(int(self._whole(lens.image)[0].argmax()))
