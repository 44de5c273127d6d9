"""Objects listed, read and written, each with retries, and every failure answered in one line.

Functions take public URLs (``urls.public_url``), may be called from several threads and, after a fork, from several
processes. An object that is not there raises FileNotFoundError, as a file would. A storage that refuses or does not
answer raises StorageError.
"""

import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from segdla.errors import UserError
from segdla.machine.remote.storage_errors import final_answer, lost
from segdla.machine.remote.urls import PACKAGES, full_url, joined_url, protocol_of

Result = TypeVar("Result")

ATTEMPTS = 5
PAUSE = 0.25  # seconds before the second attempt; doubled before each further one
SECONDS = 30  # without a byte, after which an attempt counts as lost
_READERS = 16  # listings and deletions at once
_TAGS = ("ETag", "etag", "md5Hash", "content_md5", "generation", "sha256", "blob_id")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")
_systems: dict[tuple[int, str], Any] = {}
_opening = threading.Lock()


def _after_fork() -> None:
    global _opening
    _opening = threading.Lock()  # another thread, such as an upload's, may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class ObjectState(NamedTuple):
    """The state of an object, which is another one after a change."""

    size: int | None
    tag: str  # the ETag or its like; if there is none, the time of the last change


class Listing(NamedTuple):
    """The folders and the objects in a folder, by their names."""

    folders: list[str]
    objects: dict[str, ObjectState]


def walk_objects(url: str) -> Iterator[tuple[str, Listing]]:
    """Yield each folder with what is in it, from ``url`` down, parents first; folders ahead are listed in threads.

    Folders that are taken out of a yielded list are not entered. Nothing is yielded if there is no such folder.
    """
    pending: deque[tuple[str, Future[Listing] | None]] = deque([(url, None)])
    with ThreadPoolExecutor(_READERS) as pool:
        try:
            while pending:
                for place, (folder, known) in enumerate(list(islice(pending, _READERS))):
                    pending[place] = folder, known or pool.submit(list_folder, folder)
                folder, future = pending.popleft()
                assert future is not None, "the first one pending has been submitted"
                listing = future.result()
                if listing.folders or listing.objects:
                    yield folder, listing
                pending.extendleft((joined_url(folder, name), None) for name in reversed(listing.folders))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def list_folder(url: str) -> Listing:
    """Return what is in a folder; nothing if there is none."""
    listing = Listing([], {})
    try:
        entries = _answered("list", url, lambda system, path: system.ls(path, detail=True))
    except FileNotFoundError:
        return listing
    root = _path(url).rstrip("/")
    for entry in entries:
        name = entry["name"].rstrip("/").removeprefix(root).lstrip("/")
        if not name or "/" in name:  # the folder's own mark; a link of a web page that leads elsewhere
            continue
        if entry["type"] == "directory":
            listing.folders.append(name)
        else:
            listing.objects[name] = _state_of(entry)
    return Listing(sorted(listing.folders), listing.objects)


def object_state(url: str) -> ObjectState | None:
    """Ask for the state of an object; None for a folder. Raises FileNotFoundError if there is neither."""
    entry = _answered("read", url, lambda system, path: system.info(path))
    return None if entry["type"] == "directory" else _state_of(entry)


def read_object(url: str) -> bytes:
    """Return the bytes of an object."""
    return bytes(_answered("read", url, lambda system, path: system.cat_file(path)))


def read_end(url: str, size: int, most: int) -> bytes:
    """Return the last bytes, ``most`` of them, of an object of a size."""
    start = max(0, size - most)
    content = bytes(_answered("read", url, lambda system, path: system.cat_file(path, start=start, end=size)))
    return content[-most:]  # a web server may send the whole


def fetch_object(url: str, path: Path) -> None:
    """Write the bytes of an object into a file, in pieces. Raises OSError if the disk is full."""
    _answered("read", url, lambda system, key: system.get_file(key, str(path)))


