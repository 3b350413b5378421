"""``xaiwidgets evaluate`` and ``xaiwidgets metrics``: tests of explanations without a notebook."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import InvalidKnob
from xaiwidgets.serving.knob_words import parse_knobs

if TYPE_CHECKING:
    import argparse


def add_parsers(commands: Any) -> None:
    """Add both commands to the parser."""
    evaluate = commands.add_parser("evaluate", help="test explanations of one photo, or of a folder")
    add = evaluate.add_argument
    add("photos", help="a path, the name of a bundled photo such as coffee, or a folder")
    add("--method", action="append", required=True, metavar="ID", help="may be given several times")
    add("--metric", action="append", required=True, metavar="ID", help="may be given several times: xaiwidgets metrics")
    add("--target", help="class index, label or WordNet id; default: the top class of each photo")
    add("--model", metavar="NAME", help="bundled name, torchvision:NAME or timm:NAME")
    add("--seed", type=int, default=0, help="of all that the metrics draw (default 0)")
    add("-k", "--knob", action="append", default=[], metavar="NAME=VALUE", help="of the method, if there is one only")
    add("-m", "--metric-knob", action="append", default=[], metavar="NAME=VALUE", help="of the metric, likewise")
    add("--resume", metavar="FILE", help="a file of JSON lines: each score is added, and what it has is not run again")
    add("-o", "--output", metavar="FILE", help=".csv or .jsonl for all scores")
    commands.add_parser("metrics", help="list the metrics")


def run_evaluate(args: argparse.Namespace) -> int:
    """Evaluate, show how far it is, print the summary and write the scores."""
    from xaiwidgets.core.cards import card
    from xaiwidgets.core.metric_cards import metric_card

    methods = _made("--method", "-k", args.method, args.knob, card)
    metrics = _made("--metric", "-m", args.metric, args.metric_knob, metric_card)
    if args.output and not args.output.endswith((".csv", ".jsonl")):
        raise InvalidKnob(f"-o must end in .csv or .jsonl; got {args.output!r}.")

    import xaiwidgets as xw

    model = xw.load_model(args.model) if args.model else xw.load_model()
    target = int(args.target) if args.target and args.target.isdecimal() else args.target
    told = -1
    steps = xw.benchmark_steps(model, args.photos, methods, metrics, targets=target, seed=args.seed, path=args.resume)
    for found in steps:
        if len(found) != told:
            told = len(found)
            sys.stderr.write(f"\r{told} of {found.planned}")
            sys.stderr.flush()
    sys.stderr.write("\n")
    sys.stdout.write(f"{found!r}\n")
    for row in found.rows:
        if row.note and row.verdict == "not applicable":
            sys.stdout.write(f"{row.image}, {row.method}, {row.metric}: {row.note}\n")
    if args.output:
        found.save(args.output)
    return 0


def _made(option: str, short: str, ids: list[str], words: list[str], find: Any) -> list[Any]:
    cards = [find(one) for one in ids]
    if words and len(cards) > 1:
        raise InvalidKnob(f"{short} needs a single {option}, whose hyper-parameter it is; got {len(cards)}.")
    return [of.make(**parse_knobs(of, words)) for of in cards]


def run_metrics(args: argparse.Namespace) -> int:
    """List the metrics, one line each."""
    from xaiwidgets.core.metric_cards import metrics

    sys.stdout.write(f"{metrics()!r}\n")
    return 0


#: By command.
COMMANDS = {"evaluate": run_evaluate, "metrics": run_metrics}
