"""Where each process of a command is: told to the others once a second, and asked for when one of them is missing."""

import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import FrameType

import torch.distributed as dist

from segdla.errors import PeerError, UserError

_PACKAGE = Path(__file__).parents[1]
_WAITING = "machine/distributed.py"  # whoever is there waits for the others
_NAMED = 8  # processes in a message
_LOST = ("closed by peer", "reset by peer", "Broken pipe", "Connect")


class Whereabouts:
    """The place in the code at which each process is, in the store that all of them share.

    A thread tells this process's own place every ``interval`` seconds. It does so too while the process sleeps, waits
    for a disk, or computes. ``doing`` is what the process says about its work, such as the number of the step.
    """

    def __init__(self, store: dist.Store, rank: int, world_size: int, interval: float):
        self.doing = ""
        self._store, self._rank, self._world_size = store, rank, world_size
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tell, args=(store.clone(), interval), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def _tell(self, store: dist.Store, interval: float) -> None:
        with suppress(RuntimeError):  # the store is gone: the process that holds it has ended
            while True:
                store.set(f"where {self._rank}", self._here())
                if self._ended.wait(interval):
                    return

    def _here(self) -> str:
        frame = sys._current_frames().get(threading.main_thread().ident or 0)
        return f"{place(frame)}\n{self.doing}"

    def answer(self, error: RuntimeError, seconds: float) -> UserError | None:
        """Return what to say about an error of a collective operation; None if it is another error.

        One of the processes that wait says it; the others get a PeerError.
        """
        text = str(error)
        if "gloo" not in text:
            return None
        if "Timed out" in text:
            return self._answer_to_waiting(seconds)
        if not any(words in text for words in _LOST):
            return None
        with suppress(RuntimeError):
            if self._store.check(["told"]):  # the process that told it has ended, and so all do
                return PeerError("another process is missing")
        return UserError(
            f"process {self._rank} of {self._world_size} lost its connection to another process, which has ended; its "
            "own message says why"
        )

    def _answer_to_waiting(self, seconds: float) -> UserError:
        try:
            places = {rank: self._store.get(f"where {rank}").decode() for rank in range(self._world_size)}
            self._store.set("told", "1")
        except RuntimeError:
            return UserError(f"the first process has not answered for {seconds:g} s; it holds what the others know")
        missing = missing_of(places, self._rank)
        if self._rank != min(rank for rank in places if rank not in missing or len(missing) == len(places)):
            return PeerError("another process is missing")
        return UserError(told(missing, self._world_size, seconds))


def place(frame: FrameType | None) -> str:
    """Return the innermost line of this package that a frame is in, or else the frame's own line."""
    innermost = frame
    while frame is not None and _PACKAGE not in Path(frame.f_code.co_filename).parents:
        frame = frame.f_back
    frame = frame or innermost
    if frame is None:
        return "an unknown place"
    path = Path(frame.f_code.co_filename)
    name = path.relative_to(_PACKAGE.parent) if _PACKAGE in path.parents else path
    return f"{name.as_posix()}, line {frame.f_lineno}, in {frame.f_code.co_name}"


def missing_of(places: Mapping[int, str], waiting: int) -> dict[int, str]:
    """Return the processes that neither wait for others nor are where a ``waiting`` one is; all, if there are none."""
    elsewhere = {rank: text for rank, text in places.items() if _WAITING not in text and text != places[waiting]}
    return {rank: text for rank, text in elsewhere.items() if rank != waiting} or dict(places)


def told(missing: Mapping[int, str], world_size: int, seconds: float) -> str:
    """Return the line that names the missing processes, and where they are."""
    words = []
    for rank, text in list(missing.items())[:_NAMED]:
        where, _, doing = text.partition("\n")
        words.append(f"process {rank} is at {where}{f' ({doing})' if doing else ''}")
    more = f", and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return (
        f"processes have waited {seconds:g} s for others (of {world_size}): {'; '.join(words)}{more}; if that takes so "
        f"long, set SEGDLA_COLLECTIVE_TIMEOUT to more seconds"
    )


def timeout(word: str | None) -> timedelta | None:
    """Return the time in the environment variable SEGDLA_COLLECTIVE_TIMEOUT. Raises UserError if it is none."""
    if not word:
        return None
    try:
        seconds = float(word)
        if 0 < seconds <= 10**9:
            return timedelta(seconds=seconds)
    except ValueError:
        pass
    raise UserError(f"SEGDLA_COLLECTIVE_TIMEOUT is {word!r}; give it a number of seconds, above 0")
