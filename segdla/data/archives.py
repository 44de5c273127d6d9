"""Files in archives, by paths that go on behind the archive's: ``/data/set.zip/images/a.png``.

They are ZIP archives, tars, and folders of tables as Hugging Face has them, whose columns become folders of images.
An archive is read in place, by several threads and processes at once. A ZIP archive has an index, a plain tar is
indexed by skipping from file to file, and a tar.gz by unpacking it once in memory: the state of the decompression is
kept every few megabytes, and a file is unpacked from the nearest one on. Links, and what is no file, are left out.
"""

import errno
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path

from segdla.errors import UserError, one_line
from segdla.machine.remote.remote_path import RemotePath
from segdla.machine.remote.storage_errors import StorageError
from segdla.machine.remote.urls import is_in_bucket

LARGEST = 1 << 32  # bytes of a file in an archive
_MOST_GROWTH, _ANY_GROWTH = 100, 1 << 25  # labels and pictures grow less; below so many bytes nobody minds
_DEPTH = 3  # of a picture in a folder of tables: SPLIT/COLUMN/NUMBER.png
_tables_in_storage: set[Path] = set()


class Archive(ABC):
    """The files in an archive by their names, with / between folders; hidden ones are left out."""

    def __init__(self, path: Path):
        self.path = path

    names: Mapping[str, object]  # in any order, with what ``read`` needs

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the bytes of a file. Raises UserError if it can't be read."""

    def state(self, name: str) -> Path:
        """Return the file whose state tells whether a file has changed."""
        return self.path

    @cached_property
    def folders(self) -> Mapping[str, tuple[set[str], list[str]]]:
        """The folders and the files in each folder, by its name; that of the archive's root is empty."""
        folders: dict[str, tuple[set[str], list[str]]] = {"": (set(), [])}
        for path in self.names:
            folder, _, name = path.rpartition("/")
            if folder not in folders:
                parts = folder.split("/")
                for depth, part in enumerate(parts):
                    folders.setdefault("/".join(parts[:depth]), (set(), []))[0].add(part)
                folders[folder] = folders.get(folder, (set(), []))
            folders[folder][1].append(name)
        return folders


def listed(path: Path, name: str) -> str | None:
    """Return a member's name as it is listed; None for one that is hidden.

    Raises UserError if it leads out of the archive at ``path``.
    """
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or ".." in parts or ":" in parts[0]:
        raise UserError(
            f"{path} holds the path {one_line(name, 80)!r}, which leads out of the archive; such a file is not "
            "opened: pack it anew"
        )
    parts = [part for part in parts if part not in ("", ".")]  # ./a//b is a/b
    is_hidden = any(part.startswith(".") for part in parts) or parts[:1] == ["__MACOSX"]
    return None if is_hidden or not parts else "/".join(parts)


def require_no_bomb(path: Path, size: int, packed: int) -> None:
    """Raise UserError if a file of some bytes would grow from so few packed ones as none does."""
    growth = size / max(1, packed)
    if size > LARGEST or (growth > _MOST_GROWTH and size > _ANY_GROWTH):
        raise UserError(
            f"{path} would grow {growth:.0f}-fold to {size / 1e6:.0f} MB, as a ZIP bomb does, and is not read; if it "
            "is meant, unpack the archive, and name the folder"
        )


def archive_above(path: Path) -> tuple[Archive, str] | None:
    """Return the archive that a path leads into, and the name behind it, which may be empty; None if it is none.

    Raises UserError if the archive can't be read.
    """
    # A bucket is not asked for each folder above a file: there an archive is named like one.
    for place in path.archives() if isinstance(path, RemotePath) else (path, *path.parents):
        try:
            state = place.stat()
        except (OSError, ValueError):  # there is no such file, or a NUL byte, told by who reads it
            continue
        if stat.S_ISDIR(state.st_mode):
            archive = _tables(place, state.st_mtime_ns)
        else:
            archive = _opened(place, state.st_mtime_ns, state.st_size) if stat.S_ISREG(state.st_mode) else None
        return None if archive is None else (archive, "" if path == place else path.relative_to(place).as_posix())
    return _tables_above(path) if isinstance(path, RemotePath) else None


def _tables_above(path: RemotePath) -> tuple[Archive, str] | None:
    """Return the folder of tables above a missing path in storage; none in a bucket's root, or that can't be listed."""
    near = [folder for folder in path.parents[:_DEPTH] if is_in_bucket(str(folder))]
    known = [folder for folder in near if folder in _tables_in_storage]
    if not known:
        with suppress(FileNotFoundError):
            path.stat()
            return None
    for folder in known or near:
        with suppress(StorageError):
            if archive := _tables(folder, 0):
                _tables_in_storage.add(folder)
                return archive, path.relative_to(folder).as_posix()
    return None


