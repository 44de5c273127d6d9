"""How a tool starts and how it fails: one message and exit status 2 for a user's mistake, no traceback."""

import argparse
import sys
from collections.abc import Callable, Sequence

from segdla.errors import UserError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with the options that every tool has."""
    made = _Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return made


def run(main: Callable[[argparse.Namespace], int], made: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Parse and run; returns the exit status."""
    args = made.parse_intermixed_args(argv)
    try:
        return main(args)
    except UserError as error:
        if args.debug:
            raise
        print(f"{made.prog}: {error}", file=sys.stderr)
        return 2
