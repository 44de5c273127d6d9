"""Stop in order: on a signal after the running step, and in all processes if one of them meets an error."""

import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from segdla.errors import PeerError, UserError
from segdla.machine import distributed
from segdla.machine.signals import HANG_UP, ending_signals

Item = TypeVar("Item")
_GO_ON, _END, _FAILED = range(3)


class StopSignal:
    """While entered, turns the first SIGINT, SIGTERM or SIGHUP into a request to stop; a second acts as it did before.

    A second SIGHUP is ignored: a shell and the kernel both send one when a terminal goes away. In a process of
    torchrun, a second one of any kind is ignored: torchrun passes on signals that a process has had already, and kills
    a process that takes too long. ``signal`` is the first one. ``error`` is the error that ended the items of
    ``until_stopped``.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.error: UserError | None = None
        self._previous: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """True if this process has had a signal."""
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
        self.signal = self.signal or signal.Signals(number)
        if number != HANG_UP and not distributed.launched():
            signal.signal(number, self._previous[number])

    def agreed(self) -> bool:
        """Return whether any process has had a signal."""
        return bool(distributed.highest(self.requested))


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
