"""A folder of pictures that is put in place at once."""

import re
import shutil
from pathlib import Path

import numpy as np

from segdla.data.image_writer import write_image
from segdla.errors import UserError
from segdla.machine.files import partial_path, put_in_place
from segdla.machine.remote.remote_path import RemotePath


class PictureFolder:
    """A folder of PNGs, which has another name until it is closed and then replaces an earlier one.

    In storage, where nothing can be renamed, its pictures get their names at once, and an earlier one's stay.

    Raises UserError if the earlier one holds anything but files whose names match ``pattern``.
    """

    def __init__(self, path: Path, pattern: str):
        self._path = self._partial = path
        if isinstance(path, RemotePath):
            return
        foreign = next((file for file in path.glob("*") if not re.fullmatch(rf"{pattern}|\..*", file.name)), None)
        if foreign is not None:
            raise UserError(f"{foreign} would be deleted, for {path} is made anew; move it or choose another --output")
        self._partial = partial_path(path)
        shutil.rmtree(self._partial, ignore_errors=True)  # of a process that was killed

    def add(self, name: str, picture: np.ndarray) -> None:
        write_image(self._partial / name, picture)

    def close(self, keep: bool) -> None:
        if isinstance(self._path, RemotePath):
            return
        try:
            shutil.rmtree(self._path if keep else self._partial, ignore_errors=True)
            if keep:
                put_in_place(self._partial, self._path)
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}; choose another place") from error


def sweep_partial(path: Path, owner: str) -> None:
    """Remove what a dead process left of a file or folder half-written; see ``own_partial_files``."""
    for partial in (partial_path(path, suffix, owner) for suffix in ("", path.suffix)):
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        partial.unlink(missing_ok=True)
