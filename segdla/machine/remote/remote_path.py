"""Paths of objects in storage, which are read like files: ``RemotePath("s3://bucket/photos") / "a.png"``.

They are the one place where remote data become local: whoever reads files by ``pathlib`` reads objects too.
"""

import hashlib
import io
import os
import stat
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from segdla.machine.remote.local_tier import keep_beside, kept_file, open_kept, remember, state_before, state_now
from segdla.machine.remote.object_store import (
    ObjectState,
    list_folder,
    read_object,
    remove_object,
    walk_objects,
    write_object,
)
from segdla.machine.remote.urls import PACKAGES, is_url, public_url

_ARCHIVES = (".zip", ".tar", ".tgz", ".gz")
_ASKED_SINGLY = 8  # files of a folder, before the folder is listed
_asked: Counter[str] = Counter()  # by folder
_SCHEMES = tuple(f"{protocol}:/" for protocol in PACKAGES)
if TYPE_CHECKING:
    _Base = Path
else:
    _Base = type(Path())


def as_path(place: str | os.PathLike[str]) -> Path:
    """Return the path that a text is of: a ``RemotePath`` of a URL. Credentials in it are not in the path.

    Raises UserError if the protocol takes no credentials in a URL.
    """
    text = os.fspath(place)
    return RemotePath(public_url(text)) if is_url(text) else Path(place)


def local_file(path: Path, *beside: str) -> Path:
    """Return a path that other libraries can open: of an object, that of its file here.

    ``beside`` are suffixes of further objects, whose files lie beside it then.

    Raises UserError if there is no room for it, and OSError and StorageError like ``RemotePath``.
    """
    if not isinstance(path, RemotePath):
        return path
    file = kept_file(str(path))
    for suffix in beside:
        keep_beside(str(path.with_suffix(suffix)), file)
    return file


def read_once(path: Path) -> bytes:
    """Read a file; an object is not kept here. Raises OSError and StorageError like ``RemotePath``."""
    return read_object(str(path)) if isinstance(path, RemotePath) else path.read_bytes()


class RemotePath(_Base):
    """An object, or a folder of objects, by its public URL; messages show the URL.

    Reading goes through the local tier. Methods raise OSError like those of ``Path``, and StorageError if the storage
    refuses or does not answer.
    """

    def __str__(self) -> str:
        text = super().__str__().replace(os.sep, "/")
        if not text.startswith(_SCHEMES) or "://" in text:
            return text
        slashes = ":///" if text.startswith("file:/") else "://"  # pathlib leaves one; a file's URL names no host
        return text.replace(":/", slashes, 1)

    def __fspath__(self) -> str:
        return str(self)

    def as_posix(self) -> str:
        return str(self)

    def is_absolute(self) -> bool:
        return is_url(self)

    def absolute(self) -> Self:
        return self

    def resolve(self, strict: bool = False) -> Self:
        return self

    def expanduser(self) -> Self:
        return self

    def archives(self) -> list["RemotePath"]:
        """Return this path and those above it that are named like archives, the innermost first."""
        return [path for path in (self, *self.parents) if path.suffix.lower() in _ARCHIVES]

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return the state that the object had when it was listed or first read; times and inode are hashes of it."""
        try:
            return _as_stat(state_before(str(self)))
        except IsADirectoryError:
            return os.stat_result((stat.S_IFDIR, *[0] * 9), {"st_mtime_ns": 0})

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        return self._is_object() is not None

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return self._is_object() is True

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self._is_object() is False

    def is_symlink(self) -> bool:
        return False

    def open(self, mode: str = "r", buffering: int = -1, encoding: str | None = None, *_: Any, **__: Any) -> IO[Any]:  # type: ignore[override]
        if mode not in ("r", "rb"):
            raise io.UnsupportedOperation(f"{self} can't be opened as {mode}: objects are written whole")
        file = open_kept(str(self))
        return file if mode == "rb" else io.TextIOWrapper(file, encoding)

    def read_bytes(self) -> bytes:
        with open_kept(str(self)) as file:
            return file.read()

    def read_text(self, encoding: str | None = None, errors: str | None = None, newline: str | None = None) -> str:
        return io.TextIOWrapper(io.BytesIO(self.read_bytes()), encoding, errors, newline).read()

    def write_bytes(self, data: Any) -> int:
        write_object(str(self), bytes(data))
        return len(data)

    def write_text(
        self, data: str, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> int:
        return self.write_bytes(data.encode(encoding or "utf-8", errors or "strict"))

    def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
        if not self.is_file():
            self.write_bytes(b"")

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing but ask: a folder is there with its first object. Raises FileExistsError unless ``exist_ok``."""
        if not exist_ok and self.exists():
            raise FileExistsError(17, "exists already", str(self))

    def rmdir(self) -> None:
        """Do nothing: a folder is gone with its last object."""

    def unlink(self, missing_ok: bool = False) -> None:
        remove_object(str(self))

    def iterdir(self) -> Generator[Self, None, None]:
        listing = list_folder(str(self))
        for name, state in listing.objects.items():
            remember(str(self / name), state)
        yield from (self / name for name in (*listing.folders, *listing.objects))

    def walk(self, *_: Any, **__: Any) -> Iterator[tuple[Self, list[str], list[str]]]:
        """Yield like ``os.walk`` each folder with the names of those and of the objects in it."""
        for url, listing in walk_objects(str(self)):
            folder = type(self)(url)
            for name, state in listing.objects.items():
                remember(str(folder / name), state)
            yield folder, listing.folders, list(listing.objects)

    def glob(self, pattern: str, **_: Any) -> Generator[Self, None, None]:
        """Yield what matches a pattern without ``**``, folder by folder."""
        assert "**" not in pattern, f"{pattern} is of any depth: walk"
        depth = len(Path(pattern).parts)
        for folder, folders, files in self.walk():
            inside = folder.relative_to(self)
            if len(inside.parts) == depth - 1:
                yield from (folder / name for name in (*folders, *files) if (Path(inside) / name).match(pattern))
                folders.clear()

    def _is_object(self) -> bool | None:
        """Return True for an object, False for a folder, None if there is neither.

        Where many files of one folder are asked for, the folder is listed.
        """
        folder = str(self.parent)
        _asked[folder] += 1
        if _asked[folder] == _ASKED_SINGLY and is_url(folder):
            list(self.parent.iterdir())
        try:
            return state_now(str(self)) is not None
        except FileNotFoundError:
            return None


def _as_stat(state: ObjectState) -> os.stat_result:
    number = int.from_bytes(hashlib.blake2b(repr(state).encode(), digest_size=7).digest())
    return os.stat_result((stat.S_IFREG | 0o444, number, 0, 1, 0, 0, state.size or 0, 0, 0, 0), {"st_mtime_ns": number})