def write_object(url: str, content: bytes) -> None:
    """Write an object, whole or not at all."""

    def write(system: Any, path: str) -> None:
        if protocol_of(url) == "file":
            system.makedirs(system._parent(path), exist_ok=True)
        system.pipe_file(path, content)

    _answered("write", url, write)


def create_object(url: str, content: bytes) -> bool:
    """Write a new object; return False if there is one already. Only one of several writers can succeed."""

    def create(system: Any, path: str) -> bool:
        try:
            system.pipe_file(path, content, mode="create")
        except FileExistsError:
            return False
        return True

    return _answered("write", url, create)


def remove_object(url: str) -> None:
    """Remove an object; nothing happens if there is none."""
    with suppress(FileNotFoundError):
        _answered("remove", url, lambda system, path: system.rm_file(path))


def _answered(verb: str, url: str, call: Callable[[Any, str], Result]) -> Result:
    """Return what a call of a file system with a path gives; try again, later and later, if it fails for no reason."""
    began, pause = time.monotonic(), PAUSE
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call(_system(url), _path(url))
        except UserError:
            raise
        except Exception as error:  # whatever the network and the server make it raise
            answer = final_answer(verb, url, error)
            if answer is None and attempt == ATTEMPTS:
                answer = lost(verb, url, error, f"{attempt} attempts in {time.monotonic() - began:.0f} s")
            if answer is not None:
                raise answer from None  # the cause may hold what is secret
        time.sleep(pause * (1 + random.random()))  # not all readers at once
        pause *= 2
    raise AssertionError("the last attempt returns or raises")


def _state_of(entry: dict[str, Any]) -> ObjectState:
    """Return the state that is in an entry of a listing, whatever the protocol calls it."""
    tag = next((entry[name] for name in (*_TAGS, *_TIMES) if entry.get(name)), "")
    tag = tag.timestamp() if isinstance(tag, datetime) else tag
    return ObjectState(entry.get("size"), str(tag).strip('"'))


def _path(url: str) -> str:
    """Return what the protocol's file system calls a URL."""
    path = _class(protocol_of(url))._strip_protocol(full_url(url))
    return str(path[0] if isinstance(path, list) else path)


def _system(url: str) -> Any:
    """Return the file system of a URL's protocol: one a process, for its connections don't survive a fork."""
    protocol = protocol_of(url)
    kind = _class(protocol)
    options = kind._get_kwargs_from_urls(full_url(url))
    key = os.getpid(), f"{protocol} {options}"
    with _opening:
        if key not in _systems:
            system = kind(**_options(protocol), **options)
            if protocol == "s3":
                system.retries = 1  # here is where it is tried again
            _systems[key] = system
        return _systems[key]


def _options(protocol: str) -> dict[str, Any]:
    """Return the options of a file system; those in fsspec's own configuration win."""
    options: dict[str, Any] = {"use_listings_cache": False}
    if protocol == "s3":
        timeouts = {"connect_timeout": SECONDS / 3, "read_timeout": SECONDS, "retries": {"total_max_attempts": 1}}
        options |= {"max_concurrency": 1, "config_kwargs": timeouts}  # else each object is asked for its size before
    elif protocol in ("http", "https"):
        from aiohttp import ClientTimeout

        options["client_kwargs"] = {"timeout": ClientTimeout(total=None, sock_connect=SECONDS / 3, sock_read=SECONDS)}
    from fsspec.config import conf

    return {name: value for name, value in options.items() if name not in conf.get(protocol, {})}


def _class(protocol: str) -> Any:
    """Return the file system's class. Raises UserError if its package is missing."""
    try:
        import fsspec
    except ImportError:
        raise UserError(f'{protocol}:// takes the package fsspec: pip install "segdla[remote]"') from None
    # Else gcsfs asks for each bucket's kind by gRPC, and warns in each call of those who may not ask.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    try:
        return fsspec.get_filesystem_class(protocol)
    except ImportError:
        package = PACKAGES[protocol]
        raise UserError(f"{protocol}:// takes the package {package}: pip install {package}") from None
