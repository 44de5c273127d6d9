"""Paths as users write them: with ``~``, in any Unicode form of their letters, or as URLs of object storage."""

import os
import unicodedata
from pathlib import Path

from segdla.errors import UserError, quoted
from segdla.machine.remote.remote_path import RemotePath, as_path
from segdla.machine.remote.urls import is_url


def user_path(name: str | Path, root: Path = Path()) -> Path:
    """Return the path that a user means, from ``root`` if it is relative; ``~`` is the home folder.

    If nothing has that name, but something has it in another Unicode form, that is meant.

    Raises UserError if the name holds a NUL byte, or the home folder is unknown.
    """
    return as_spelled(expanded(name, root), {})


def expanded(name: str | Path, root: Path) -> Path:
    """Return a path with its ``~`` expanded, from ``root`` if it is relative. Raises UserError like ``user_path``."""
    if "\0" in str(name):
        raise UserError(f"the path {quoted(str(name))} holds a NUL byte; take it out")
    if is_url(name):
        return as_path(name)
    try:
        path = Path(name).expanduser()
        return path if path.is_absolute() else root / path
    except RuntimeError as error:
        raise UserError(f"no home folder for {name} ({error}); write the whole path") from error


def as_spelled(path: Path, folders: dict[Path, dict[str, str]]) -> Path:
    """Return a path as the file system spells it, if it differs from that only in its Unicode form; else the path.

    ``folders`` keeps the names that are in folders for further calls.
    """
    if isinstance(path, RemotePath) or str(path).isascii() or os.path.lexists(path) or path == path.parent:
        return path
    folder = as_spelled(path.parent, folders)
    if folder not in folders:
        try:
            folders[folder] = {composed(entry.name): entry.name for entry in sorted(folder.iterdir())}
        except OSError:  # reported when the file is read
            folders[folder] = {}
    return folder / folders[folder].get(composed(path.name), path.name)


def composed(name: str) -> str:
    """Return a name in the Unicode form NFC, where an accented letter is one character; Macs make it two (NFD)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)
