"""Where an exported file goes: nothing is written over, and nothing unchecked lies under its name."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segdla.errors import UserError
from segdla.export import FORMATS


def leave_alone(path: Path, kind: str) -> None:
    """Raises UserError where a file would be overwritten."""
    for taken in map(path.with_suffix, FORMATS[kind].WRITES):
        if taken.exists():
            raise UserError(f"{taken} exists; choose another --output")


@contextmanager
def unchecked(path: Path) -> Iterator[Path]:
    """A folder on the disk where ``path`` is to be. Raises UserError where that can't be written."""
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix="unchecked-") as folder:
            yield Path(folder)
    except OSError as error:
        if error.strerror is None:
            raise
        raise UserError(f"cannot write {path}: {error.strerror}; choose another --output, or make room") from error
