"""Signals that ask a process to end: Ctrl-C, kill, a cluster that wants its machine back, a terminal that goes away."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

HANG_UP = getattr(signal, "SIGHUP", None)
"""The signal of a terminal that goes away; None on Windows."""
NOTICE = getattr(signal, "SIGUSR1", None)
"""The signal by which Slurm says, if asked to, that a job's time ends soon (``--signal=USR1@60``); None on Windows."""
RESUME = 75
"""The exit status of work that is saved and wants to be resumed: the system's EX_TEMPFAIL, try again later."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, SIGUSR1 or SIGHUP, raised where Ctrl-C raises KeyboardInterrupt, so that everything ends in order."""

    def __init__(self, number: int):
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.status = 128 + number  # of a process that ends so, as shells count


def ending_signals() -> list[int]:
    """Return the signals that ask this process to end; SIGHUP isn't among them if it is ignored, as under nohup."""
    heeds_hang_up = HANG_UP is not None and signal.getsignal(HANG_UP) != signal.SIG_IGN
    others = [NOTICE, HANG_UP if heeds_hang_up else None]
    return [signal.SIGINT, signal.SIGTERM, *(number for number in others if number is not None)]


def exit_status(number: int | None) -> int:
    """Return the exit status of work that a signal stopped.

    SIGTERM and SIGUSR1 come from a machine, which is asked to resume the work; others from a person, who knows.
    """
    return RESUME if number in (signal.SIGTERM, NOTICE) else 130


@contextmanager
def ending_in_order() -> Iterator[None]:
    """While entered, let the first SIGTERM, SIGUSR1 or SIGHUP raise Terminated; workers then end with their owners.

    A second SIGTERM acts as it did before. A second SIGHUP is ignored: a shell and the kernel both send one when a
    terminal goes away.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()
    previous: dict[int, Any] = {}

    def end(number: int, frame: Any) -> None:
        if os.getpid() != owner:  # a forked process, which this context is not for
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        for other, handler in previous.items():
            signal.signal(other, signal.SIG_IGN if other == HANG_UP else handler)
        raise Terminated(number)

    for number in ending_signals():
        if number != signal.SIGINT:  # Python raises KeyboardInterrupt itself
            previous[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def heeding_the_first(stop: Callable[[], None]) -> Iterator[None]:
    """While entered, let the first signal that asks for an end call ``stop``; a second one acts as it did before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def heed(number: int, frame: Any) -> None:
        restore()
        stop()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous = {number: signal.getsignal(number) for number in ending_signals()}
    for number in previous:
        signal.signal(number, heed)
    try:
        yield
    finally:
        restore()
