"""The ``xaiwidgets`` command: serve an app, explain one photo, list the methods."""

from __future__ import annotations

import argparse
import secrets
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from xaiwidgets.errors import XaiError
from xaiwidgets.serving import evaluating
from xaiwidgets.serving.knob_words import parse_knobs
from xaiwidgets.serving.server import Settings, is_loopback, notebook_path, serve

if TYPE_CHECKING:
    from collections.abc import Sequence


#: Command, notebook, title.
APPS = {
    "explore": ("explorer", "Explorer"),
    "synthesis": ("synthesislab", "Synthesis"),
    "compare": ("compare", "Compare"),
    "trust": ("trustlab", "TrustLab"),
    "study": ("study", "Study"),
}
#: Command, what it serves.
SERVED = {
    "explore": "serve the Explorer",
    "synthesis": "serve the laboratory of pictures made by optimization",
    "compare": "serve the comparison of methods side by side",
    "trust": "serve the laboratory of tests",
    "study": "serve a study in which people judge maps",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 when the request cannot be met as given."""
    args = build_parser().parse_args(argv)
    commands = {"explain": run_explain, "methods": run_methods, **evaluating.COMMANDS}
    try:
        return commands.get(args.command, run_serve)(args)
    except (XaiError, OSError) as error:
        sys.stderr.write(f"xaiwidgets: {' '.join(str(error).split())}\n")
        return 2
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="xaiwidgets",
        description="Visual explanations that run live on your PyTorch model. Without a command: serve the Explorer.",
    )
    parser.add_argument("--version", action="version", version=f"xaiwidgets {_version()}")
    _add_serve_options(parser)
    commands = parser.add_subparsers(dest="command", metavar="command")
    for name, text in SERVED.items():
        # Its own defaults would overwrite what stands before the command: xaiwidgets --port 8000 synthesis.
        _add_serve_options(commands.add_parser(name, help=text, argument_default=argparse.SUPPRESS))
    explain = commands.add_parser("explain", help="explain one photo and write the picture")
    explain.add_argument("photo", help="a path, or the name of a bundled photo such as coffee")
    explain.add_argument("--method", required=True, metavar="ID", help="see: xaiwidgets methods")
    explain.add_argument("--layer", help="for methods that look at a layer")
    explain.add_argument("--target", help="class index, label or WordNet id; default: the top class")
    explain.add_argument("--model", metavar="NAME", help="bundled name, torchvision:NAME or timm:NAME")
    explain.add_argument("-k", "--knob", action="append", default=[], metavar="NAME=VALUE", help="a hyper-parameter")
    explain.add_argument(
        "--budget", type=float, metavar="SECONDS", help="lower counts, or widen strides, to take no longer than this"
    )
    explain.add_argument("-o", "--output", required=True, help=".png, .svg, .pdf, or .npz for the numbers")
    commands.add_parser("methods", help="list the methods")
    evaluating.add_parsers(commands)
    return parser


def _add_serve_options(parser: argparse.ArgumentParser) -> None:
    def default(value: Any) -> Any:
        return value if parser.argument_default is None else argparse.SUPPRESS

    add = parser.add_argument
    add("--no-browser", action="store_true", default=default(False), help="do not open a browser")
    add("--port", type=_port, default=default(0), help="default: a free one")
    add("--host", default=default("127.0.0.1"), help="address to listen on (default 127.0.0.1: this machine only)")
    add("--theme", choices=("light", "dark"), default=default("light"))
    add("--preheat", action="store_true", default=default(False), help="keep one warm kernel ready (more memory)")
    add(
        "--token",
        nargs="?",
        const="",
        default=default(None),
        metavar="SECRET",
        help="ask visitors for this secret, or for one that is made; always on when --host is not this machine",
    )


def run_serve(args: argparse.Namespace) -> int:
    """Serve an app until Ctrl-C."""
    name, title = APPS[args.command or "explore"]
    token = args.token or ""
    if not token and (args.token is not None or not is_loopback(args.host)):
        token = secrets.token_urlsafe(24)
    serve(
        Settings(
            notebook=notebook_path(name),
            title=title,
            host=args.host,
            port=args.port,
            token=token,
            theme=args.theme,
            preheat=args.preheat,
            browser=not args.no_browser,
        )
    )
    return 0


def run_explain(args: argparse.Namespace) -> int:
    """Explain one photo and write the figure, or the numbers; print what the map adds up to, where that is defined."""
    from xaiwidgets.core.cards import card

    method = card(args.method).make(**parse_knobs(card(args.method), args.knob, args.layer))

    import xaiwidgets as xw

    model = xw.load_model(args.model) if args.model else xw.load_model()
    if args.budget is not None:
        method = xw.within(model, method, args.budget)
        sys.stdout.write(f"{xw.cost(model, method)}\n")
    target = int(args.target) if args.target and args.target.isdecimal() else args.target
    result = xw.explain(model, args.photo, method, target=target)
    # The map belongs to what the model saw of the photo, which is its middle square for most models.
    seen = model.to_pixels(model.input(args.photo)).clip(0, 1)
    result.save(args.output, seen)
    from xaiwidgets.render.receipt import lines

    sys.stdout.write("".join(f"{line}\n" for line in lines(result)))
    return 0


def run_methods(args: argparse.Namespace) -> int:
    """List the methods, one line each."""
    from xaiwidgets.core.cards import FAMILIES, cards

    rows = [("id", "title", "family", "paper", "knobs (with their defaults)")]
    for of in cards():
        knobs = " ".join(f"{k.name}={k.default!r}" for k in of.knobs) or "–"
        rows.append((of.id, of.title, FAMILIES[of.family], of.paper, knobs))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        head = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        sys.stdout.write(f"{head}  {row[4]}\n")
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"port must be a whole number from 0 (a free one) to 65535; got {text!r}")
    return int(text)


def _version() -> str:
    try:
        return version("xaiwidgets")
    except PackageNotFoundError:
        return "(run from a checkout, not installed)"


if __name__ == "__main__":
    sys.exit(main())
