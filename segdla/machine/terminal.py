"""The terminal: one console, progress bars on it, and a line now and then if it isn't a terminal.

Nothing that is printed can end a command: once stdout takes no more, the command continues in silence.
"""

import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import IO, TypeVar, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track
from rich.table import Table

Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 20
"""Time between lines of progress if there is no terminal to draw a bar on."""
_WIDEST = 500  # columns of a table that no terminal bounds


class Stdout:
    """The stdout of the moment, which may be lost: its reader ends, its disk is full, its terminal goes away.

    The first error is told on stderr; what is printed after it goes nowhere.
    """

    @property
    def stream(self) -> IO[str] | None:
        # A progress bar puts a proxy in stdout's place, which prints on the console, and so through here again.
        return getattr(sys.stdout, "rich_proxied_file", sys.stdout)

    @property
    def encoding(self) -> str:
        return getattr(self.stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return self.stream is not None and self.stream.isatty()

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("fileno")
        return self.stream.fileno()

    def write(self, text: str) -> int:
        if self.stream is not None:
            try:
                self.stream.write(text)
            except OSError as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        if self.stream is not None:
            try:
                self.stream.flush()
            except OSError as error:
                self._lose(error)

    def _lose(self, error: OSError) -> None:
        """Let stdout lead nowhere, with what it still holds, which Python would try to write again at exit."""
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
        stderr = getattr(sys.stderr, "rich_proxied_file", sys.stderr)  # the proxy leads here again
        complain("segdla", f"cannot write to stdout: {error.strerror or error}; going on in silence", stderr)


stdout = Stdout()
console = Console(file=cast(IO[str], stdout), highlight=False, markup=False)  # names may hold brackets


def complain(name: str, message: object, file: IO[str] | None = None) -> None:
    """Print a line on stderr, or in a file, in the name of a command; do nothing if that can't be written."""
    with suppress(OSError):
        print(f"{name}: {message}", file=file or sys.stderr, flush=True)


def say(message: str) -> None:
    """Print a line, which is not broken at the terminal's width."""
    console.print(message, soft_wrap=True)


def show(table: Table) -> None:
    """Print a table: as wide as a terminal, or as it needs to be in a file or a pipe."""
    if not console.is_terminal:
        console.width = _WIDEST
    console.print(table)


@contextmanager
def in_silence() -> Iterator[None]:
    """Print nothing within."""
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before


def progress(items: Iterable[Item], description: str) -> Iterator[Item]:
    """Yield the items, with a progress bar if there is a terminal."""
    return iter(track(items, description, console=console, transient=True, disable=not console.is_terminal))


@contextmanager
def growing_progress(total: int, description: str) -> Iterator[Callable[[int, int], None]]:
    """Yield ``tick(done, more)``: it advances a progress bar by ``done`` and its total by ``more``.

    Without a terminal, it prints a line now and then.
    """
    count = 0
    start = last_line = time.monotonic()
    bar = Progress(
        TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn(None), TextColumn("left"),
        TimeRemainingColumn(), console=console, disable=not console.is_terminal, expand=True, transient=True,
    )  # fmt: skip

    def tick(done: int, more: int) -> None:
        nonlocal total, count, last_line
        total, count = total + more, count + done
        bar.update(task, total=total, completed=count)
        if not console.is_terminal and time.monotonic() - last_line > SECONDS_BETWEEN_LINES:
            last_line = time.monotonic()
            seconds = (last_line - start) * (total - count) / max(1, count)
            say(f"{description}: {count} of {total}, {duration(seconds)} left")

    with bar:
        task = bar.add_task(description, total=total)
        yield tick


def duration(seconds: float) -> str:
    """Return a time as hours:minutes:seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def rough_duration(seconds: float) -> str:
    """Return a time in words, to two digits or so: ``40 s``, ``50 min``, ``1 h 20 min``, ``3 days 4 h``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 75:
        return f"{minutes} min"
    if minutes < 48 * 60:
        hours, minutes = divmod(round(minutes / 10) * 10, 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(minutes / 60), 24)
    return f"{days} days {hours} h" if hours else f"{days} days"


def clock(seconds: float) -> str:
    """Return the time of day in some seconds, with the day if that is not today."""
    now = datetime.now().astimezone()
    then = now + timedelta(seconds=seconds)
    days = (then.date() - now.date()).days
    return then.strftime("%H:%M" if days == 0 else "%H:%M on %A" if days < 7 else "%H:%M on %d %B")
