"""Sanity checks of explanation methods, computed here and held against the verdicts that the review prints."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xaiwidgets.core.cards import card
from xaiwidgets.core.metric_cards import metric_card, resolve_metric
from xaiwidgets.core.scores import Limit, mean_and_interval, mean_known
from xaiwidgets.data.scenes import Scene
from xaiwidgets.data.shapes import shapes
from xaiwidgets.errors import InvalidKnob, NotApplicable, XaiError, did_you_mean
from xaiwidgets.evaluation.judge import case_of, judge, method_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from xaiwidgets.model.model import Model

#: The three columns: how they are called, and the metric.
COLUMNS = {
    "weights": ("Model randomization", "model_parameter_randomization"),
    "data": ("Data randomization", "data_randomization"),
    "input": ("Input invariance", "input_invariance"),
}
#: Pixels along the side of a picture, above which a network counts as one of photos.
MOST_SIDE = 64
#: Fitted anew for each set of weights, which takes minutes for a network of photos.
LONG_FIT = ("patternnet", "pattern_attribution")
#: Photos of the bundled network, and shapes, that weights are randomized for.
PHOTOS, SHAPES = ("coffee", "chelsea", "rocket", "flower"), 10


@dataclass(frozen=True)
class Line:
    """A method of the table.

    Attributes:
        title: as the review calls it, with the reference where that matters.
        method: id and hyper-parameters.
        review: its verdicts on weights, data and input, as printed; empty where it reports none.
        why: what explains a verdict here that differs, one sentence.
    """

    title: str
    method: tuple[str, dict[str, Any]]
    review: tuple[str, str, str]
    why: str = ""


PRODUCT = (
    "The order of a product is the picture's only where the distance to the baseline varies most: on digits, and on "
    "shapes from the mean color (rank correlation with it 0.59). On photos (0.44 to 0.50), and from black on shapes "
    "(0.14), the gradient decides more of it."
)
LINES = (
    Line("Gradient", ("saliency", {}), ("Pass", "Pass", "Pass")),
    Line("Gradient × input", ("gradient_x_input", {}), ("Fail", "Fail", "Fail"), PRODUCT),
    Line("SmoothGrad", ("smoothgrad", {"samples": 16}), ("Pass", "Pass", "method dependent"),
         "Of the gradient it passes as the gradient does; of the product with the input it fails."),
    Line("Integrated gradients, from black", ("integrated_gradients", {"baseline": "black", "points": 16}),
         ("Fail", "Fail", "reference dependent"), f"Black moves with the pictures. {PRODUCT}"),
    Line("Integrated gradients, from zero", ("integrated_gradients", {"baseline": "mean", "points": 16}),
         ("Fail", "Fail", "reference dependent"), f"The zero vector does not move with the pictures. {PRODUCT}"),
    Line("Guided backpropagation", ("guided_backprop", {}), ("Fail", "Fail", "Pass")),
    Line("Grad-CAM", ("grad_cam", {}), ("Pass", "Pass", "")),
    Line("Grad-CAM++", ("grad_cam_pp", {}), ("Pass", "Pass", ""),
         "Its channel weights are never negative, so the map follows the total activation of a layer (rank correlation "
         "0.96 to 0.99 on photos), which still knows the picture when the weights after it are random."),
    Line("Score-CAM", ("score_cam", {}), ("Pass", "Pass", ""),
         "Channels are scored as masks over a baseline, and their maps are added: as for Grad-CAM++."),
    Line("Guided Grad-CAM", ("guided_grad_cam", {}), ("Fail", "Fail", ""),
         "Absolute ranks are those of a product with a Grad-CAM that moves or vanishes; the signs of guided "
         "backpropagation stay, and the signed rank correlation with them (0.35 to 0.57). The original Fail is of "
         "Inception v3, by SSIM."),
    Line("PatternNet, linear estimator", ("patternnet", {"estimator": "linear"}), ("", "", "Pass")),
    Line("PatternNet, two-component estimator", ("patternnet", {"estimator": "relu"}), ("", "", "Pass"),
         "Its patterns divide by means of the input, which a shift moves; those of the linear estimator do not."),
    Line("Deep Taylor, root for pixels", ("deep_taylor", {}), ("", "", "reference dependent"),
         "Its rule for the first layer uses the bounds of pixels, which move with the pictures."),
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One verdict.

    Attributes:
        value: the mean over pictures; NaN if there is none. ``interval``: of 95 %. ``verdict``: ours.
        review: the printed one. ``differs``: whether both are verdicts and differ. ``note``: why there is none.
        signed: for the randomizations, the mean signed rank correlation. ``seconds``: what it took.
    """

    value: float
    interval: tuple[float, float] | None
    verdict: str
    review: str
    limit: Limit | None
    note: str = ""
    signed: float = math.nan
    seconds: float = 0.0

    @property
    def differs(self) -> bool:
        """Whether the review prints Pass or Fail, and we find the other: borderline is neither."""
        return (
            self.review in ("Pass", "Fail")
            and self.verdict in ("pass", "fail")
            and (self.review.lower() != self.verdict)
        )

    def words(self) -> str:
        """Return verdict and number with its interval, and in brackets what the review says."""
        printed = f"({'review differs: ' if self.differs else ''}{self.review or 'not reported'})"
        if math.isnan(self.value):
            return f"{self.verdict}: {self.note} {printed}" if self.note else f"{self.verdict} {printed}"
        interval = self.interval
        # of what is alike on all pictures, or one picture, there is none worth a place
        around = "" if interval is None or interval[0] == interval[1] else f", {interval[0]:.3g} to {interval[1]:.3g}"
        return f"{self.verdict} {self.value:.3g}{around} {printed}"


