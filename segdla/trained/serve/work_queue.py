"""One queue for all that is computed, and a refusal when it is full."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")


class RefusedError(Exception):
    """The queue is full, or ends; ``seconds`` is about how long it takes until a place is free, None at the end."""

    def __init__(self, seconds: int | None = None):
        super().__init__("the service ends" if seconds is None else f"the queue is full; try again in {seconds} s")
        self.seconds = seconds


class AbandonedError(Exception):
    """Nobody waits for the answer any more."""


async def _never() -> bool:
    return False


class WorkQueue:
    """A thread that computes one thing at a time, in the order of asking; ``waiting`` requests may wait for it.

    A request holds a place until it is answered. A video asks for one frame after the other, so that images take their
    turns between them.
    """

    def __init__(self, waiting: int):
        self._places = waiting + 1
        self._taken = 0
        self._is_ending = False
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "segdla-serve")
        self._seconds = 1.0  # that the last call took

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place. Raises RefusedError if there is none."""
        if self._taken >= self._places:
            raise RefusedError(max(1, math.ceil(self._seconds)))
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    async def do(
        self, call: Callable[..., Result], *args: object, is_abandoned: Callable[[], Awaitable[bool]] = _never
    ) -> Result:
        """Return ``call(*args)``, computed when its turn comes.

        Raises AbandonedError if nobody waits by then, RefusedError if the queue ends.
        """
        async with self._turn:
            if self._is_ending:
                raise RefusedError
            if await is_abandoned():
                raise AbandonedError
            start = time.monotonic()
            try:
                return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)
            finally:
                self._seconds = time.monotonic() - start

    async def each(
        self, steps: Generator[Result, None, None], is_abandoned: Callable[[], Awaitable[bool]] = _never
    ) -> AsyncGenerator[Result, None]:
        """Yield what a generator yields, each computed when its turn comes. Close the generator at the end.

        Raises what ``do`` raises.
        """
        try:
            while (result := await self.do(next, steps, None, is_abandoned=is_abandoned)) is not None:
                yield result
        finally:
            self.afterwards(steps.close)

    def afterwards(self, call: Callable[[], object]) -> None:
        """Run a call in the thread after what it is doing now, which may be for a request that was cancelled."""
        self._thread.submit(call)

    def end(self) -> None:
        """Let nothing more begin, of videos too."""
        self._is_ending = True

    def close(self) -> None:
        """Wait for the thread."""
        self._thread.shutdown(wait=True)
