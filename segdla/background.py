"""Work that the host does while the device computes, such as writing files."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


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
