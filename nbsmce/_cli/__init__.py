"""The command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .. import __version__
from .._warmup import DTYPES


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nbsmce", description="Softmax, cross entropy and their gradients as Numba kernels."
    )
    parser.add_argument("--version", action="version", version=f"nbsmce {__version__}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="")

    info = commands.add_parser("info", help="versions, processor, threads and CUDA: what a bug report needs")
    info.add_argument("--json", action="store_true", help="for a program to read")

    warmup = commands.add_parser("warmup", help="compile the kernels now, for the processes to come")
    warmup.add_argument("functions", nargs="*", metavar="FUNCTION", help="softmax, cross_entropy, ... (default: all)")
    warmup.add_argument("--dtypes", nargs="+", default=DTYPES, metavar="DTYPE", help=f"(default: {' '.join(DTYPES)})")
    warmup.add_argument("--quiet", action="store_true", help="only the exit code: 1 if the code could not be kept")

    cache = commands.add_parser("cache", help="where compiled code is kept")
    cache.add_argument("--clear", action="store_true", help="remove it")
    cache.add_argument("--json", action="store_true", help="for a program to read")

    demo = commands.add_parser("demo", help="train a softmax classifier on handwritten digits and draw what it learned")
    demo.add_argument("--epochs", type=int, default=60, help="how often to go through the digits (default: 60)")
    demo.add_argument("--seed", type=int, default=0, help="of the order and the held-out digits (default: 0)")
    demo.add_argument("--output", default="nbsmce-demo.png", metavar="FILE", help="the picture (default: %(default)s)")
    demo.add_argument("--json", action="store_true", help="the result for a program to read, without progress")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0 if it did what it says."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "info":
        from .info import show

        return show(options.json)
    if options.command == "demo":
        from .demo import run

        return run(options.epochs, options.seed, options.output, options.json)
    if options.command == "warmup":
        from .warmup import warm

        return warm(options.functions, options.dtypes, options.quiet)
    if options.command == "cache":
        from .warmup import cache

        return cache(options.clear, options.json)
    parser.print_help()
    return 0
