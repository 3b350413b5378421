"""Reading the text of objectives: a parser for a small language, safe for text that a stranger sent.

    objective = [-] product {(+ | -) product}
    product   = factor {* factor}
    factor    = {-} (number | "(" objective ")" | class | layer ":" channel [place] | call)
    place     = "@" (mean | max | center | row "," column)
    call      = (logit | probability | log_probability) "(" (class | index) ")"
              | (dream | norm | likeness) "(" layer ")"
              | direction "(" layer ";" channel "=" weight {"," channel "=" weight} [";" power "=" number] ")" [place]
              | (caricature | match) "(" layer ";" photo [";" power "=" number] ")"

Names with blanks or signs, and names that could be numbers, stand in double quotes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from xaiwidgets.errors import InvalidImage, InvalidTarget, did_you_mean
from xaiwidgets.model.objective_algebra import Constant, Objective, add, multiply
from xaiwidgets.model.objective_likeness import Likeness, Resemblance
from xaiwidgets.model.objective_terms import Channel, Direction, Label, Layer
from xaiwidgets.model.samples import find_sample
from xaiwidgets.model.targets import OUTPUTS, POSITIONS

if TYPE_CHECKING:
    from xaiwidgets.model.model import Model

#: A direction with a weight for each of some thousand channels still fits.
LONGEST = 100_000
DEEPEST = 40
MOST_TERMS = 500
CALLS = (*OUTPUTS, "dream", "norm", "likeness", "direction", "caricature", "match")
TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![A-Za-z0-9_.\#])
    |(?P<word>[A-Za-z0-9_.\#]+)
    |(?P<quoted>"(?:[^"\\]|\\.)*")
    |(?P<sign>[-+*():;,=@])
    |(?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
#: Signs that people copy from formulas.
SAME = str.maketrans({"−": "-", "–": "-", "×": "*", "·": "*", "“": '"', "”": '"'})


class Token(NamedTuple):
    """A piece of text: its kind, what it says, and where it starts."""

    kind: str
    text: str
    place: int


def parse_objective(text: str, model: Model | None = None) -> Objective:
    """Return the objective that a text describes, such as ``espresso + 0.5 * blocks.4:12 - norm(blocks.2)``.

    Args:
        text: numbers; classes by name; ``layer:channel``, with ``@center``, ``@max`` or ``@row,column`` where not the
            mean is meant; ``dream(layer)``, ``norm(layer)``, ``direction(layer; 3=1, 8=-0.5)``,
            ``caricature(layer; photo)``, ``match(layer; photo)``, ``likeness(layer)``, ``probability(class)``,
            ``log_probability(class)``; +, -, * and parentheses. Names with blanks stand in quotes.
        model: where classes and layers are looked up; without, that is left for ``Model.objective``.

    Raises:
        InvalidTarget, InvalidLayer: with the place in the text, or the name that the model does not have.
    """
    if not isinstance(text, str):
        raise InvalidTarget(f"text must be a string such as 'espresso + 0.5 * blocks.4:12'; got {type(text).__name__}.")
    if len(text) > LONGEST:
        raise InvalidTarget(f"text must have at most {LONGEST:,} characters; got {len(text):,}.")
    found = Parser(text).objective()
    return found if model is None else found.bind(model)


class Parser:
    """Reads one text from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._tokens(text.translate(SAME))
        self.at = self.terms = 0

    def objective(self) -> Objective:
        """Return what the whole text says."""
        found = self._sum(0)
        if self._now.kind != "end":
            self._refuse("+, -, * or the end")
        return found

    def _sum(self, depth: int) -> Objective:
        if depth > DEEPEST:
            self._refuse(f"at most {DEEPEST} parentheses in each other")
        parts = [self._product(depth)]
        while self._now.text in ("+", "-") and self._now.kind == "sign":
            sign = self._take().text
            part = self._product(depth)
            parts.append(multiply(Constant(-1.0), part) if sign == "-" else part)
        return add(*parts)

    def _product(self, depth: int) -> Objective:
        parts = [self._factor(depth)]
        while self._accept("*"):
            parts.append(self._factor(depth))
        return multiply(*parts)

    def _factor(self, depth: int) -> Objective:
        self.terms += 1
        if self.terms > MOST_TERMS:
            self._refuse(f"at most {MOST_TERMS} terms")
        negative = False
        while self._now.kind == "sign" and self._now.text in ("-", "+"):
            negative ^= self._take().text == "-"
        found = self._atom(depth)
        return multiply(Constant(-1.0), found) if negative else found

    def _atom(self, depth: int) -> Objective:
        if self._accept("("):
            found = self._sum(depth + 1)
            self._expect(")")
            return found
        token = self._now
        if token.kind not in ("number", "word", "quoted"):
            self._refuse("a number, a class, layer:channel, or one of " + ", ".join(f"{c}(…)" for c in CALLS))
        self._take()
        after = self._now.text if self._now.kind == "sign" else ""
        if after == ":":
            self._take()
            channel = self._channel()
            return Channel(self._name(token), channel, self._place())
        if token.kind == "number":
            return Constant(float(token.text))
        if after == "(" and token.kind == "word":
            if token.text not in CALLS:
                self.at -= 1
                self._refuse(f"one of {', '.join(CALLS)} before a parenthesis", did_you_mean(token.text, CALLS))
            self._take()
            return self._call(token.text)
        return Label(self._name(token))

    def _call(self, name: str) -> Objective:
        if name in OUTPUTS:
            token = self._word("a class")
            self._expect(")")
            return Label(self._index(token) if token.kind == "number" else self._name(token), name)
        layer = self._name(self._word("a layer"))
        if name in ("dream", "norm", "likeness"):
            self._expect(")")
            return Likeness(layer) if name == "likeness" else Layer(layer, name)
        self._expect(";")
        if name == "direction":
            weights = [self._weight()]
            while self._accept(","):
                weights.append(self._weight())
            power = self._power()
            return Direction(layer, tuple(weights), power, self._place())
        token = self._word("the name of a photo of the samples")
        photo = self._name(token)
        try:
            find_sample(photo)
        except InvalidImage as error:
            raise InvalidTarget(f"photo must be one of the samples at character {token.place + 1}: {error}") from None
        return Resemblance(layer, photo, name, self._power())

    def _weight(self) -> tuple[int, float]:
        channel = self._index(self._word("a channel"))
        self._expect("=")
        return channel, self._number()

    def _power(self) -> float:
        power = 1.0
        if self._accept(";"):
            if self._word("power").text != "power":
                self.at -= 1
                self._refuse("power")
            self._expect("=")
            power = self._number()
        self._expect(")")
        return power

    def _place(self) -> str | tuple[int, int]:
        if not self._accept("@"):
            return "mean"
        token = self._word("center, max, mean or row,column")
        if token.text in POSITIONS:
            return token.text
        row = self._index(token)
        self._expect(",")
        return row, self._index(self._word("a column"))

    def _channel(self) -> Any:
        token = self._word("a channel")
        return self._index(token) if token.kind == "number" else self._name(token)

    def _index(self, token: Token) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", token.text):
            self.at -= 1
            self._refuse("a whole number")
        return int(token.text)

    def _number(self) -> float:
        negative = self._accept("-")
        token = self._now
        if token.kind != "number":
            self._refuse("a number")
        self._take()
        return -float(token.text) if negative else float(token.text)

    def _word(self, what: str) -> Token:
        if self._now.kind not in ("number", "word", "quoted"):
            self._refuse(what)
        return self._take()

    @staticmethod
    def _name(token: Token) -> str:
        return re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL) if token.kind == "quoted" else token.text

    @property
    def _now(self) -> Token:
        return self.tokens[self.at]

    def _take(self) -> Token:
        self.at += 1
        return self.tokens[self.at - 1]

    def _accept(self, sign: str) -> bool:
        found = self._now.kind == "sign" and self._now.text == sign
        self.at += found
        return found

    def _expect(self, sign: str) -> None:
        if not self._accept(sign):
            self._refuse(sign)

    def _refuse(self, expected: str, hint: str = "") -> NoReturn:
        token = self._now
        got = "the end" if token.kind == "end" else repr(token.text[:40])
        raise InvalidTarget(f"objective must have {expected} at character {token.place + 1}; got {got}.{hint}")

    def _tokens(self, text: str) -> list[Token]:
        found: list[Token] = []
        at = 0
        while not found or found[-1].kind != "end":
            match = TOKEN.match(text, at)
            if match is None:
                rest = text[at:].lstrip()
                raise InvalidTarget(
                    f"objective must be made of names, numbers, + - * ( ) and quotes that are closed; at character "
                    f"{len(text) - len(rest) + 1} there is {rest[:20]!r}."
                )
            kind = match.lastgroup or ""
            found.append(Token(kind, match[kind], match.start(kind)))
            at = match.end()
        return found
