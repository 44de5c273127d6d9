"""Two folders, written: images and palette PNGs of ids of the same names, 255 where they are ignored."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from segdla.data.label_files.label_format import Files
from segdla.data.label_files.labelled import NO_LINE, Labelled, Style, as_lines, require_names
from segdla.data.source import Classes

IMAGES = "images"
KEEPS_IGNORED = True
IS_FLAT = False


def require_fit(classes: Classes) -> None:
    """Raise UserError if a name of a class can't be written."""
    require_names(classes.names, NO_LINE, "class_names.txt")


def part(name: str) -> str:
    """Return the mask of an image."""
    return f"masks/{name.rpartition('.')[0]}.png"


def content(labelled: Labelled, style: Style, file: Path) -> bytes:
    """Return the mask as a PNG."""
    return labelled.mask(style.classes.palette)


def written(folder: Path) -> list[str]:
    """Return nothing, for no file names the images of a set."""
    return []


def whole(folder: Path, names: Mapping[str, Sequence[str]], style: Style) -> Files:
    """Return the list of the classes, by their ids."""
    yield "class_names.txt", as_lines(style.classes.names)
