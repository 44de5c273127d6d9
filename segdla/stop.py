"""Stopping on a signal without losing the running step."""

import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")


class StopSignal:
    """While entered, the first SIGINT or SIGTERM asks for a stop after the running step; a second one is obeyed."""

    def __init__(self) -> None:
        self.requested = False
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
        signal.signal(number, self._previous[number])


def until_stopped(batches: Iterable[Item], stop: StopSignal) -> Iterator[Item]:
    """The batches, to their end or to the first after a stop was requested."""
    try:
        for batch in batches:
            yield batch
            if stop.requested:
                return
    except RuntimeError:
        if not stop.requested:  # else the signal went to the loader's workers too, and they are gone
            raise
