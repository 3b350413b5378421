"""A run of synthesis written down: what it takes to make the same picture again, as JSON, and making it again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.cards import card
from xaiwidgets.core.results import Synthesis
from xaiwidgets.engine.replay import MOST_EVENTS, planned, replayed
from xaiwidgets.engine.run import check_applicable, drive, last
from xaiwidgets.errors import InvalidImage, InvalidModel, InvalidRecord, InvalidTarget
from xaiwidgets.model.digest import weights_digest
from xaiwidgets.model.objective_algebra import Objective
from xaiwidgets.model.objective_text import parse_objective
from xaiwidgets.model.pictures import Picture, read_picture
from xaiwidgets.model.samples import samples
from xaiwidgets.model.targets import NOTHING, Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from xaiwidgets.model.model import Model
    from xaiwidgets.model.targets import Goal

FORMAT, VERSION = "xaiwidgets synthesis", 1
#: A record of ten thousand moved knobs is smaller than this.
MOST_BYTES = 2**20
MOST_STEPS = 1_000_000
LONGEST_TEXT = 2000
LONGEST_OBJECTIVE = 100_000
#: Runs of which more is known than a record says would not be the same run.
FIELDS = ("method", "knobs", "events", "steps", "target", "named", "model", "photo", "picture", "versions")


@dataclass(frozen=True)
class SynthesisRecord:
    """What it takes to make a picture again.

    Attributes:
        method: id of the synthesizer. ``knobs``: its hyper-parameters at the beginning, by name.
        events: what was moved while it ran, each (first step made with it, name, old value, new value).
        steps: how many steps were done.
        target: the fields of a ``Target``, or the text of an ``objective``, or ``None`` for methods without one.
        named: it in words.
        model: name, input (shape) and weights (a digest) of the network.
        photo: name and digest of the photo, or ``None``.
        picture: a digest of the picture that was made. ``versions``: of what it depends on.
    """

    method: str
    knobs: Mapping[str, Any]
    steps: int
    events: tuple[tuple[int, str, Any, Any], ...] = ()
    target: Mapping[str, Any] | None = None
    named: str = ""
    model: Mapping[str, Any] = field(default_factory=dict)
    photo: Mapping[str, str] | None = None
    picture: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the record as JSON text."""
        found = {"format": FORMAT, "version": VERSION, **{name: getattr(self, name) for name in FIELDS}}
        return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"

    @property
    def made(self) -> Any:
        """The method as it began.

        Raises:
            UnknownMethod, InvalidKnob: there is none such, or a hyper-parameter is outside its domain.
        """
        return _card(self.method).make(**self.knobs)


def picture_digest(result: Synthesis) -> str:
    """Return 16 digits that stand for the exact picture, every bit of it."""
    image = np.ascontiguousarray(result.image)
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()[:16]


def synthesis_record(model: Model, result: Synthesis, image: Any = None) -> SynthesisRecord:
    """Return what it takes to make a result again.

    Args:
        model: the network that it was made with.
        result: any result of a run, whether or not its knobs were moved or it was resumed.
        image: the photo of the run, if it had one that is no sample.

    Raises:
        InvalidRecord: the result does not say how it was made. InvalidImage: a photo is missing, or the run had none.
    """
    state, source = result.state, result.provenance
    knobs = getattr(state, "knobs", None)
    if not isinstance(knobs, dict) or not source.method:
        raise InvalidRecord("result must come from synthesize or a running synthesis; this one does not say its run.")
    if result.step < 1:
        raise InvalidRecord("result must have at least one step behind it; this run has stopped before its first.")
    knobs = dict(knobs)
    for _, name, old, _new in reversed(result.events):  # what was in force at the end, taken back to the beginning
        knobs[name] = old
    return SynthesisRecord(
        method=source.method,
        knobs=knobs,
        steps=result.step,
        events=result.events,
        target=target_fields(state.target),
        named=source.target,
        model={"name": model.name, "input": list(model.input_shape), "weights": weights_digest(model)},
        photo=_photo_fields(source.image, image),
        picture=picture_digest(result),
        versions=dict(source.versions),
    )


def target_fields(goal: Goal) -> dict[str, Any] | None:
    """Return what a goal is as plain values, or ``None`` for none at all."""
    if goal == NOTHING:
        return None
    if isinstance(goal, Objective):
        return {"objective": goal.text}
    if not isinstance(goal, Target):
        raise InvalidRecord(f"target must be a class or a unit to be written down; got a {type(goal).__name__}.")
    return dataclasses.asdict(goal)


def record_target(model: Model, record: SynthesisRecord) -> Goal:
    """Return what a record's picture was made for, on a model.

    Raises:
        InvalidTarget: the network does not have it.
    """
    if record.target is None:
        return NOTHING
    fields = dict(record.target)
    if "objective" in fields:
        return model.objective(parse_objective(fields["objective"], model))
    position = fields.get("position", "mean")
    try:
        found = Target(
            **{
                **fields,
                "classes": tuple(fields.get("classes", ())),
                "position": tuple(position) if isinstance(position, list) else position,
            }
        )
        return model.target(found)
    except TypeError as error:
        raise InvalidTarget(f"target must have the fields of a Target; got {_brief(fields)}.") from error