@dataclass(frozen=True)
class Table3:
    """The table as far as it has come.

    Attributes:
        cells: by (title, network, column).
        networks: their names. ``progress``: share of the cells that are there.
    """

    networks: tuple[str, ...]
    cells: dict[tuple[str, str, str], Cell] = field(default_factory=dict)
    progress: float = 0.0
    lines: tuple[Line, ...] = LINES

    @property
    def header(self) -> tuple[str, ...]:
        """Names of the columns of ``rows``."""
        return "method", "network", *(f"{name} (review)" for name, _ in COLUMNS.values()), "why they differ"

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """One row for each method and network that has a cell."""
        found = []
        for line in self.lines:
            for network in self.networks:
                cells = [self.cells.get((line.title, network, column)) for column in COLUMNS]
                if not any(cells):
                    continue
                words = ["" if cell is None else cell.words() for cell in cells]
                told = any(c is not None and (c.differs or (c.verdict == "borderline" and c.review)) for c in cells)
                why = line.why if told else ""
                found.append((line.title, network, *words, why))
        return tuple(found)

    def __repr__(self) -> str:
        rows = [self.header, *self.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.header) - 1)]
        return "\n".join(
            "  ".join((*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1])).rstrip() for row in rows
        )


def table3(**options: Any) -> Table3:
    """Compute the whole table; see ``table3_steps``, whose options these are."""
    table = None
    for table in table3_steps(**options):  # noqa: B007 - the last
        pass
    if table is None:
        raise RuntimeError("a table must be given")
    return table


