"""Folders in memory that processes share, and the amount of free memory."""

import atexit
import math
import multiprocessing
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from segdla.errors import UserError
from segdla.machine.files import CAN_LOCK, locked, open_shared, take_lock

_SHARED = Path("/dev/shm")  # a file system in memory
_LOCKS = 5  # of a loader process: those of its queue, and its share of an event's
_GROUP = Path("/sys/fs/cgroup")  # limits of a container's processes


def shared_folder(name: str) -> Path:
    """Return a folder in memory for all processes that ask for this name; the last of them removes it.

    If all its users were killed, the next process that asks for any folder removes it.
    """
    if not CAN_LOCK or not _SHARED.is_dir():
        own = tempfile.mkdtemp(prefix="segdla-")
        atexit.register(shutil.rmtree, own, ignore_errors=True)
        return Path(own)
    base = _SHARED / f"segdla-{os.getuid()}"
    folder = base / name
    base.mkdir(mode=0o700, exist_ok=True)
    with locked(base / "folders.lock"):
        for other in base.iterdir():
            if other.is_dir() and other != folder:
                with (other / "users.lock").open("a") as others:
                    _remove_unless_used(other, others)
        folder.mkdir(exist_ok=True)
        users = open_shared(folder / "users.lock")
    atexit.register(_leave, folder, users)
    return folder


def _leave(folder: Path, users: IO) -> None:
    with users, locked(folder.parent / "folders.lock"):
        _remove_unless_used(folder, users)


def _remove_unless_used(folder: Path, users: IO) -> None:
    if take_lock(users):
        shutil.rmtree(folder, ignore_errors=True)


def require_locks(processes: int) -> None:
    """Raise UserError if there is no room for the locks of loader processes, each of which takes a page of /dev/shm.

    torch would find out in the middle of starting them, and leave a half-made loader that complains at exit.
    """
    locks = []
    try:
        for _ in range(_LOCKS * (1 + processes)):
            locks.append(multiprocessing.Lock())
    except OSError as error:
        raise UserError(
            f"no room for the locks of {processes} loader processes ({error.strerror}); make {_SHARED} larger (docker "
            "--shm-size), or set data.workers=0"
        ) from error


def in_memory(folder: Path) -> bool:
    """Return whether a folder lies in memory."""
    return folder.absolute().is_relative_to(_SHARED)


def free_memory() -> float:
    """Return the free memory in bytes.

    /dev/shm may be larger than that, and a container's limit smaller than the machine's memory.
    """
    free = math.inf
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    with suppress(OSError, ValueError):  # "max" if there is no limit
        limit, used = (int((_GROUP / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
        kinds = dict(line.split() for line in (_GROUP / "memory.stat").read_text(encoding="ascii").splitlines())
        reclaimable = int(kinds["active_file"]) + int(kinds["inactive_file"])  # page cache
        free = min(free, limit - used + reclaimable)
    return free
