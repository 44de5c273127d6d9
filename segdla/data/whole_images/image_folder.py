"""Images in a folder for each class: ``SPLIT/CLASS/any_name.jpg``."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segdla.data.folder import distinct_colors
from segdla.data.images import image_size, read_image
from segdla.data.listing import IMAGE_SUFFIXES, list_images, walk_images
from segdla.data.paths import user_path
from segdla.data.source import Classes, Source, UnreadableImageError
from segdla.errors import UserError, quoted

_MOST_CLASSES = np.iinfo(np.int16).max  # a target is of two bytes
_MOST_NAMED = 3  # classes in a message


class LabelledImages(Source):
    """Image files below a folder, each of one class; ``labels`` are the classes' ids."""

    def __init__(self, folder: Path, files: Sequence[str], labels: Sequence[int], classes: Classes):
        self.folder = folder
        # Arrays, because a million objects would be copied, page by page, into every worker that counts their uses.
        self.paths = np.array([os.fsencode(file) for file in files], dtype=bytes)
        self.labels = np.array(labels, np.int16)
        self.classes = classes

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        return os.fsdecode(bytes(self.paths[index]))

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read an image, and return its label (1,1) int16; see ``Source.read``. Raises UnreadableImageError."""
        try:
            return read_image(self._path(index)), self.target(index)
        except UserError as error:
            raise UnreadableImageError(str(error)) from error

    def target(self, index: int) -> np.ndarray:
        return self.labels[index, None, None]

    def files(self, index: int) -> tuple[Path, ...]:
        return (self._path(index),)

    def image_size(self, index: int) -> tuple[int, int]:
        return image_size(self._path(index))

    def _path(self, index: int) -> Path:
        return self.folder / self.name(index)


def image_folder(root: str, split: str, reference: str) -> LabelledImages:
    """Return the images in the class folders of a split; the classes are those of the split ``reference``.

    Both are folders in ``root``. Raises UserError if a folder is missing, a class has no image, or the two splits have
    other classes.
    """
    top = user_path(root)
    classes = _class_folders(top, reference)
    if split != reference:
        _require_alike(top, reference, classes, split, _class_folders(top, split))
    folder = user_path(split, top)
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        members = [os.path.relpath(path, folder) for path in walk_images(folder / name)]
        if not members:
            list_images(folder / name)  # says what is there instead
        files += members
        labels += [label] * len(members)
    return LabelledImages(folder, files, labels, Classes(classes, distinct_colors(len(classes)), whole_images=True))


def _class_folders(root: Path, split: str) -> tuple[str, ...]:
    """Return the names of the class folders of a split, in order. Raises UserError if there are not two at least."""
    folder = user_path(split, root)
    if not folder.is_dir():
        remedy = (
            f"move a part of the images of each class there, from {root}, or name another folder"
            if root.is_dir()
            else "check data.root"
        )
        raise UserError(f"no folder {folder} of class folders; {remedy} (data.train, data.val)")
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    names = tuple(entry.name for entry in entries if entry.is_dir())
    strays = [entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES and not entry.is_dir()]
    if strays:
        raise UserError(f"{strays[0]} is in no class folder; move it into that of its class, {folder}/CLASS/, or away")
    if not 2 <= len(names) <= _MOST_CLASSES:
        raise UserError(
            f"{folder} holds {len(names)} class folders, and there are to be 2 to {_MOST_CLASSES}; an image is at "
            f"{folder}/CLASS/NAME.jpg"
        )
    return names


def _require_alike(root: Path, one: str, classes: Sequence[str], other: str, its_own: Sequence[str]) -> None:
    """Raise UserError unless two splits have the same classes."""
    for split, names, rest, theirs in ((one, classes, other, its_own), (other, its_own, one, classes)):
        if lone := sorted({*names} - {*theirs}):
            more = f" and {len(lone) - _MOST_NAMED} more" if len(lone) > _MOST_NAMED else ""
            raise UserError(
                f"{user_path(split, root)} has the class folders {quoted(lone[:_MOST_NAMED])}{more}, which "
                f"{user_path(rest, root)} has not; both are to have the same classes"
            )
