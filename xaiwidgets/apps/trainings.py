"""Training what a method goes through: a decoder, a generator, or the network itself at points of its training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import NotApplicable
from xaiwidgets.learned.features import signature

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from xaiwidgets.model.model import Model

#: What is trained for a method, in words, and epochs that a person begins with.
TRAINED = {
    "learned_inversion": ("A network that makes photos from features", 25),
    "dgn_am": ("A generator that makes photos from codes", 30),
    "training_film": ("The network itself, from its first weights", 12),
}
#: What is missing before it, and what a person does about it here.
MISSING = {
    "learned_inversion": ("a network that was trained for this one", "Train a decoder in the panel at the right."),
    "dgn_am": ("a network that was trained for this one", "Train a generator in the panel at the right."),
    "training_film": ("the network at points of its training", "Train it in the panel at the right."),
}
#: Epochs of a film, 0 being untrained; the last one is always kept.
KEPT = (0, 1, 2, 4, 8, 16, 32)
#: Side of a network's pictures from which a generator first learns pixels only, for this share of the epochs.
LARGE, LATE = 128, 0.9


def todo(method: str, model: Model) -> str:
    """Return what a person does before this method can begin."""
    if not can_train(method, model):
        return (
            f"No bundled training builds {model.name}, so it cannot be trained here. In a notebook, "
            "SynthesisLab('shapes_gap', 'disk', 'training_film') can be, and xaiwidgets.checkpoints(model, …) keeps "
            "your own."
        )
    return MISSING[method][1]


def can_train(method: str, model: Model) -> bool:
    """Whether what this method goes through can be trained: a film takes a network that a bundled training builds."""
    if method != "training_film":
        return True
    from xaiwidgets.learned.recipes import recipe

    made = recipe("shapes")
    same = tuple(model.labels.short(i) for i in range(model.classes)) == made.labels
    return same and model.input_shape[0] == 3


def film_steps(model: Model, epochs: int) -> Generator[Any, Any, Any]:
    """Return the training of a network itself on bundled pictures: what it yields has ``epoch``, or is ``None``.

    Raises:
        NotApplicable: no bundled training builds this network. What the training itself raises comes later.
    """
    from xaiwidgets.learned.checkpoints import train_checkpoints_steps
    from xaiwidgets.learned.recipes import recipe

    if not can_train("training_film", model):
        raise NotApplicable(
            "training_film",
            "checkpoints of this network",
            f"no bundled training builds {model.name}: xaiwidgets.checkpoints(model, [(epoch, weights), …]) keeps "
            "your own",
        )
    return train_checkpoints_steps(recipe("shapes"), at=[epoch for epoch in KEPT if epoch <= epochs], epochs=epochs)


def fitting_steps(
    method: str, model: Model, wanted: Any, layer: str, epochs: int, folder: Path, say: Callable[[str], None]
) -> Generator[Any, Any, None]:
    """Train a decoder or a generator on bundled pictures or a person's own, going on from a checkpoint if there is one.

    Args:
        method: ``learned_inversion`` or ``dgn_am``.
        model: whose features are inverted.
        wanted: the pictures, see ``gather``.
        layer: whose output they are made from; '' is the method's own choice.
        epochs: passes over the pictures.
        folder: of checkpoints.
        say: told what is learned from.
    """
    from xaiwidgets.learned.decoding import train_decoder_steps, train_generator_steps
    from xaiwidgets.learned.gathering import gather
    from xaiwidgets.learned.resuming import checkpoint_in

    pictures, words = yield from gather(model, wanted)
    say(words)
    path = checkpoint_in(folder, method, layer, epochs, signature(model, layer), pictures.digest)
    name = ""
    if wanted is not None:  # beside what was learned from bundled pictures
        kind = "generator" if method == "dgn_am" else "decoder"
        name = f"{kind} of {f'{layer} of ' if layer else ''}{model.name}, {words.partition(',')[0]}"
    if method == "dgn_am":
        late = LATE if min(model.input_shape[1:]) >= LARGE else 0.0
        steps = train_generator_steps(
            model, pictures, layer=layer, epochs=epochs, feature_after=late, checkpoint=path, name=name
        )
        yield from steps
    else:
        yield from train_decoder_steps(model, pictures, feature=layer, epochs=epochs, checkpoint=path, name=name)
