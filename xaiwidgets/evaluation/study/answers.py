"""Answers of one rater, kept in a file of JSON lines on this machine: each is written when it is given."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import InvalidKnob
from xaiwidgets.evaluation.study.plan import MOST_RATERS, check_rater

if TYPE_CHECKING:
    from os import PathLike

    from xaiwidgets.evaluation.study.plan import Study, Trial

#: Longer times are cut: the person was away.
LONGEST = 3600.0


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        rater: number of the rater, who has no name here. ``item``: key of the item. ``place``, ``turn``: as asked.
        choice: which answer, from 1, left to right as the rater saw them.
        seconds: from when the question was shown to when the answer came.
    """

    rater: int
    item: str
    place: int
    turn: int
    choice: int
    seconds: float


class AnswerFile:
    """The answers of one rater to one study, in their order.

    Args:
        study: what is asked.
        rater: 1 to 99.
        path: of the file, made with the first answer; ``None`` keeps them in memory only.

    Raises:
        InvalidKnob: no such rater, or the file is of another study or rater, or none of these.
    """

    def __init__(self, study: Study, rater: int = 1, path: str | PathLike[str] | None = None) -> None:
        self.study, self.rater = study, check_rater(rater)
        self.trials = study.order(rater)
        self.path = None if path is None else Path(path)
        self.answers: list[Answer] = []
        if self.path is not None and self.path.exists():
            self._read(self.path)

    @property
    def done(self) -> bool:
        """Whether all items are answered."""
        return len(self.answers) == len(self.trials)

    @property
    def trial(self) -> Trial | None:
        """The next question, or ``None`` when all are answered."""
        return None if self.done else self.trials[len(self.answers)]

    def give(self, place: int, choice: int, seconds: float) -> Answer:
        """Keep the answer to the question in a place, and write it.

        Raises:
            InvalidKnob: it is not that question's turn (each is answered once), or there is no such answer.
        """
        trial = self.trial
        if trial is None or place != trial.place:
            due = "all are answered" if trial is None else f"question {trial.place + 1} is next"
            raise InvalidKnob(f"place must be that of the next question: {due}; got {place!r}.")
        self.study.score(trial, choice)  # raises where there is no such answer
        if not isinstance(seconds, (int, float)) or not math.isfinite(seconds) or seconds < 0:
            raise InvalidKnob(f"seconds must be a finite number of at least 0; got {seconds!r}.")
        key = self.study.items[trial.item].key
        answer = Answer(self.rater, key, trial.place, trial.turn, choice, round(min(float(seconds), LONGEST), 3))
        if self.path is not None:
            self._write(self.path, answer)
        self.answers.append(answer)
        return answer

    def clear(self) -> None:
        """Forget all answers, also those in the file."""
        self.answers.clear()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _head(self) -> dict[str, Any]:
        return {"study": self.study.digest, "mode": self.study.mode, "rater": self.rater, "items": len(self.trials)}

    def _write(self, path: Path, answer: Answer) -> None:
        new = not path.exists()
        there = 0 if new else path.read_text("utf-8").count("\n") - 1
        if there != len(self.answers):
            raise InvalidKnob(
                f"rater {self.rater} has answered in another page meanwhile ({there} answers in the file, "
                f"{len(self.answers)} here): load this page anew, or choose another rater."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            if new:
                file.write(json.dumps(self._head(), sort_keys=True) + "\n")
            file.write(json.dumps(asdict(answer), sort_keys=True) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _read(self, path: Path) -> None:
        text = path.read_text("utf-8")
        *whole, last = text.split("\n")
        if not whole:  # cut off within the first line: nothing was answered
            path.unlink()
            return
        if _json(whole[0]) != self._head():
            raise InvalidKnob(
                f"path must be a new file, or one with answers of rater {self.rater} to this study; {path} holds "
                "something else. Choose another folder."
            )
        for number, line in enumerate(whole[1:]):
            answer = self._answer(_json(line), number)
            if answer is None:
                raise InvalidKnob(f"line {number + 2} of {path} is no answer to question {number + 1} of this study.")
            self.answers.append(answer)
        if last:  # cut off in the middle of a line
            path.write_text("".join(f"{line}\n" for line in whole), "utf-8")

    def _answer(self, found: Any, number: int) -> Answer | None:
        if not isinstance(found, dict) or set(found) != set(Answer.__dataclass_fields__) or number >= len(self.trials):
            return None
        answer, trial = Answer(**found), self.trials[number]
        asked = self.rater, self.study.items[trial.item].key, trial.place, trial.turn
        if (answer.rater, answer.item, answer.place, answer.turn) != asked:
            return None
        try:
            self.study.score(trial, answer.choice)
        except InvalidKnob:
            return None
        seconds = answer.seconds
        return answer if isinstance(seconds, (int, float)) and 0 <= seconds <= LONGEST else None


def answer_path(folder: str | PathLike[str], study: Study, rater: int) -> Path:
    """Return where the answers of a rater to a study are kept in a folder."""
    return Path(folder) / f"answers-{study.digest}-{check_rater(rater):02d}.jsonl"


def read_answers(folder: str | PathLike[str], study: Study) -> list[AnswerFile]:
    """Return the answers of all raters to a study in a folder."""
    found = []
    for rater in range(1, MOST_RATERS + 1):
        path = answer_path(folder, study, rater)
        if path.exists():
            found.append(AnswerFile(study, rater, path))
    return found


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
