"""Threads of the host: files are read ahead and written behind while the device computes; and processor counts."""

import os
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[Collection[Future]], Iterable[Future]]
"""A wrapper of futures that are waited for, which may draw a progress bar."""


def processes_here() -> int:
    """Return how many of a command's processes share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def processors() -> int:
    """Return how many processors this process may run on; all processes of a command may share them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_processors() -> int:
    """Return this process's share of the processors, at least 1."""
    return max(1, processors() // processes_here())


@contextmanager
def in_threads(call: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[list[Future[Result]]]:
    """Yield the futures of ``call(item)``, in order; when the context ends, calls that have not begun are cancelled.

    It takes all processors, for work that one process of a command does while the others wait for it.
    """
    pool = ThreadPoolExecutor(processors())
    try:
        yield [pool.submit(call, item) for item in items]
    finally:
        pool.shutdown(cancel_futures=True)


class Background:
    """Threads that run calls; a context that ends when all calls are done.

    PyTorch computes in each of them without further threads, which are the main thread's.

    Few calls may wait, so that memory stays bounded: ``do`` blocks while ``waiting`` of them are not done. An error of
    a call is raised by a later ``do`` or ``settle``, or at the end of the context.
    """

    def __init__(self, threads: int = 2, waiting: int = 8):
        self._pool = ThreadPoolExecutor(threads, initializer=_compute_alone)
        self._calls: deque[Future] = deque()
        self._waiting = waiting

    def do(self, call: Callable, *args: object) -> None:
        """Run ``call(*args)`` in a thread."""
        while len(self._calls) >= self._waiting:
            self._calls.popleft().result()
        self._calls.append(self._pool.submit(call, *args))

    def settle(self) -> None:
        """Wait until all calls are done."""
        while self._calls:
            self._calls.popleft().result()

    def has_failed(self) -> bool:
        """Return whether a call has ended with an error that is still to be raised."""
        return any(call.done() and call.exception() is not None for call in self._calls)

    def __enter__(self) -> "Background":
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=True)  # after a failure too: what has been computed is worth writing
        if failure is None:
            self.settle()


def _compute_alone() -> None:
    from segdla.machine.openmp import compute_alone  # PyTorch is imported by those who need it

    compute_alone()


def ahead(
    call: Callable[[Item], Result], items: Iterable[Item], threads: int = 2, waiting: int = 4, limit: int = 2**28
) -> Generator[tuple[Item, Future[Result]], None, None]:
    """Yield the items in order, each with the future of ``call(item)``; threads compute the next ones meanwhile.

    At most ``waiting`` results are ahead, and only one if they hold more than ``limit`` bytes by their ``nbytes``. A
    result that is not there yet counts as the largest so far; before the first result, only one call is ahead.
    """
    pool = ThreadPoolExecutor(threads)
    calls: deque[tuple[Item, Future[Result]]] = deque()
    largest: int | None = None

    def note_size(future: Future) -> None:
        nonlocal largest
        largest = max(largest or 0, _nbytes(future))

    def bytes_ahead() -> int:
        expected = limit if largest is None else largest
        return sum(_nbytes(future) if future.done() else expected for _, future in calls)

    try:
        for item in items:
            calls.append((item, pool.submit(call, item)))
            calls[-1][1].add_done_callback(note_size)
            while len(calls) > waiting or (len(calls) > 1 and bytes_ahead() > limit):
                yield calls.popleft()
        while calls:
            yield calls.popleft()
    finally:
        pool.shutdown(wait=True, cancel_futures=bool(calls))  # if the caller leaves before the end


def _nbytes(future: Future) -> int:
    is_lost = future.cancelled() or future.exception() is not None
    return 0 if is_lost else getattr(future.result(), "nbytes", 0)
