import errno
import io
import os
import pty
import sys

import pytest
from rich.console import Console
from rich.table import Table

from segdla.machine import terminal
from segdla.machine.terminal import duration, growing_progress, progress, rough_duration, say, show


@pytest.fixture
def printed(monkeypatch):
    """The file behind a console of forty columns that is no terminal."""
    file = io.StringIO()
    monkeypatch.setattr(terminal, "console", Console(file=file, width=40, highlight=False, markup=False))
    return file


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0:00:00"), (59.4, "0:00:59"), (59.6, "0:01:00"), (3661, "1:01:01"), (360000, "100:00:00")],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_lines_are_not_broken_and_brackets_are_no_markup(printed):
    say("class [bold] " + "x" * 100)
    assert printed.getvalue() == "class [bold] " + "x" * 100 + "\n"


def test_a_table_is_whole_where_no_terminal_bounds_it(printed):
    table = Table("name")
    table.add_row("x" * 300)
    show(table)
    assert "x" * 300 in printed.getvalue()


def test_without_a_terminal_items_pass_in_silence(printed):
    assert list(progress([3, 1, 2], "reading")) == [3, 1, 2]
    assert printed.getvalue() == ""


def test_without_a_terminal_progress_is_a_line_now_and_then(printed, monkeypatch):
    clock = iter([0.0, 1.0, 30.0, 30.0, 31.0, 60.0, 60.0])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    with growing_progress(2, "predicting") as tick:
        tick(1, 0)  # after a second
        tick(0, 8)  # after 30: a video of nine frames
        tick(1, 0)  # a second later
        tick(3, 0)  # after a minute
    assert printed.getvalue().splitlines() == [
        "predicting: 1 of 10, 0:04:30 left",
        "predicting: 5 of 10, 0:01:00 left",
    ]


def test_on_a_terminal_there_is_a_bar_and_then_nothing(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(terminal, "console", Console(file=file, width=80, force_terminal=True))
    with growing_progress(2, "predicting") as tick:
        tick(2, 1)
    assert "2/3" in file.getvalue() and file.getvalue().endswith("\x1b[2K")  # the line is erased


class Lost(io.StringIO):
    """A stdout whose every byte is refused."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def flush(self):
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC, errno.EIO])
def test_a_stdout_that_is_lost_ends_nothing(monkeypatch, capsys, number):
    monkeypatch.setattr(sys, "stdout", Lost(number))
    say("nobody hears this")
    assert list(progress([3, 1, 2], "reading")) == [3, 1, 2]
    with growing_progress(2, "predicting") as tick:
        tick(2, 0)
    assert f"segdla: cannot write to stdout: {os.strerror(number)}; going on" in capsys.readouterr().err


def test_a_lost_stdout_is_told_once_and_holds_nothing_for_the_exit(monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdout", file)
        say("nobody hears this")
        say("nor this")
    assert capsys.readouterr().err.count("\n") == 1


def test_a_bar_outlives_its_terminal(monkeypatch, capsys):
    terminal_side, our_side = pty.openpty()
    with os.fdopen(our_side, "w", encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdout", file)
        assert terminal.console.is_terminal
        with growing_progress(2, "predicting") as tick:
            os.close(terminal_side)
            tick(1, 0)
            say("nobody sees this")
            tick(1, 0)
    assert "Input/output error; going on in silence" in capsys.readouterr().err


def test_without_stdout_and_stderr_there_is_silence(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    say("nobody hears this")
    monkeypatch.setattr(sys, "stdout", Lost(errno.ENOSPC))
    monkeypatch.setattr(sys, "stderr", Lost(errno.ENOSPC))
    say("nor this")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "1 s"), (89, "89 s"), (95, "2 min"), (3000, "50 min"), (4750, "1 h 20 min"), (7150, "2 h"),
        (36_920, "10 h 20 min"), (172_800, "2 days"), (270_000, "3 days 3 h"),
    ],
)  # fmt: skip
def test_a_rough_duration_is_in_words(seconds, words):
    assert rough_duration(seconds) == words
