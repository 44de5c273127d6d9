"""Where a manifest lies: a folder that its workers share, or a bucket.

Both can make a file that only one of several workers can make, which all exactness rests on. A file is whole when it
appears, but for a journal in a folder, whose last line may be cut short by a kill.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeVar

from segdla.errors import UserError
from segdla.machine.files import CAN_LOCK, is_locked, own_partial_files, put_in_free_place, put_in_place, take_lock
from segdla.machine.remote.object_store import create_object, list_folder, read_object, remove_object, write_object
from segdla.machine.remote.urls import is_url, joined_url, public_url

Result = TypeVar("Result")
WORK = "_work"  # readers of a folder of Parquet or JSON pass over names with an underscore
_PARTIAL = f"{WORK}/partial"
_BETWEEN_WRITES = 5.0  # seconds, of a journal in a bucket


class Journal(Protocol):
    """A growing file of lines."""

    def append(self, line: bytes) -> None:
        """Add a line."""

    def close(self) -> None:
        """Let the lines reach other workers; none follow."""


class Store(Protocol):
    """Files by their names in a manifest, such as ``_work/journals/plan.1.jsonl``; each call may raise UserError."""

    place: str

    def create(self, name: str, content: bytes) -> bool:
        """Write a new file; return False if there is one of that name."""

    def replace(self, name: str, content: bytes) -> None:
        """Write a file, whether there was one or not."""

    def read(self, name: str) -> bytes:
        """Return a file's bytes. Raises FileNotFoundError if there is none."""

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder; none if it doesn't exist."""

    def journal(self, name: str) -> Journal:
        """Open a file that this worker created, to append to it."""

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Hold a lock on a file in a context, if there are locks."""

    def is_held(self, name: str) -> bool:
        """Return False if surely nobody on this machine holds a file."""

    def renew(self, name: str, content: bytes) -> None:
        """Change a held file, to as many bytes as it has."""

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""

    def sweep(self, worker: str) -> None:
        """Remove what a dead worker left half-written."""


def open_store(place: str, worker: str) -> Store:
    """Return the store of a manifest for one of its workers; a URL is a bucket's, everything else a folder."""
    return BucketStore(public_url(place), worker) if is_url(place) else FolderStore(Path(place), worker)


class FolderStore:
    """A folder, on this machine or shared by several."""

    def __init__(self, folder: Path, worker: str):
        self.place = str(folder)
        self._folder = folder
        self._worker = worker
        own_partial_files(worker)  # a worker that slept, and the one that took over, may write one output at once

    def create(self, name: str, content: bytes) -> bool:
        return self._put(put_in_free_place, name, content)

    def replace(self, name: str, content: bytes) -> None:
        self._put(put_in_place, name, content)

    def read(self, name: str) -> bytes:
        with self._answering(name, "read"):
            return self._path(name).read_bytes()

    def names(self, folder: str) -> list[str]:
        try:
            with self._answering(folder, "list"):
                return os.listdir(self._path(folder))  # noqa: PTH208 (names, not paths, and many)
        except FileNotFoundError:
            return []

    def journal(self, name: str) -> "_FolderJournal":
        with self._answering(name):
            return _FolderJournal(self._path(name))

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        with ExitStack() as held:
            if CAN_LOCK:
                with self._answering(name):
                    file = held.enter_context(self._path(name).open("a"))
                    with suppress(OSError):  # a file system without locks: the others wait for signs of life
                        take_lock(file)
            yield

    def is_held(self, name: str) -> bool:
        try:
            return is_locked(self._path(name))
        except OSError:
            return True

    def renew(self, name: str, content: bytes) -> None:
        with self._answering(name), self._path(name).open("r+b") as file:
            file.write(content)

    def remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def sweep(self, worker: str) -> None:
        for name in self.names(_PARTIAL):
            if name.endswith(worker):
                self.remove(f"{_PARTIAL}/{name}")

    def _path(self, name: str) -> Path:
        return self._folder / name

    def _staged(self, name: str, content: bytes) -> Path:
        path = self._path(_PARTIAL) / f"{name.replace('/', '-')}-{threading.get_ident()}-{self._worker}"
        try:
            path.write_bytes(content)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return path

    def _put(self, put: Callable[[Path, Path], Result], name: str, content: bytes) -> Result:
        with self._answering(name):
            path = self._path(name)
            try:
                return put(self._staged(name, content), path)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                return put(self._staged(name, content), path)

    @contextmanager
    def _answering(self, name: str, verb: str = "write") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, FileNotFoundError) and verb != "write":
                raise
            reason = error.strerror or error
            raise UserError(
                f"cannot {verb} {self._path(name)}: {reason}; what is recorded stays, so mend that and run it "
                "again, or name another --manifest"
            ) from error


class _FolderJournal:
    def __init__(self, path: Path):
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)

    def append(self, line: bytes) -> None:
        try:
            written = os.write(self._file, line + b"\n")
            if written <= len(line):
                raise OSError(28, os.strerror(28))
        except OSError as error:
            raise UserError(
                f"cannot write {self._path}: {error.strerror}; what is recorded stays; make room and run it again"
            ) from error

    def close(self) -> None:
        os.close(self._file)


class BucketStore:
    """A prefix in object storage. Objects can't grow, so a journal is written anew every few seconds."""

    def __init__(self, url: str, worker: str):
        self.place = url
        self._worker = worker

    def create(self, name: str, content: bytes) -> bool:
        if create_object(self._url(name), content):
            return True
        # An answer that got lost: the second attempt finds what the first one made.
        return self.read(name) == content

    def replace(self, name: str, content: bytes) -> None:
        write_object(self._url(name), content)

    def read(self, name: str) -> bytes:
        return read_object(self._url(name))

    def names(self, folder: str) -> list[str]:
        return list(list_folder(self._url(folder) if folder else self.place).objects)

    def journal(self, name: str) -> "_BucketJournal":
        return _BucketJournal(self._url(name), self.read(name))

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        yield

    def is_held(self, name: str) -> bool:
        return True

    def renew(self, name: str, content: bytes) -> None:
        self.replace(name, content)

    def remove(self, name: str) -> None:
        remove_object(self._url(name))

    def sweep(self, worker: str) -> None:
        pass

    def _url(self, name: str) -> str:
        return joined_url(self.place, name)


class _BucketJournal:
    def __init__(self, url: str, content: bytes):
        self._url = url
        self._content = content
        self._written = time.monotonic()

    def append(self, line: bytes) -> None:
        self._content += line + b"\n"
        if time.monotonic() - self._written > _BETWEEN_WRITES:
            self.close()

    def close(self) -> None:
        write_object(self._url, self._content)
        self._written = time.monotonic()
