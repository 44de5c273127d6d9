"""The seam between a format that is written and ``LabelWriter``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from segdla.data.label_files.labelled import Labelled, Style
from segdla.data.source import Classes

Files = Iterator[tuple[str, bytes | Callable[[BinaryIO], None]]]
"""Paths from the folder of the labels, each with its content or a function that writes it."""


class LabelFormat(Protocol):
    """A module of three constants and five functions."""

    IMAGES: str
    """The folder of the images in a data set of the format."""
    IS_FLAT: bool
    """Whether that folder has no folders in it."""
    KEEPS_IGNORED: bool
    """Whether it can say that pixels are ignored."""

    def require_fit(self, classes: Classes) -> None:
        """Raise UserError if a class can't be written."""

    def part(self, name: str) -> str:
        """Return the path, from the folder of the labels, of the file that is written for an image of a name."""

    def content(self, labelled: Labelled, style: Style, file: Path) -> bytes:
        """Return what is in that file, which will be at ``file``. Raises UserError if the image can't be written."""

    def written(self, folder: Path) -> list[str]:
        """Return the names of the images that ``whole`` names, and whose files are in the folder already."""

    def whole(self, folder: Path, names: Mapping[str, Sequence[str]], style: Style) -> Files:
        """Return the files of the whole set; names: of its images, by split. The files of images are in ``folder``."""
