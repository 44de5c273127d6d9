"""How a tool starts and how it fails: one message and exit status 2 for a user's mistake, no traceback."""

import argparse
import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from segdla.errors import PeerError, UserError

_PATIENCE = 4.0  # seconds


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with the options that every tool has."""
    made = _Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return made


def positive(word: str) -> int:
    """An argument that is a number of pixels."""
    if not word.isdecimal() or int(word) == 0:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number above 0")
    return int(word)


def run(main: Callable[[argparse.Namespace], int], made: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Parse and run; returns the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text; stderr does so by itself
    try:
        return main(made.parse_intermixed_args(argv))
    except PeerError:
        return 2
    except UserError as error:
        if "--debug" in (sys.argv if argv is None else argv):
            raise
        if int(os.environ.get("RANK", 0)) > 0:
            time.sleep(_PATIENCE)  # most mistakes are every process's: the first says it, and torchrun ends the others
        complain(error)
        return 2
    except KeyboardInterrupt:
        return 130


def complain(error: UserError) -> None:
    """Say on stderr, in the tool's name, what went wrong."""
    print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
