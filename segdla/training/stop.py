"""Stop in order: on a signal after the running step, and in all processes if one of them meets an error."""

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from segdla.errors import PeerError, UserError
from segdla.machine import distributed
from segdla.machine.signals import HANG_UP, ending_signals
from segdla.machine.terminal import console, say
from segdla.training.state import Plan, Training

Item = TypeVar("Item")
_GO_ON, _END, _FAILED = range(3)


class StopSignal:
    """While entered, turns the first signal that asks for an end into a request to stop; a second acts as before.

    A second SIGHUP is ignored: a shell and the kernel both send one when a terminal goes away. In a process of
    torchrun, a second one of any kind is ignored: torchrun passes on signals that a process has had already, and kills
    a process that takes too long. ``signal`` is the first one, of this process or, once it is ``agreed``, of another.
    ``error`` is the error that ended the items of ``until_stopped``.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.error: UserError | None = None
        self._previous: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """True if this process has had a signal, or knows that another one has."""
        return self.signal is not None

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in ending_signals():
                self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: Any) -> None:
        if self.signal is None:
            self.signal = signal.Signals(number)
            _answer(self.signal)
        if number != HANG_UP and not distributed.launched():
            signal.signal(number, self._previous[number])

    def agreed(self) -> bool:
        """Return whether any process has had a signal; all processes ask this together."""
        number = distributed.highest(self.signal or 0)
        self.signal = self.signal or (signal.Signals(number) if number else None)
        return self.requested


def _answer(received: signal.Signals) -> None:
    """Say on stderr what a signal does, because the running step may take minutes, and a second one would lose it."""
    if sys.stderr is None or not distributed.is_main() or console.quiet:
        return
    again = "" if received == HANG_UP or distributed.launched() else "; a second one ends it at once"
    with suppress(OSError):  # and no print, which the signal may have interrupted
        os.write(2, f"\n{received.name}: stopping after the running step{again}\n".encode("ascii"))


def until_stopped(items: Iterable[Item], stop: StopSignal) -> Iterator[Item]:
    """Yield the items until they end or a stop is requested, equally many in each process.

    A UserError that an item raises ends them too and is left in ``stop.error``: the work done with earlier items is
    worth saving. In the other processes it is a PeerError.
    """
    iterator = iter(items)
    while True:
        item, error = None, None
        try:
            item = None if stop.requested else next(iterator, None)
        except UserError as item_error:
            error = item_error
        except RuntimeError:
            if not stop.requested:  # else the signal reached the loader's workers too, and killed them
                raise
        verdict = distributed.highest(_FAILED if error else _END if item is None else _GO_ON)
        if verdict == _FAILED:
            stop.error = error or PeerError("another process could not read its next batch")
        if verdict != _GO_ON:
            return
        assert item is not None, "each process has an item to continue with"
        yield item


def say_why_it_ended(training: Training, plan: Plan, stop: StopSignal, measure: str) -> None:
    """Say that patience or a signal ended a run before its last step, if one did."""
    if training.has_lost_patience(plan):
        say(
            f"no better {measure} in {training.waited} evaluations (train.patience): the run ends after step "
            f"{training.step} of {plan.num_steps}"
        )
    elif not training.has_ended(plan) and stop.signal is not None:
        say(f"{stop.signal.name} after step {training.step} of {plan.num_steps}")