def record_photo(record: SynthesisRecord, image: Any = None) -> Picture | None:
    """Return the photo that a record's run was given, or ``None``; ``image`` is it, where it is no sample.

    Raises:
        InvalidImage: it is missing, or another photo was given, or one to a run that had none.
    """
    if record.photo is None:
        if image is not None:
            raise InvalidImage(f"image must be left out: the run of {record.method} had no photo.")
        return None
    name, digest = record.photo["name"], record.photo["digest"]
    if image is None:
        if name not in {sample.name for sample in samples()}:
            raise InvalidImage(f"image must be given: the run was made from {name!r}, which is no sample.")
        image = name
    picture = read_picture(image)
    if digest and picture.digest != digest:
        raise InvalidImage(f"image must be the photo of the run, {name!r}; {picture.name!r} has other pixels.")
    return picture


def read_record(source: Any) -> SynthesisRecord:
    """Return the record in JSON text, bytes, a path, a dictionary, or a ``SynthesisRecord``.

    Nothing of it is trusted: its size, its form and every value are checked.

    Raises:
        InvalidRecord: it is none; the message says what is wrong.
        UnknownMethod, InvalidKnob: no such synthesizer, or hyper-parameters that it does not take.
    """
    if isinstance(source, SynthesisRecord):
        return source
    if isinstance(source, os.PathLike):
        with Path(source).open("rb") as file:
            source = file.read(MOST_BYTES + 1)
    found = source if isinstance(source, dict) else _parsed(source)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InvalidRecord(f"record must be one that Save run has written, with format {FORMAT!r}.")
    if found.get("version") != VERSION:
        raise InvalidRecord(f"record must be of version {VERSION}; got version {_brief(found.get('version'))}.")
    record = SynthesisRecord(
        method=_text(found, "method"),
        knobs=_knobs(found.get("knobs")),
        steps=_count(found.get("steps")),
        events=_events(found.get("events", [])),
        target=_target(found.get("target")),
        named=_text(found, "named", ""),
        model=_about_model(found.get("model")),
        photo=_photo(found.get("photo")),
        picture=_text(found, "picture", ""),
        versions={str(k)[:80]: str(v)[:80] for k, v in _mapping(found.get("versions", {}), "versions").items()},
    )
    planned(record.made, record.events)
    if record.photo is not None and not _card(record.method).uses_photo(record.knobs):
        raise InvalidRecord(f"photo must be null: {record.method} with these knobs makes nothing of a photo.")
    if record.events and record.events[-1][0] > record.steps:
        raise InvalidRecord(f"events must lie within the {record.steps} steps; got step {record.events[-1][0]}.")
    return record


def differences(model: Model, record: SynthesisRecord) -> tuple[str, ...]:
    """Return in words why a replay on this model may give another picture; nothing if it should not.

    Raises:
        InvalidModel: the network takes other inputs, so that it cannot be made at all.
    """
    shape = record.model.get("input")
    if shape is not None and tuple(shape) != model.input_shape:
        raise InvalidModel(
            f"model must take inputs of {'×'.join(map(str, shape))}, as {record.model.get('name', 'that of the run')} "
            f"did; {model.name} takes {'×'.join(map(str, model.input_shape))}."
        )
    weights = record.model.get("weights")
    if weights and weights != weights_digest(model):
        return (f"The run was made with other weights, those of {record.model.get('name')}.",)
    return ()


def replay_synthesis(model: Model, record: Any, image: Any = None) -> Synthesis:
    """Make the picture of a record again, bit for bit on the machine where it was made; its notes say if it differs.

    Args:
        model: the network of the run.
        record: from ``synthesis_record``, or its JSON as text, bytes, dictionary or path.
        image: the photo of the run, if it had one that is no sample.

    Raises:
        XaiError: one of its kinds, naming what does not fit.
    """
    return last(replay_synthesis_steps(model, record, image))  # type: ignore[no-any-return]


def replay_synthesis_steps(model: Model, record: Any, image: Any = None) -> Iterator[Synthesis]:
    """Yield every picture of a record's run; see ``replay_synthesis``. Closing the generator cancels the work."""
    found = read_record(record)
    notes = differences(model, found)
    method, photo = found.made, record_photo(found, image)
    check_applicable(method, model)
    start = None if photo is None else model.input(photo)
    run = drive(method, model, start, record_target(model, found), photo.name if photo is not None else "")
    steps = replayed(run, method, found.events)
    try:
        for result in steps:
            over = result.step >= found.steps or result.progress >= 1
            told = notes
            if over and found.picture and picture_digest(result) != found.picture and not notes:
                told = (told_difference(found),)
            yield result.replace(notes=(*result.notes, *told))
            if over:
                return
    finally:
        steps.close()


