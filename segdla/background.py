"""Work that the host does while the device computes: reading files ahead, and writing them behind."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


class Background:
    """Runs calls in threads, as a context at whose end all are done.

    A few may wait, so that memory stays bounded: then ``do`` waits too. What a call raises, a later ``do`` or the end
    raises.
    """

    def __init__(self, threads: int = 2, waiting: int = 8):
        self._pool = ThreadPoolExecutor(threads)
        self._calls: deque[Future] = deque()
        self._waiting = waiting

    def do(self, call: Callable, *args: object) -> None:
        while len(self._calls) >= self._waiting:
            self._calls.popleft().result()
        self._calls.append(self._pool.submit(call, *args))

    def __enter__(self) -> "Background":
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=True)  # also after a failure: what has been computed is worth writing
        if failure is None:
            for call in self._calls:
                call.result()


def ahead(
    call: Callable[[Item], object], items: Iterable[Item], threads: int = 2, waiting: int = 4, limit: int = 2**28
) -> Iterator[tuple[Item, Future]]:
    """The items in order, each with the future of ``call(item)``, which threads work on ahead of it.

    So that memory stays bounded, at most ``waiting`` are ahead, and only one where they hold more than ``limit`` bytes,
    as their ``nbytes`` say; what is not done counts as the largest so far, and before any is, only one is ahead.
    """
    pool = ThreadPoolExecutor(threads)
    calls: deque[tuple[Item, Future]] = deque()
    largest = None

    def see(done: Future) -> None:
        nonlocal largest
        largest = max(largest or 0, _nbytes(done))

    def held() -> int:
        expected = limit if largest is None else largest
        return sum(_nbytes(future) if future.done() else expected for _, future in calls)

    try:
        for item in items:
            calls.append((item, pool.submit(call, item)))
            calls[-1][1].add_done_callback(see)
            while len(calls) > waiting or (len(calls) > 1 and held() > limit):
                yield calls.popleft()
        while calls:
            yield calls.popleft()
    finally:
        pool.shutdown(wait=True, cancel_futures=bool(calls))  # where the rest is not asked for


def _nbytes(done: Future) -> int:
    lost = done.cancelled() or done.exception() is not None
    return 0 if lost else getattr(done.result(), "nbytes", 0)