def table3_steps(
    methods: Sequence[str] | None = None,
    columns: Sequence[str] = tuple(COLUMNS),
    networks: Sequence[str] = ("shapes_gap", "efficientnet_lite0"),
    *,
    count: int | None = None,
    seed: int = 0,
) -> Iterator[Table3]:
    """Yield the review's Table 3 as it grows, with its verdicts beside ours; closing the generator cancels the rest.

    Weights are randomized for shapes and for photos; random labels are learned by a network of digits (and no other:
    the bundled photo network comes without its data); inputs are shifted for both. Thresholds are those of the
    metrics, fixed beforehand.

    Args:
        methods: titles of ``LINES``; ``None`` is all of them.
        columns: of ``weights``, ``data`` and ``input``.
        networks: of ``shapes_gap`` and ``efficientnet_lite0``.
        count: pictures for each network; by default 10 shapes and 4 photos.
        seed: of all that is drawn.

    Raises:
        InvalidKnob: no such method, column or network.
    """
    lines = LINES if methods is None else tuple(_line(title) for title in methods)
    for column in columns:
        if column not in COLUMNS:
            raise InvalidKnob(
                f"columns must be of {', '.join(COLUMNS)}; got {column!r}.{did_you_mean(column, COLUMNS)}"
            )
    known = ("shapes_gap", "efficientnet_lite0")
    for network in networks:
        if network not in known:
            raise InvalidKnob(f"networks must be of {', '.join(known)}; got {network!r}.")
    plain = [column for column in columns if column != "data"]
    asked = [(line, network, column) for column in plain for network in networks for line in lines]
    if "data" in columns:
        asked += [(line, "digits8", "data") for line in lines]
    cells: dict[tuple[str, str, str], Cell] = {}
    shown = (*networks, *(["digits8"] if "data" in columns else []))
    models: dict[str, tuple[Model, list[Any]]] = {}
    for line, network, column in asked:
        if network not in models:
            models[network] = _pictures(network, count)
        steps = _cell(line, column, *models[network], seed)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                cells[line.title, network, column] = end.value
                break
            yield Table3(shown, dict(cells), len(cells) / len(asked), lines)
        yield Table3(shown, dict(cells), len(cells) / len(asked), lines)


def _line(title: str) -> Line:
    for line in LINES:
        if title in (line.title, line.method[0]):
            return line
    names = [line.title for line in LINES]
    raise InvalidKnob(f"methods must be of {', '.join(names)}; got {title!r}.{did_you_mean(title, names)}")


def _pictures(network: str, count: int | None) -> tuple[Model, list[Any]]:
    from xaiwidgets.model.zoo import load_model

    if network == "digits8":
        from xaiwidgets.learned.recipes import train

        model = train("digits8")
        return model, [_digit()]
    if network == "shapes_gap":
        return load_model(network), list(shapes("test", count or SHAPES).scenes())
    return load_model(network), list(PHOTOS[: count or len(PHOTOS)])


def _digit() -> Scene:
    from xaiwidgets.learned.recipes import recipe

    images, labels = recipe("digits8").load("test")
    return Scene(images[0], int(labels[0]), name="a digit")


def _cell(line: Line, column: str, model: Model, pictures: list[Any], seed: int) -> Generator[None, None, Cell]:
    """Return the cell at the end; yields between pieces of work."""
    name = COLUMNS[column][1]
    review = line.review[tuple(COLUMNS).index(column)]
    options: dict[str, dict[str, Any]] = {"weights": {"stages": 8}, "data": {"pictures": 12}, "input": {}}
    metric = resolve_metric(name, **options[column])
    limit = metric_card(name).limit
    if column == "weights" and line.method[0] in LONG_FIT and model.input_shape[1] > MOST_SIDE:
        return Cell(math.nan, None, "not run", review, limit, "its fit takes minutes for each set of weights")
    values, signed, seconds = [], [], 0.0
    try:
        for number, picture in enumerate(pictures):
            method = method_of(*_fitting(line.method, model))
            data = "digits8" if column == "data" else None
            case = case_of(model, picture, method, seed=seed + number, data=data)
            score = None
            for found in judge(metric, case):
                score = found or score
                yield
            if score is None or math.isnan(score.value):
                continue
            values.append(score.value)
            seconds += score.provenance.seconds
            signed.append(float(score.details.get("means", {}).get("spearman_signed", math.nan)))
    except NotApplicable as error:
        return Cell(math.nan, None, "not applicable", review, limit, str(error))
    except XaiError as error:
        return Cell(math.nan, None, "unjudged", review, limit, str(error))
    mean, interval = mean_and_interval(values, seed=seed)
    if limit is None or math.isnan(mean):
        return Cell(mean, interval, "unjudged", review, limit, "no picture gave a number")
    return Cell(mean, interval, limit.judge(mean, interval), review, limit, "", mean_known(signed), seconds)


def _fitting(method: tuple[str, dict[str, Any]], model: Model) -> tuple[str, dict[str, Any]]:
    """Return the method with the hyper-parameters that it has."""
    known = {knob.name for knob in card(method[0]).knobs}
    return method[0], {name: value for name, value in method[1].items() if name in known}