def told_difference(record: SynthesisRecord) -> str:
    """Return what is said of a replay that made another picture with the same weights."""
    made = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    return f"The picture differs from that of the record: another machine or other versions ({made}) round otherwise."


# -- reading what may have been written by anybody --------------------------------------------------------------------


def _parsed(source: Any) -> Any:
    if isinstance(source, (bytes, bytearray, memoryview)):
        raw = bytes(source)
    elif isinstance(source, str):
        raw = source.encode("utf-8", "surrogatepass")
    else:
        raise InvalidRecord(f"record must be JSON text, bytes, a path or a dictionary; got {type(source).__name__}.")
    if len(raw) > MOST_BYTES:
        raise InvalidRecord(f"record must be at most {MOST_BYTES // 1024} kB; got {len(raw) / 1024:,.0f} kB.")
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except InvalidRecord:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidRecord(f"record must be JSON text in UTF-8; {_brief(str(error))}.") from error


def _no_constant(name: str) -> Any:
    raise InvalidRecord(f"record must hold finite numbers; got {name}.")


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > 200 or not all(isinstance(key, str) for key in value):
        raise InvalidRecord(f"{name} must be a table of values by name; got {_brief(value)}.")
    return value


def _text(found: dict[str, Any], name: str, default: Any = None) -> str:
    value = found.get(name, default)
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise InvalidRecord(f"{name} must be text of at most {LONGEST_TEXT} characters; got {_brief(value)}.")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_STEPS:
        raise InvalidRecord(f"steps must be a whole number from 1 to {MOST_STEPS:,}; got {_brief(value)}.")
    return value


def _scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (bool, int)) or (isinstance(value, str) and len(value) <= 20_000)


def _knobs(value: Any) -> dict[str, Any]:
    knobs = _mapping(value, "knobs")
    for name, setting in knobs.items():
        if not _scalar(setting):
            raise InvalidRecord(f"knobs must be numbers, words or switches; {name!r} is {_brief(setting)}.")
    return knobs


def _events(value: Any) -> tuple[tuple[int, str, Any, Any], ...]:
    if not isinstance(value, (list, tuple)) or len(value) > MOST_EVENTS:
        raise InvalidRecord(f"events must be a list of at most {MOST_EVENTS:,} changes; got {_brief(value)}.")
    if not all(isinstance(e, (list, tuple)) and len(e) == 4 and all(map(_scalar, e)) for e in value):
        raise InvalidRecord("events must each be [step, name, old value, new value].")
    return tuple((e[0], e[1], e[2], e[3]) for e in value)


def _target(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    fields = _mapping(value, "target")
    if "objective" in fields:
        if len(fields) > 1 or not isinstance(fields["objective"], str) or len(fields["objective"]) > LONGEST_OBJECTIVE:
            raise InvalidRecord(f"objective of the target must be text and stand alone; got {_brief(fields)}.")
        return fields
    known = {f.name for f in dataclasses.fields(Target)}
    if not set(fields) <= known:
        raise InvalidRecord(f"target must have fields of {', '.join(sorted(known))}; got {_brief(sorted(fields))}.")
    for name in ("layer", "name", "output"):
        _text(fields, name, "")
    listed = fields.get("classes", [])
    if not isinstance(listed, (list, tuple)) or len(listed) > 10_000 or not all(isinstance(n, int) for n in listed):
        raise InvalidRecord(f"classes of the target must be a list of indices; got {_brief(listed)}.")
    return fields


def _about_model(value: Any) -> dict[str, Any]:
    about = _mapping(value if value is not None else {}, "model")
    shape = about.get("input")
    if shape is not None and (
        not isinstance(shape, (list, tuple)) or len(shape) != 3 or not all(isinstance(n, int) for n in shape)
    ):
        raise InvalidRecord(f"input of the model must be [channels, height, width]; got {_brief(shape)}.")
    return {
        "name": _text(about, "name", ""),
        "input": None if shape is None else list(shape),
        "weights": _text(about, "weights", ""),
    }


def _photo(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    fields = _mapping(value, "photo")
    return {"name": _text(fields, "name"), "digest": _text(fields, "digest", "")}


def _photo_fields(name: str, image: Any) -> dict[str, str] | None:
    if not name:
        if image is not None:
            raise InvalidImage("image must be left out: the run had no photo.")
        return None
    if image is None and name not in {sample.name for sample in samples()}:
        raise InvalidImage(f"image must be given: the run was made from {name!r}, which is no sample.")
    return {"name": name, "digest": read_picture(name if image is None else image).digest}


def _card(method: str) -> Any:
    found = card(method)
    if found.kind != "synthesizer":
        raise InvalidRecord(f"method must be a synthesizer; {method!r} is an {found.kind}.")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise InvalidRecord(f"a record holds numbers, words and lists; got a {type(value).__name__}.")


def _brief(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
