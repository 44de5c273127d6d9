"""Options that commands share, and the way a command runs and fails: one message and exit status 2."""

import argparse
import io
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from segdla.errors import PeerError, UserError, one_line, quoted
from segdla.machine.signals import Terminated, ending_in_order
from segdla.machine.terminal import complain, stdout

_PATIENCE = 4.0  # seconds
_LONGEST_MESSAGE = 10_000  # which may hold the values of a file that couldn't be written


class Parser(argparse.ArgumentParser):
    """A parser that raises UserError for a wrong argument, with the options that commands share."""

    def __init__(self, prog: str, description: str):
        super().__init__(prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")
        self.set_defaults(prog=prog)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")

    def add_checkpoint(self, purpose: str) -> None:
        """Add the positional argument for a checkpoint that a command scores or exports."""
        self.add_argument(
            "checkpoint",
            nargs="?",
            metavar="RUN|CHECKPOINT",
            help=f"network to {purpose}, also hf://OWNER/NAME (default: the newest run's)",
        )

    def add_overrides(self, config: str) -> None:
        """Add the positional arguments that change ``config``."""
        self.add_argument("overrides", nargs="*", metavar="section.key=value", help=f"changes to {config}")

    def add_runs(self) -> None:
        self.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")

    def add_device(self) -> None:
        self.add_argument("--device", default="auto", help="device to compute on: auto, cpu, cuda, mps (default: auto)")

    def add_polygons(self) -> None:
        """Add the options that say how polygons are written."""
        group = self.add_argument_group("polygons")
        group.add_argument(
            "--tolerance",
            type=tolerance,
            default=0.5,
            metavar="PIXELS",
            help="how far outlines may run from the edges of pixels; up to 0.5 they restore every pixel, and 0 keeps "
            "the edges (default: 0.5)",
        )
        group.add_argument(
            "--min-pixels",
            type=positive,
            default=1,
            metavar="N",
            help="give regions of fewer pixels the class around them (default: 1, which changes none)",
        )
        group.add_argument(
            "--background", action="store_true", help="label the class background too (default: it has no label)"
        )

    def add_prediction(self) -> None:
        """Add the options that say how an image is predicted."""
        self.add_argument("--multiscale", action="store_true", help="sum the score maps over eval.scales (0.5 to 1.5)")
        self.add_argument("--flip", action="store_true", help="sum the score maps over the mirrored image too")
        self.add_argument(
            "--window",
            type=positive,
            nargs=2,
            metavar=("H", "W"),
            help="see images by overlapping windows (default: the run's eval.window, which is auto unless set: windows "
            "for images above 8.3 megapixels)",
        )


def positive(word: str) -> int:
    """Parse a number of pixels or of images."""
    if not word.isdecimal() or int(word) == 0:
        raise argparse.ArgumentTypeError(f"{quoted(word)} is not a whole number above 0")
    return int(word)


def count(word: str) -> int:
    """Parse a number of things, 0 or more."""
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{quoted(word)} is not a whole number, 0 or more")
    return int(word)


def tolerance(word: str) -> float:
    """Parse a distance in pixels, 0 or more."""
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{quoted(word, 40)} is not a number of pixels, 0 or more")
    return number


def without_checkpoint(args: argparse.Namespace) -> None:
    """Move the first word to the overrides if it is one, so that a checkpoint need not be named before them."""
    if args.checkpoint and "=" in args.checkpoint and not Path(args.checkpoint).exists():
        args.checkpoint, args.overrides = None, [args.checkpoint, *args.overrides]


def run(command: ModuleType, prog: str, argv: Sequence[str] | None = None) -> int:
    """Parse the arguments of a command and run it; return the exit status. ``prog`` names the command in messages."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text; stderr does so by itself
    try:
        status = _run(command, prog, sys.argv[1:] if argv is None else list(argv))
    finally:
        stdout.flush()  # else Python does so at exit, and complains about what can't be written
    if status and _is_in_a_group():
        # After an error the group is still there, and a thread of gloo may have yet to free the tensors of the last
        # broadcast. It needs Python's lock for that, and asking for the lock while Python ends aborts the process.
        sys.stderr.flush()
        os._exit(status)
    return status


def _is_in_a_group() -> bool:
    distributed = sys.modules.get("torch.distributed")  # who has not imported it has joined none
    return distributed is not None and distributed.is_initialized()


def _run(command: ModuleType, prog: str, words: list[str]) -> int:
    try:
        parser = Parser(prog, command.DESCRIPTION)
        command.add_arguments(parser)
        with ending_in_order():
            return command.main(parser.parse_intermixed_args(words))
    except PeerError:
        # The process that says it may itself wait first, and torchrun would end it together with this one.
        time.sleep(2 * _PATIENCE)
        return 2
    except UserError as error:
        if "--debug" in words:
            raise
        if int(os.environ.get("RANK", 0)) > 0:
            time.sleep(_PATIENCE)  # most mistakes are every process's: the first says it, and torchrun ends the others
        complain(prog, one_line(error, _LONGEST_MESSAGE))
        return 2
    except Exception as error:
        from segdla.machine.out_of_memory import is_out_of_memory  # imports torch

        if "--debug" in words or not is_out_of_memory(error):
            raise
        complain(
            prog, f"out of memory: {one_line(error) or 'the host has none left'}; free some, or give it less to do"
        )
        return 2
    except Terminated as signal:
        complain(prog, signal)
        return signal.status
    except KeyboardInterrupt:
        return 130
