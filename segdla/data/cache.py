"""Images and targets decoded once, as bytes in memory-mapped files that all processes share.

An entry is one file a pair, named by a hash of the pair's paths and encoding. It holds a stamp of the two files'
states: if one has changed since, the pair is decoded again. Entries are written under another name and then renamed, so
a reader never sees half an entry. A build that was killed resumes where it was; a second, concurrent build waits.
"""

import hashlib
import math
import mmap
import os
import shutil
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from segdla.data.archives import state_file
from segdla.data.files_ahead import reading_ahead
from segdla.data.source import Source
from segdla.data.subset import SourceView
from segdla.errors import UserError
from segdla.machine.files import locked, put_in_place
from segdla.machine.remote.storage_errors import StorageError
from segdla.machine.shared_memory import free_memory, in_memory, shared_folder
from segdla.machine.threads import Progress, in_threads

_HEADER = struct.Struct("<32s2I")  # stamp, height, width
_VERSION = b"2"  # of entries, and of the reader that decodes files into them
_MARGIN = 1.05  # over the bytes of the pixels


class CachedSource(SourceView):
    """A source that reads another's pairs from entries in a folder, and writes those that are missing."""

    def __init__(self, source: Source, folder: Path):
        super().__init__(source)
        self.folder = folder
        self.entries = [folder / f"{key}.raw" for key in entry_keys(source)]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return image and target, memory-mapped: a crop reads only the pages that it touches."""
        stamp = self._stamp(index)
        pair = None if stamp is None else _mapped(self.entries[index], stamp)
        if pair is not None:
            return pair
        image, target = self.source.read(index)
        with suppress(OSError):  # a full disk costs time, not the run
            self._write(index, stamp, image, target)
        return image, target

    def target(self, index: int) -> np.ndarray:
        return self.read(index)[1]

    def labelled_once(self) -> range:
        return self.source.labelled_once()

    def build(
        self,
        progress: Progress = iter,
        on_wait: Callable[[], None] = lambda: None,
    ) -> list[UserError]:
        """Decode the pairs that have no entry yet, in threads; return the errors of pairs that can't be read.

        ``progress`` wraps the futures that are waited for, one a pair. ``on_wait`` is called if another process builds
        in the same folder. Raises UserError if there is no room.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder / "building.lock", on_wait):
                for leftover in self.folder.glob("*.partial"):  # of a build that was killed
                    leftover.unlink(missing_ok=True)
                once = {entry: index for index, entry in enumerate(self.entries)}  # a pair may come several times
                missing = [index for index in once.values() if not self._has(index)]
                self._require_room(missing)
                return self._fill(missing, progress)
        except OSError as error:
            raise UserError(
                f"cannot write the cache in {self.folder}: {error.strerror}; set data.cache_folder or data.cache=none"
            ) from error

    def _fill(self, missing: list[int], progress: Progress) -> list[UserError]:
        errors = []
        with in_threads(reading_ahead(self._decode, self.source, missing), missing) as futures:
            for future in progress(futures):
                try:
                    future.result()
                except StorageError:
                    raise
                except UserError as error:
                    errors.append(error)
        return errors

    def _decode(self, index: int) -> None:
        stamp = self._stamp(index)  # before the files are read: a change meanwhile makes the entry stale
        self._write(index, stamp, *self.source.read(index))

    def _write(self, index: int, stamp: bytes | None, image: np.ndarray, target: np.ndarray) -> None:
        if stamp is None:
            return
        entry = self.entries[index]
        file = tempfile.NamedTemporaryFile(dir=self.folder, suffix=".partial", delete=False)  # noqa: SIM115
        try:
            with file:
                file.write(_HEADER.pack(stamp, *target.shape))
                file.write(np.ascontiguousarray(image).data)
                file.write(np.ascontiguousarray(target).data)
            put_in_place(Path(file.name), entry)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise

    def _has(self, index: int) -> bool:
        stamp = self._stamp(index)
        return stamp is not None and _mapped(self.entries[index], stamp) is not None

    def _stamp(self, index: int) -> bytes | None:
        """Return a hash of the states of the pair's files; None if a file is missing."""
        try:
            states = [state_file(path).stat() for path in self.source.inputs(index)]
        except OSError:
            return None
        identity = [(state.st_size, state.st_mtime_ns, state.st_ino) for state in states]
        return hashlib.blake2b(repr(identity).encode(), digest_size=32).digest()

    def _require_room(self, missing: list[int]) -> None:
        needed = 0.0
        size_of = reading_ahead(self.source.image_size, self.source, missing)
        for index in missing:
            with suppress(UserError):  # reported when it is read
                height, width = size_of(index)
                needed += _MARGIN * 4 * height * width
        room = min(shutil.disk_usage(self.folder).free, free_memory() if in_memory(self.folder) else math.inf)
        if needed > room:
            remedy = "data.cache=disk" if in_memory(self.folder) else "data.cache_folder to a place with more"
            raise UserError(
                f"the cache of {len(missing)} images takes {needed / 1e9:.1f} GB and {self.folder} has room for "
                f"{room / 1e9:.1f}; set {remedy}, or data.cache=none"
            )


def entry_keys(source: Source) -> list[str]:
    """Return a name for each pair's entry."""
    keys = (os.fsencode(source.cache_key(index)) for index in range(len(source)))
    return [hashlib.blake2b(key + _VERSION, digest_size=16).hexdigest() for key in keys]


def ram_folder(source: Source) -> Path:
    """Return a folder in memory for a source's entries; it is removed with the last process that uses it."""
    return shared_folder(hashlib.blake2b("".join(entry_keys(source)).encode(), digest_size=8).hexdigest())


def _mapped(entry: Path, stamp: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """Map an entry's image and target into memory; return None if it is missing, damaged or of another stamp."""
    try:
        file = os.open(entry, os.O_RDONLY)
    except OSError:
        return None
    try:
        size = os.fstat(file).st_size
        if size < _HEADER.size:
            return None
        # Copy on write: writing to the arrays changes this process's pages only.
        content = mmap.mmap(file, 0, access=mmap.ACCESS_COPY)
    except OSError:
        return None
    finally:
        os.close(file)
    its_stamp, height, width = _HEADER.unpack_from(content)
    pixels = height * width
    if its_stamp != stamp or size != _HEADER.size + 4 * pixels:
        return None
    image = np.frombuffer(content, np.uint8, 3 * pixels, _HEADER.size).reshape(height, width, 3)
    return image, np.frombuffer(content, np.uint8, pixels, _HEADER.size + 3 * pixels).reshape(height, width)