def is_packed(path: RemotePath) -> bool:
    """Return whether a path in storage leads into an archive, as far as its name and what is open tell."""
    return bool(path.archives()) or any(folder in _tables_in_storage for folder in path.parents[:_DEPTH])


def is_folder(path: Path) -> bool:
    """Return whether a path is of a folder, of an archive, or of a folder in an archive."""
    if path.is_dir():
        return True
    inside = archive_above(path)
    return inside is not None and inside[1] in inside[0].folders


def sub_folders(path: Path) -> list[str]:
    """List the names of the folders in a folder, on disk or in an archive. Raises OSError if it can't be listed."""
    inside = None if path.is_dir() else archive_above(path)
    if inside is not None and inside[1] in inside[0].folders:
        return sorted(inside[0].folders[inside[1]][0])
    return sorted(one.name for one in path.iterdir() if one.is_dir())


def is_regular(path: Path) -> bool:
    """Return whether there is a file, on disk or in an archive."""
    if path.is_file():
        return True
    inside = archive_above(path)
    return inside is not None and inside[1] in inside[0].names


def read_packed(path: Path) -> bytes | None:
    """Return the bytes of a file in an archive; None if the path leads into none.

    Raises UserError if it can't be read.
    """
    inside = archive_above(path)
    if inside is None or not inside[1]:
        return None
    archive, name = inside
    if name not in archive.names:
        raise UserError(f"cannot read {path}: no such file in {archive.path}")
    return archive.read(name)


def read_text(path: Path, encoding: str = "utf-8-sig") -> str:
    """Read a text on disk or in an archive.

    Raises OSError or UnicodeDecodeError like ``Path.read_text``, and UserError if the archive can't be read.
    """
    try:
        return path.read_text(encoding=encoding)
    except OSError:
        inside = archive_above(path)
        if inside is None:
            raise
        archive, name = inside
        if name not in archive.names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
        return archive.read(name).decode(encoding)


def state_file(path: Path) -> Path:
    """Return the file whose state tells whether a file has changed: itself, or the archive that it is in."""
    if os.path.lexists(path):
        return path
    inside = archive_above(path)
    return path if inside is None else inside[0].state(inside[1])


def walk_archive(path: Path) -> Iterator[tuple[str, list[str], list[str]]] | None:
    """Return what ``os.walk`` gives for a folder, for an archive or a folder in one; None for all other paths."""
    inside = archive_above(path)
    return None if inside is None else _walk(path, *inside)


def _walk(path: Path, archive: Archive, folder: str) -> Iterator[tuple[str, list[str], list[str]]]:
    if folder not in archive.folders:
        return
    folders, files = sorted(archive.folders[folder][0]), sorted(archive.folders[folder][1])
    yield str(path), folders, files
    for name in folders:  # as far as they were left in the list
        yield from _walk(path / name, archive, f"{folder}/{name}" if folder else name)


@lru_cache(maxsize=64)
def _tables(folder: Path, modified: int) -> Archive | None:
    """Open a folder of tables of images once; None for all other folders."""
    from segdla.data.table_archive import TableArchive, table_files

    files = table_files(folder)
    if not files or (not any(file.suffix == ".arrow" for file in files) and _has_pictures(folder)):
        return None
    archive = TableArchive(folder, files)
    return archive if archive.names else None


def _has_pictures(folder: Path) -> bool:
    """Return whether a folder holds pictures too, so that a table in it is about them."""
    from segdla.data.listing import IMAGE_SUFFIXES

    files = chain.from_iterable(folder.glob(pattern) for pattern in ("*", "*/*", "*/*/*"))
    return any(file.suffix.lower() in IMAGE_SUFFIXES for file in files)


@lru_cache(maxsize=8)
def _opened(path: Path, modified: int, size: int) -> Archive | None:
    """Open an archive once, as long as it does not change; None for another file."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:  # told by who reads it
        return None
    name = path.name.lower()
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")) or name.endswith(".zip"):
        from segdla.data.zip_archive import ZipArchive

        return ZipArchive(path)
    if start.startswith(b"\x1f\x8b") or start[257:262] == b"ustar" or name.endswith((".tar", ".tgz")):
        from segdla.data.tar_archive import TarArchive

        return TarArchive(path, is_compressed=start.startswith(b"\x1f\x8b"))
    if start.startswith((b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd")):
        how = f" (tar -xf {path.name})" if ".tar." in name else ""
        raise UserError(
            f"{path} is packed in a way of which single files can't be read: unpack it{how}, and name the folder; or "
            "pack it anew as ZIP"
        )
    return None
