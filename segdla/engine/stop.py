"""Ending together: on a signal without losing the running step, and on an error in any of several processes."""

import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from segdla import distributed
from segdla.errors import PeerError, UserError

Item = TypeVar("Item")
_GO_ON, _END, _FAILED = range(3)


class StopSignal:
    """While entered, the first SIGINT or SIGTERM asks for a stop after the running step; a second one is obeyed.

    But for processes of torchrun: it passes on a signal that they have had already, and ends who takes too long.
    ``error`` is what ended the items of ``until_stopped`` before their end.
    """

    def __init__(self) -> None:
        self.requested = False
        self.error: UserError | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: Any) -> None:
        self.requested = True
        if not distributed.launched():
            signal.signal(number, self._previous[number])

    def agreed(self) -> bool:
        """Whether a stop was requested of any process."""
        return bool(distributed.highest(self.requested))


def until_stopped(items: Iterable[Item], stop: StopSignal) -> Iterator[Item]:
    """The items, to their end or until a stop is requested: as many in each process.

    An item's UserError, when its turn comes, ends them too, and is left in ``stop.error``: what was done with the items
    before it is good to keep. In the other processes that is a PeerError.
    """
    iterator = iter(items)
    while True:
        item, error = None, None
        try:
            item = None if stop.requested else next(iterator, None)
        except UserError as raised:
            error = raised
        except RuntimeError:
            if not stop.requested:  # else the signal went to the loader's workers too, and they are gone
                raise
        verdict = distributed.highest(_FAILED if error else _END if item is None else _GO_ON)
        if verdict == _FAILED:
            stop.error = error or PeerError("another process could not read its next batch")
        if verdict != _GO_ON:
            return
        yield item
