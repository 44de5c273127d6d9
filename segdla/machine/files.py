"""Atomic writes, locks and unused file names.

A file that is complete when it appears (a config, a state, a checkpoint, a picture) is written through this file: under
another name first, and then renamed. A crash, a kill or a full disk leaves the earlier file as it was. Growing logs
are the exception: metrics.jsonl is appended to, and TensorBoard writes its own events.
"""

import errno
import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from segdla.errors import UserError, quoted
from segdla.machine.remote.urls import is_url

try:
    import fcntl
except ImportError:  # Windows has no fcntl: there nobody waits for anybody
    fcntl = None  # type: ignore[assignment]

CAN_LOCK = fcntl is not None
"""True if processes can lock files against each other here."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)  # answers of file systems without locks: some network shares
_LONGEST_NAME = 255  # bytes, of common file systems
_owner = ""  # of this process's partial files


def own_partial_files(owner: str) -> None:
    """Give this process's partial files names of their own, if another process may write the same files meanwhile."""
    global _owner
    _owner = owner


def partial_path(path: Path, suffix: str = "", owner: str | None = None) -> Path:
    """Return the name of a file while it is written: ``NAME.partial``, plus a suffix that tells its format.

    ``owner`` is the process that writes it, if not this one; see ``own_partial_files``.
    """
    owner = _owner if owner is None else owner
    end = f".partial{owner and '-'}{owner}{suffix}"
    name = f"{path.name}{end}"
    if len(os.fsencode(name)) > _LONGEST_NAME:  # although the file's own name may fit
        name = f"{hashlib.blake2b(os.fsencode(path.name), digest_size=32).hexdigest()}{end}"
    return path.with_name(name)


def require_text(path: Path, remedy: str) -> None:
    """Raise UserError with a remedy if a path can't be written as UTF-8, which TensorBoard and safetensors do.

    It holds other bytes, or Python read it in an ASCII locale.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        name = quoted(str(path))
        raise UserError(
            f"the path {name} can't be written as text here; {remedy}, or set PYTHONUTF8=1 in an ASCII locale"
        ) from None


def put_in_place(temporary: Path, path: Path) -> None:
    """Rename a finished file or folder to its final name. Raises OSError if that fails."""
    temporary.replace(path)


def put_in_free_place(temporary: Path, path: Path) -> bool:
    """Give a finished file its final name, unless a file has it; return False then. Only one of several can succeed.

    Raises OSError if that fails, as it does where files can't have two names.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def write_whole(path: Path, content: bytes | Callable[[BinaryIO], object], *, durable: bool = False) -> None:
    """Write bytes, or whatever a function writes into a file, whole or not at all; make the folder first.

    With ``durable``, content and name have reached the disk on return. A path in storage becomes an object.

    Raises UserError if the file can't be written.
    """
    if is_url(path):
        _write_object(str(path), content)
        return
    temporary = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        put_in_place(temporary, path)
        if durable:
            _sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        # torch.save complains about its own file when it is cut short; the disk's error is the one before it.
        cause = error.__context__ if isinstance(error, RuntimeError) else error
        if not isinstance(cause, OSError):
            raise
        raise UserError(
            f"cannot write {path}: {cause.strerror or cause}; what was there before is untouched; make room or choose "
            "another place"
        ) from error


def _write_object(url: str, content: bytes | Callable[[BinaryIO], object]) -> None:
    from segdla.machine.remote.object_store import write_object

    if not isinstance(content, bytes):
        file = io.BytesIO()
        content(file)
        content = file.getvalue()
    write_object(url, content)


def write_text(path: Path, text: str) -> None:
    """Write a text file durably, whole or not at all. Raises UserError if it can't be written."""
    write_whole(path, text.encode(), durable=True)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write values as JSON, NaN as null. Raises UserError, with the values, if the file can't be written."""
    try:
        write_whole(path, (json.dumps(to_json(values), indent=2) + "\n").encode())
    except UserError as error:
        raise UserError(f"{error}; the values: {to_json(values)}") from error


def _sync_folder(folder: Path) -> None:
    # A new name has reached the disk only when its folder has; Windows has no such call.
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):  # some network file systems lack it too
            raise
    finally:
        os.close(descriptor)


def to_json(value: Any) -> Any:
    """Return a value of dicts, lists and numbers as JSON can hold it: None in place of NaN and infinities."""
    if isinstance(value, dict):
        return {key: to_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def unused(path: Path) -> Path:
    """Return ``path``, or the first of ``path-2``, ``path-3``, ... that does not exist; a file keeps its suffix."""
    stem, suffix = (path.name, "") if path.is_dir() else (path.stem, path.suffix)
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{stem}-{number}{suffix}")
    return free


@contextmanager
def locked(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock, one process at a time, if the file system has locks; a killed process loses its lock.

    ``on_wait`` is called if another process holds it already.
    """
    if not CAN_LOCK:
        yield
        return
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield


@contextmanager
def owned(path: Path) -> Iterator[bool]:
    """Lock a file for this process alone, without waiting; yield False if another process has it.

    Raises OSError if the file can't be opened.
    """
    if not CAN_LOCK:
        yield True
        return
    with path.open("a") as file:
        try:
            # The lock is the process's, not the file's, which forked workers would keep when this process is killed.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                yield False
                return
            if error.errno not in _NO_LOCKS:
                raise
        yield True


def open_shared(path: Path) -> IO:
    """Open a file and share a lock on it with other processes until it is closed."""
    file = path.open("a")
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def take_lock(file: IO) -> bool:
    """Lock an open file for this process alone, without waiting; return False if another process has a lock on it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Return whether another open file holds a lock of ``take_lock`` on this one; True if nobody can tell.

    Raises OSError if the file can't be opened.
    """
    if not CAN_LOCK:
        return True
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:  # locked, or a file system without locks
            return True
    return False
