"""Folders in memory that processes share, and how much memory there is."""

import atexit
import errno
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows: nobody waits for anybody, and processes share nothing
    fcntl = None

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
"""What file systems without locks answer: those of some networks and clusters."""
_SHARED = Path("/dev/shm")  # a file system in memory
_GROUP = Path("/sys/fs/cgroup")  # of a container's processes


def shared_folder(name: str) -> Path:
    """A folder in memory for all processes that ask for it by this name; it goes with the last of them.

    One whose users were all killed goes when the next process comes.
    """
    if fcntl is None or not _SHARED.is_dir():
        made = tempfile.mkdtemp(prefix="segdla-")
        atexit.register(shutil.rmtree, made, ignore_errors=True)
        return Path(made)
    base = _SHARED / f"segdla-{os.getuid()}"
    folder = base / name
    base.mkdir(mode=0o700, exist_ok=True)
    with locked(base / "folders.lock"):
        for other in base.iterdir():
            if other.is_dir() and other != folder:
                with (other / "users.lock").open("a") as users:
                    _remove_unless_used(other, users)
        folder.mkdir(exist_ok=True)
        users = (folder / "users.lock").open("a")
        fcntl.flock(users, fcntl.LOCK_SH)
    atexit.register(_leave, folder, users)
    return folder


def _leave(folder: Path, users: IO) -> None:
    with users, locked(folder.parent / "folders.lock"):
        _remove_unless_used(folder, users)


def _remove_unless_used(folder: Path, users: IO) -> None:
    with suppress(BlockingIOError):
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)


def in_memory(folder: Path) -> bool:
    return folder.absolute().is_relative_to(_SHARED)


def free_memory() -> float:
    """Bytes: /dev/shm may be larger than what is free, and a container's limit below what the machine has."""
    free = math.inf
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    with suppress(OSError, ValueError):  # no such limit ("max")
        limit, used = (int((_GROUP / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
        kinds = dict(line.split() for line in (_GROUP / "memory.stat").read_text(encoding="ascii").splitlines())
        given_up = int(kinds["active_file"]) + int(kinds["inactive_file"])  # where memory runs short
        free = min(free, limit - used + given_up)
    return free


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """One process at a time, where the file system has locks; a killed one's goes with it."""
    if fcntl is None:
        yield
        return
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield
