"""The photos that come with scikit-image and scikit-learn, found without importing either."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from xaiwidgets.errors import InvalidImage, did_you_mean

#: Releases whose wheels were seen to hold all the photos, for the message about one that is missing.
SEEN_IN = {"scikit-image": "0.26.0", "scikit-learn": "1.9.1"}
FOLDERS = {"scikit-image": ("skimage", "data"), "scikit-learn": ("sklearn", "datasets", "images")}


@dataclass(frozen=True)
class Sample:
    """A photo of the gallery.

    Attributes:
        name: what ``explain(model, name, …)`` takes. ``title``: what people are shown.
        credit: who made it. ``license``: what its package says about its use.
        package: the distribution that ships it. ``file``: its name there.
    """

    name: str
    title: str
    credit: str
    license: str
    package: str
    file: str

    @property
    def path(self) -> Path:
        """Where the photo is; ``InvalidImage`` if the installed package lacks it."""
        folder = _folder(self.package)
        if folder is None or not (folder / self.file).is_file():
            raise InvalidImage(
                f"the sample {self.name!r} is {self.file} of {self.package}, and {_installed(self.package)} here. "
                f"{self.package} {SEEN_IN[self.package]} has it; or give your own photo's path."
            )
        return folder / self.file


GALLERY = (
    Sample("coffee", "Cup of coffee", "Rachel Michetti, Pikolo Espresso Bar", "CC0", "scikit-image", "coffee.png"),
    Sample("chelsea", "Chelsea the cat", "Stefan van der Walt", "CC0", "scikit-image", "chelsea.png"),
    Sample("china", "Temple in China", "danielbuechele on Flickr", "CC BY 2.0", "scikit-learn", "china.jpg"),
    Sample("flower", "Flower", "vultilion on Flickr", "CC BY 2.0", "scikit-learn", "flower.jpg"),
    Sample("rocket", "Falcon 9 at launch", "SpaceX", "public domain", "scikit-image", "rocket.jpg"),
    Sample("camera", "Man with a camera", "Lav Varshney", "CC0", "scikit-image", "camera.png"),
    Sample(
        "astronaut",
        "Astronaut Eileen Collins",
        "NASA",
        "public domain, no known copyright restrictions",
        "scikit-image",
        "astronaut.png",
    ),
    Sample(
        "motorcycle",
        "Motorcycle in a garage",
        "D. Scharstein and others, Middlebury 2014 stereo benchmark",
        "none stated; distributed with scikit-image",
        "scikit-image",
        "motorcycle_left.png",
    ),
)


def samples() -> tuple[Sample, ...]:
    """Return the photos that the installed packages have, in the order of the gallery."""
    return tuple(sample for sample in GALLERY if _present(sample))


def find_sample(name: str) -> Sample:
    """Return the sample of this name, whose file is there.

    Raises:
        InvalidImage: no such sample, or the installed package lacks its file.
    """
    for sample in GALLERY:
        if sample.name == name:
            _ = sample.path
            return sample
    known = [sample.name for sample in samples()]
    raise InvalidImage(f"samples are {', '.join(known)}; got {name!r}.{did_you_mean(name, known)}")


def _present(sample: Sample) -> bool:
    folder = _folder(sample.package)
    return folder is not None and (folder / sample.file).is_file()


def _folder(package: str) -> Path | None:
    """Return where a package keeps its photos; a top-level spec is found without running the package."""
    module, *inside = FOLDERS[package]
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)), *inside)


def _installed(package: str) -> str:
    try:
        return f"version {version(package)}, which is installed, lacks it"
    except PackageNotFoundError:
        return f"{package} is not installed"
