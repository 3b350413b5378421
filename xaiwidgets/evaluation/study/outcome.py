"""What the answers to a study add up to."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xaiwidgets.core.scores import mean_and_interval
from xaiwidgets.errors import InvalidKnob
from xaiwidgets.evaluation.study.plan import TRUST, chance
from xaiwidgets.evaluation.study.reliability import krippendorff_alpha

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from os import PathLike

    from xaiwidgets.evaluation.study.answers import AnswerFile
    from xaiwidgets.evaluation.study.plan import Study

ALL = "all"


@dataclass(frozen=True)
class Line:
    """One answer with its truth: rater, when it was asked, about what, what was said, and what that counts.

    ``option`` is the number of the option in the study (0 is the right one), ``first`` the one that stood leftmost;
    for two maps 0 is the better network's. ``score`` is 0 or 1, or -2 to 2; for an attention check it is whether it was
    passed.
    """

    rater: int
    place: int
    item: str
    picture: str
    group: str
    check: bool
    first: int
    choice: int
    answer: str
    score: float
    seconds: float


@dataclass(frozen=True)
class Summary:
    """One method, or all: mean score over items with its 95 % bootstrap interval, and how likely guessing gives it.

    ``p`` is two-sided, by ``test``: ``binomial`` over all answers, against the share that is right by chance, or
    ``Wilcoxon`` over the items' mean scores, against 0; NaN before there is an answer. Where items have unequally
    many options, the binomial test takes their mean chance.
    """

    group: str
    items: int
    answers: int
    mean: float
    low: float
    high: float
    chance: float
    test: str
    p: float
    seconds: float


class StudyResults:
    """Lines, one for each answer, and what they add up to.

    Attributes:
        lines: all answers of all raters. ``summaries``: of each group, and of all.
        alpha: Krippendorff's, for two or more raters: ordinal in mode ``model``, else nominal.
        attention: share of attention checks passed, by rater.
    """

    def __init__(
        self, mode: str, lines: Iterable[Line], summaries: Iterable[Summary], alpha: float, facts: dict[str, Any]
    ) -> None:
        self.mode, self.lines, self.summaries = mode, tuple(lines), tuple(summaries)
        self.alpha, self.facts = alpha, facts

    @property
    def overall(self) -> Summary:
        """The summary of all methods."""
        return self.summaries[-1]

    @property
    def attention(self) -> dict[int, float]:
        """Share of attention checks that each rater has passed; raters who had none are not there."""
        passed: dict[int, list[float]] = {}
        for line in self.lines:
            if line.check:
                passed.setdefault(line.rater, []).append(line.score)
        return {rater: float(np.mean(values)) for rater, values in passed.items()}

    def csv(self) -> str:
        """Return one line for each answer, with a head."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(Line.__dataclass_fields__)
        writer.writerows([_safe(value) for value in asdict(line).values()] for line in self.lines)
        return text.getvalue()

    def json(self) -> str:
        """Return everything as JSON; numbers that are not defined become null."""
        found = {
            "mode": self.mode,
            "facts": {name: _number(value) for name, value in self.facts.items()},
            "alpha": _number(self.alpha),
            "summaries": [{name: _number(value) for name, value in asdict(one).items()} for one in self.summaries],
            "answers": [asdict(line) for line in self.lines],
        }
        return json.dumps(found, indent=1, allow_nan=False)

    def save(self, path: str | PathLike[str]) -> None:
        """Write ``.csv`` (the answers) or ``.json`` (everything), by the ending of ``path``.

        Raises:
            InvalidKnob: another ending.
        """
        target = Path(path)
        if target.suffix not in (".csv", ".json"):
            raise InvalidKnob(f"path must end in .csv or .json; got {target.name!r}.")
        target.write_text(self.csv() if target.suffix == ".csv" else self.json(), "utf-8")

    def __repr__(self) -> str:
        head = ("method", "items", "answers", "mean", "95 % interval", "chance", "p", "test")
        rows = [head, *map(_words, self.summaries)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        if not math.isnan(self.alpha):
            lines.append(f"Krippendorff's alpha: {self.alpha:.2f}")
        return "\n".join(lines)


def study_results(study: Study, files: Sequence[AnswerFile]) -> StudyResults:
    """Return what the raters' answers add up to.

    Attention checks are in the table, and not in the summaries. With several raters, items are what is drawn anew for
    the interval, each with its mean over raters: raters who see the same item do not count as independent.

    Raises:
        InvalidKnob: answers to another study, or one rater twice.
    """
    if any(one.study.digest != study.digest for one in files):
        raise InvalidKnob("files must be answers to this study; some are to another one.")
    raters = [one.rater for one in files]
    if len(set(raters)) < len(raters):
        raise InvalidKnob(f"files must be of different raters; got {raters}.")
    lines = [_line(study, one, number) for one in files for number in range(len(one.answers))]
    counted = [line for line in lines if not line.check]
    groups = list(dict.fromkeys(item.group for item in study.items if not item.check))
    found = [_summary(study, name, [line for line in counted if line.group == name]) for name in groups]
    if len(groups) != 1:
        found.append(_summary(study, ALL, counted))
    return StudyResults(study.mode, lines, found, _alpha(study, files), dict(study.facts))


def read_csv(path: str | PathLike[str]) -> tuple[Line, ...]:
    """Return the lines of a file that ``StudyResults.save`` has written.

    Raises:
        InvalidKnob: it is not one.
    """
    with Path(path).open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != tuple(Line.__dataclass_fields__):
            raise InvalidKnob(f"path must be a CSV file of answers; {path} has the columns {reader.fieldnames}.")
        return tuple(_read(row) for row in reader)


def _read(row: dict[str, str]) -> Line:
    return Line(
        rater=int(row["rater"]),
        place=int(row["place"]),
        item=row["item"],
        picture=_plain(row["picture"]),
        group=_plain(row["group"]),
        check=row["check"] == "True",
        first=int(row["first"]),
        choice=int(row["choice"]),
        answer=_plain(row["answer"]),
        score=float(row["score"]),
        seconds=float(row["seconds"]),
    )


def _line(study: Study, file: AnswerFile, number: int) -> Line:
    answer, trial = file.answers[number], file.trials[number]
    item = study.items[trial.item]
    said = TRUST[answer.choice - 1] if study.mode == "model" else item.options[study.option(trial, answer.choice)]
    score = float(study.attentive(trial, answer.choice)) if item.check else study.score(trial, answer.choice)
    return Line(
        answer.rater, answer.place, item.key, item.picture, item.group, item.check, trial.turn, answer.choice, said,
        score, answer.seconds,
    )  # fmt: skip


def _summary(study: Study, group: str, lines: list[Line]) -> Summary:
    items: dict[str, list[float]] = {}
    for line in lines:
        items.setdefault(line.item, []).append(line.score)
    means = [float(np.mean(values)) for values in items.values()]
    mean, interval = mean_and_interval(means, seed=study.seed)
    low, high = (math.nan, math.nan) if interval is None else interval
    guess = chance(study, "" if group == ALL else group)
    test, p = _test(study, means, lines, guess)
    seconds = float(np.median([line.seconds for line in lines])) if lines else math.nan
    return Summary(group, len(items), len(lines), mean, low, high, guess, test, p, seconds)


def _test(study: Study, means: list[float], lines: list[Line], guess: float) -> tuple[str, float]:
    from scipy import stats

    if study.mode == "model":
        if not means:
            return "Wilcoxon", math.nan
        if not any(means):
            return "Wilcoxon", 1.0  # nobody preferred either
        return "Wilcoxon", float(stats.wilcoxon(means).pvalue)
    if not lines:
        return "binomial", math.nan
    return "binomial", float(stats.binomtest(sum(line.score == 1 for line in lines), len(lines), guess).pvalue)


def _alpha(study: Study, files: Sequence[AnswerFile]) -> float:
    if len(files) < 2:
        return math.nan
    table = np.full((len(files), len(study.items)), np.nan)
    for row, file in zip(table, files, strict=True):
        for answer, trial in zip(file.answers, file.trials, strict=False):
            if not study.items[trial.item].check:
                row[trial.item] = (
                    study.score(trial, answer.choice) if study.mode == "model" else study.option(trial, answer.choice)
                )
    return krippendorff_alpha(table, "ordinal" if study.mode == "model" else "nominal")


def _words(one: Summary) -> tuple[str, ...]:
    interval = "" if math.isnan(one.low) else f"{one.low:.2f} to {one.high:.2f}"
    mean, p = ("" if math.isnan(value) else f"{value:.3g}" for value in (one.mean, one.p))
    return one.group, str(one.items), str(one.answers), mean, interval, f"{one.chance:.2g}", p, one.test


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _safe(value: Any) -> Any:
    """Return a cell that a spreadsheet takes as text: labels and file names may begin like a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "'", "\t") else value


def _plain(cell: str) -> str:
    return cell.removeprefix("'")
