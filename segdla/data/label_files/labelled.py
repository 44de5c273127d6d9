"""A labelled image, and how its labels are to be written."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segdla.data.annotations.pascal_voc import VOID
from segdla.data.annotations.unlabelled import IGNORED
from segdla.data.image_writer import encode_palette
from segdla.data.label_files.outlines import EXACT
from segdla.data.label_files.regions import Region, polygons
from segdla.data.labels import IGNORE_INDEX, Color
from segdla.data.source import Classes
from segdla.errors import UserError, quoted

UNSPLIT = "default"
"""The name that formats give the images of a set that is not split, after CVAT."""
NO_LINE = r"[\ud800-\udfff\x00-\x1f\x85\u2028\u2029]"
"""A pattern of the characters that a line of text can't hold."""


Attributes = Mapping[str, str | float]


@dataclass(frozen=True)
class Labelled:
    """An image with its class ids."""

    name: str  # path in the folder of images, with /
    class_ids: np.ndarray  # (H,W) uint8, IGNORE_INDEX where it is unlabelled
    split: str = ""
    path: Path | None = None  # where the image is, if it is a file
    numbers: np.ndarray | None = None  # (H,W), of the things that ``attributes`` tell more about
    attributes: Sequence[Attributes] = ()

    def attributes_of(self, region: Region) -> Attributes:
        """Return what else is known of a region, by name; nothing if it is a class alone."""
        return {} if self.numbers is None else self.attributes[self.numbers.flat[region.place]]

    def mask(self, colors: Sequence[Color]) -> bytes:
        """Return the class ids as a PNG with a palette: the colours of the classes, and ``VOID`` for other ids."""
        return encode_palette(self.class_ids, [*colors, *([VOID] * (IGNORE_INDEX + 1 - len(colors)))])


@dataclass(frozen=True)
class Style:
    """The classes, and the choices of the user."""

    classes: Classes
    background: int | None = None  # the class, or IGNORE_INDEX, whose pixels are left without a label
    tolerance: float = EXACT  # of outlines, in pixels
    least: int = 1  # pixels of a region; smaller ones get their neighbours' class
    by_network: bool = False
    attributes: tuple[str, ...] = ()  # names of those that regions have

    def regions(self, class_ids: np.ndarray) -> list[Region]:
        """Return the regions to write, of ignored pixels too."""
        leave = () if self.background is None else (self.background,)
        return polygons(class_ids, self.tolerance, leave)

    def name(self, class_id: int) -> str:
        """Return the name of a class, or the label of what is ignored."""
        return IGNORED if class_id == IGNORE_INDEX else self.classes.names[class_id]


def numbers(corners: np.ndarray) -> list[int | float]:
    """Return x, y, x, y, ... of corners (N,2), whole numbers as such."""
    return [int(number) if number.is_integer() else number for number in corners.ravel().tolist()]


def as_lines(names: Iterable[str]) -> bytes:
    """Return a text of a name a line."""
    return "".join(f"{name}\n" for name in names).encode()


def require_image_name(name: str, forbidden: str, form: str) -> None:
    """Raise UserError if the name of an image holds a character of a pattern."""
    if re.search(forbidden, name):
        raise UserError(f"{form} can't hold the image name {quoted(name)}; rename the file")


def require_names(names: Sequence[str], forbidden: str, form: str, strip: bool = True) -> None:
    """Raise UserError if two classes have one name, or a name holds a character of a pattern, or spaces around it."""
    for i, name in enumerate(names):
        if name in names[:i]:
            raise UserError(f"two classes have the name {quoted(name, 60)}; {form} tells them apart by it: rename one")
        if re.search(forbidden, name) or not name.strip() or (strip and name != name.strip()):
            raise UserError(f"{form} can't hold the class name {quoted(name, 60)}; rename the class")
        if name == IGNORED:
            raise UserError(f"the class name {IGNORED!r} stands for what is ignored; rename the class")
