"""Decoded once: images and targets as bytes in memory-mapped files, shared by whoever reads them.

One file a pair, under a name made of the pair's paths and encoding, with a stamp of what the two files were: one that
has changed since is decoded anew. Entries are written aside and then renamed, so that none is ever seen half; a build
that was killed goes on where it was, and of two at once the second waits.
"""

import hashlib
import math
import mmap
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from segdla.data.dataset import PairSource
from segdla.data.images import image_size
from segdla.data.memory import free_memory, in_memory, locked, shared_folder
from segdla.errors import UserError

_HEADER = struct.Struct("<32s2I")  # stamp, height, width
_VERSION = b"1"  # of entries, and of what the reader makes of files
_MARGIN = 1.05


class CachedSource:
    """A source that reads another's pairs from ``folder``, and puts there what it lacks."""

    def __init__(self, source: PairSource, folder: Path):
        self.source = source
        self.classes = source.classes
        self.folder = folder
        self.entries = [folder / f"{key}.raw" for key in entry_keys(source)]

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        return self.source.name(index)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Image and target, mapped: of a crop only the pages that it touches are read."""
        stamp = self._stamp(index)
        found = None if stamp is None else _mapped(self.entries[index], stamp)
        if found is not None:
            return found
        image, target = self.source.read(index)
        with suppress(OSError):  # a full disk costs time, not the run
            self._write(index, stamp, image, target)
        return image, target

    def target(self, index: int) -> np.ndarray:
        return self.read(index)[1]

    def build(
        self,
        progress: Callable[[Collection[Future]], Iterable[Future]] = iter,
        waiting: Callable[[], None] = lambda: None,
    ) -> list[UserError]:
        """Decode what is not there yet, in threads; gives the errors of pairs that can't be read.

        ``waiting`` is called where another process builds in the same folder. Raises UserError where there is no room.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder / "building.lock", waiting):
                for leftover in self.folder.glob("*.partial"):  # of a build that was killed
                    leftover.unlink(missing_ok=True)
                missing = [index for index in range(len(self)) if not self._has(index)]
                self._require_room(missing)
                return self._fill(missing, progress)
        except OSError as error:
            raise UserError(
                f"cannot write the cache in {self.folder}: {error.strerror}; set data.cache_folder or data.cache=none"
            ) from error

    def _fill(self, missing: list[int], progress: Callable[[Collection[Future]], Iterable[Future]]) -> list[UserError]:
        errors = []
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            for future in progress([pool.submit(self._decode, index) for index in missing]):
                try:
                    future.result()
                except UserError as error:
                    errors.append(error)
        finally:
            pool.shutdown(cancel_futures=True)
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
            Path(file.name).replace(entry)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise

    def _has(self, index: int) -> bool:
        stamp = self._stamp(index)
        return stamp is not None and _mapped(self.entries[index], stamp) is not None

    def _stamp(self, index: int) -> bytes | None:
        """What the pair's files are now; None where there are none."""
        try:
            states = [path.stat() for path in self.source.pairs[index]]
        except OSError:
            return None
        identity = [(state.st_size, state.st_mtime_ns, state.st_ino) for state in states]
        return hashlib.blake2b(repr(identity).encode(), digest_size=32).digest()

    def _require_room(self, missing: list[int]) -> None:
        needed = 0
        for index in missing:
            with suppress(UserError):  # to be told when it is read
                height, width = image_size(self.source.pairs[index][0])
                needed += _MARGIN * 4 * height * width
        room = min(shutil.disk_usage(self.folder).free, free_memory() if in_memory(self.folder) else math.inf)
        if needed > room:
            remedy = "data.cache=disk" if in_memory(self.folder) else "data.cache_folder to a place with more"
            raise UserError(
                f"the cache of {len(missing)} images takes {needed / 1e9:.1f} GB and {self.folder} has room for "
                f"{room / 1e9:.1f}; set {remedy}, or data.cache=none"
            )


def entry_keys(source: PairSource) -> list[str]:
    """A name for each pair, of its paths and of what its mask is encoded by."""
    encoding = source.encode.key.encode()
    paths = (os.fsencode(f"{image.absolute()}\n{mask.absolute()}\n") for image, mask in source.pairs)
    return [hashlib.blake2b(path + encoding + _VERSION, digest_size=16).hexdigest() for path in paths]


def disk_folder() -> Path:
    """Where caches are kept unless the user says otherwise."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segdla"
    except RuntimeError as error:
        raise UserError(f"no place for data.cache=disk: {error}; set data.cache_folder") from error


def ram_folder(source: PairSource) -> Path:
    """A folder in memory for a source, which goes with the last process that uses it."""
    return shared_folder(hashlib.blake2b("".join(entry_keys(source)).encode(), digest_size=8).hexdigest())


def _mapped(entry: Path, stamp: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """What an entry holds, if it is there, whole and of this stamp."""
    try:
        file = os.open(entry, os.O_RDONLY)
    except OSError:
        return None
    try:
        size = os.fstat(file).st_size
        if size < _HEADER.size:
            return None
        # Copy on write: whoever writes to the arrays, writes to pages of his own.
        content = mmap.mmap(file, 0, access=mmap.ACCESS_COPY)
    except OSError:
        return None
    finally:
        os.close(file)
    found, height, width = _HEADER.unpack_from(content)
    pixels = height * width
    if found != stamp or size != _HEADER.size + 4 * pixels:
        return None
    image = np.frombuffer(content, np.uint8, 3 * pixels, _HEADER.size).reshape(height, width, 3)
    return image, np.frombuffer(content, np.uint8, pixels, _HEADER.size + 3 * pixels).reshape(height, width)
