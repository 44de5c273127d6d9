"""Objects kept on this machine's disk, so that each is fetched once, by whichever process reads it first.

A file's name is a hash of the URL and of the object's state. So a changed object is fetched anew, and takes the old
file's place. Files are put in place whole; processes need not wait for each other. If the disk has no more room,
objects are read without being kept, and one warning says so.
"""

import hashlib
import io
import mmap
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from segdla.errors import UserError
from segdla.machine.cache_folder import cache_folder
from segdla.machine.files import put_in_place
from segdla.machine.remote.object_store import ObjectState, fetch_object, object_state, read_object
from segdla.machine.remote.storage_errors import StorageError
from segdla.machine.terminal import say

RESERVE = 1 << 30  # bytes that stay free, for the run's own files
LARGE = 1 << 25  # bytes of an object, from which on it is not held in memory
_READERS = 16  # objects that a process fetches at once
_MOST_COMING = 4096
_TRUST = 60.0  # seconds
_MD5 = re.compile(r"[0-9a-f]{32}")

_states: dict[str, tuple[ObjectState, float]] = {}  # and until when a question is answered by it
_coming: dict[str, Future[bytes | None]] = {}
_pools: list[ThreadPoolExecutor] = []
_lock = threading.Lock()
_warned = mmap.mmap(-1, 1)  # shared with forked workers, so that one of them warns


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread may have held it
    _coming.clear()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def remember(url: str, state: ObjectState) -> None:
    """Keep a state that a listing told: until the next listing, reading needs no question."""
    _states[url] = state, float("inf")


def state_now(url: str) -> ObjectState | None:
    """Return the state of an object, asked for anew if it was not listed; None for a folder.

    Raises FileNotFoundError if there is neither, and StorageError if the storage does not answer.
    """
    known = _states.get(url)
    if known is not None and time.monotonic() < known[1]:
        return known[0]
    state = object_state(url)
    if state is not None:
        _states[url] = state, time.monotonic() + _TRUST
    return state


def state_before(url: str) -> ObjectState:
    """Return the state of an object as it was when it was first asked for; else like ``state_now``."""
    known = _states.get(url)
    state = state_now(url) if known is None else known[0]
    if state is None:
        raise IsADirectoryError(21, "is a folder", url)
    return state


def open_kept(url: str) -> BinaryIO:
    """Open an object to read; it is brought here first.

    Raises FileNotFoundError if there is none, and StorageError if it does not come.
    """
    coming = _coming.pop(url, None)
    content = None if coming is None else coming.result()
    if content is None:
        with suppress(OSError):
            return _place(url, state_before(url)).open("rb")
        content = _bring(url)
    return _place(url, state_before(url)).open("rb") if content is None else io.BytesIO(content)


def kept_file(url: str) -> Path:
    """Return the file of an object here; it is brought first.

    Raises FileNotFoundError if there is none, StorageError if it does not come, and UserError if there is no room.
    """
    with open_kept(url) as file:
        if isinstance(file, io.BytesIO):
            raise UserError(
                f"no room for {url} in {cache_folder()}, where it must lie to be read; set SEGDLA_CACHE to a folder "
                "with more"
            )
    return _place(url, state_before(url))


def keep_beside(url: str, file: Path) -> None:
    """Keep an object beside a file here, under that one's name but for the suffix. Raises errors like ``kept_file``."""
    place = file.with_suffix(Path(url).suffix)
    with tempfile.TemporaryDirectory(dir=file.parent, suffix=".partial") as folder:
        os.link(kept_file(url), link := Path(folder, place.name))
        put_in_place(link, place)


def bring_ahead(urls: Iterable[str]) -> None:
    """Fetch objects in threads that will be read soon; errors are raised when they are."""
    with _lock:
        if not _pools:
            _pools.append(ThreadPoolExecutor(_READERS, "bring_ahead"))
    for url in urls:
        if url in _coming or len(_coming) >= _MOST_COMING or (url in _states and _is_kept(url)):
            continue
        _coming[url] = _pools[0].submit(_bring_unless_kept, url)


def _bring_unless_kept(url: str) -> bytes | None:
    return None if _is_kept(url) else _bring(url)


def _is_kept(url: str) -> bool:
    return _place(url, state_before(url)).exists()


def _bring(url: str) -> bytes | None:
    """Fetch an object into its place and return None, or its bytes if there is no room for them."""
    state = state_before(url)
    if (state.size or 0) >= LARGE:
        _bring_large(url, state)
        return None
    content, state = _whole(url, state)
    try:
        _require_room(len(content))
        place = _made(url, state)
        with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".partial", delete=False) as file:
            try:
                file.write(content)
                file.flush()
                put_in_place(Path(file.name), place)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        _warn(error)
        return content
    return None


def _bring_large(url: str, state: ObjectState) -> None:
    size = state.size or 0
    try:
        _require_room(size)
        place = _made(url, state)
        with tempfile.TemporaryDirectory(dir=place.parent, suffix=".partial") as folder:
            fetch_object(url, Path(folder, "object"))
            if Path(folder, "object").stat().st_size != size:
                raise StorageError(f"{url} changed while it was fetched, or came cut short; try again")
            put_in_place(Path(folder, "object"), place)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(
            f"no room for {url} ({size / 1e9:.1f} GB) in {cache_folder()}: {error.strerror or error}; set SEGDLA_CACHE "
            "to a folder with more"
        ) from error


def _whole(url: str, state: ObjectState) -> tuple[bytes, ObjectState]:
    """Return an object's bytes and the state that they are of, which is a new one if it has changed meanwhile."""
    for _ in range(3):
        content = read_object(url)
        if state.size in (None, len(content)) and not _differs(content, state.tag):
            return content, state
        now = object_state(url)
        if now == state and now.size in (None, len(content)):
            return content, state  # of an encrypted object, the tag is no MD5
        if now is not None:
            state = now
            remember(url, state)
    raise StorageError(f"cannot read {url}: it came cut short, or changes all the time; upload it anew")


def _differs(content: bytes, tag: str) -> bool:
    return _MD5.fullmatch(tag) is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != tag


def _place(url: str, state: ObjectState) -> Path:
    of_url, of_state = (hashlib.blake2b(repr(text).encode(), digest_size=12).hexdigest() for text in (url, state))
    suffix = re.search(r"\.\w{1,11}$", url, re.ASCII)  # a reader may go by it
    return cache_folder() / "remote" / of_url[:2] / f"{of_url}-{of_state}{suffix[0] if suffix else ''}"


def _made(url: str, state: ObjectState) -> Path:
    """Return a place whose folder is made, and where no older state of the object lies. Raises OSError if it can't."""
    place = _place(url, state)
    place.parent.mkdir(parents=True, exist_ok=True)
    for older in place.parent.glob(f"{place.name.partition('-')[0]}-*"):
        if older != place:
            older.unlink(missing_ok=True)
    return place


def _require_room(size: int) -> None:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < size + RESERVE:
        raise OSError(28, f"less than {(size + RESERVE) / 1e9:.1f} GB are free")


def _warn(error: OSError) -> None:
    if not _warned[0]:
        _warned[0] = 1
        say(
            f"warning: files from storage are no longer kept in {cache_folder()} ({error.strerror or error}), so they "
            "are fetched each time they are read; make room, or set SEGDLA_CACHE to a folder with more"
        )
