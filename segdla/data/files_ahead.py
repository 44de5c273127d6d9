"""Files of object storage, brought here before their turn comes: which samples are next is known."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from segdla.data.archives import is_packed
from segdla.data.source import Source
from segdla.machine.remote.local_tier import bring_ahead
from segdla.machine.remote.remote_path import RemotePath

Result = TypeVar("Result")
Key = tuple[int, int]

_AHEAD = 64  # samples


def bring(source: Source, indices: Iterable[int]) -> None:
    """Begin to fetch the files of samples that are in storage and not here yet."""
    paths = (path for index in indices for path in source.inputs(index))
    bring_ahead(str(path) for path in paths if isinstance(path, RemotePath) and not is_packed(path))


def is_remote(source: Source) -> bool:
    """Return whether a source's files are in object storage."""
    return len(source) > 0 and any(isinstance(path, RemotePath) for path in source.inputs(0))


def reading_ahead(call: Callable[[int], Result], source: Source, indices: Sequence[int]) -> Callable[[int], Result]:
    """Return a function that does the same for each of the indices, in threads that take them in order."""
    if not is_remote(source):
        return call
    later, lock = iter(indices[_AHEAD:]), threading.Lock()
    bring(source, indices[:_AHEAD])

    def call_ahead(index: int) -> Result:
        with lock:
            further = next(later, None)
        bring(source, () if further is None else (further,))
        return call(index)

    return call_ahead


class FilesAhead:
    """The batches of keys (epoch, index) that a reader will be asked for, and the files of the next ones on their way.

    ``batches()`` gives them from the first one on. If others are asked for, files come when they are read.
    """

    def __init__(self, source: Source, batches: Callable[[], Iterator[list[Key]]]):
        self._source = source
        self._batches = batches
        self._stream: Iterator[list[Key]] = iter(())
        self._pending: deque[list[Key]] = deque()

    def reach(self, batch: Sequence[Key]) -> None:
        """Note that a batch is read now, and fetch what comes after it."""
        if not self._pending or self._pending[0] != batch:
            self._pending.clear()
            self._stream = self._batches()
            for first in self._stream:
                if first == batch:
                    break
            self._add(list(batch))
        while sum(map(len, self._pending)) < _AHEAD + len(batch) and (following := next(self._stream, None)):
            self._add(following)
        self._pending.popleft()

    def _add(self, batch: list[Key]) -> None:
        self._pending.append(batch)
        bring(self._source, (index for _, index in batch))
