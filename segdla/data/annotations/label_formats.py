"""The formats of labels that are read. To add one, write a module like these, and give it a line in ``FORMATS``."""

from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Protocol

from segdla.data.annotations import (
    binary_masks,
    coco,
    coco_panoptic,
    cvat,
    label_studio,
    labelme,
    pascal_voc,
    roboflow_masks,
    supervisely,
    yolo,
)
from segdla.data.annotations.file_tree import FileTree
from segdla.data.annotations.image_names import ImageNames
from segdla.data.annotations.json_node import read_json
from segdla.data.annotations.label_export import LabelExport
from segdla.errors import UserError, quoted

_MOST_TRIED = 5  # files


class UnknownFormatError(UserError):
    """Labels are of no format in the list; perhaps they are masks."""


class AnnotationFormat(Protocol):
    """A module of two functions."""

    def recognise(self, tree: FileTree) -> bool:
        """Return whether the files are of this format, by their content."""

    def read(self, tree: FileTree, images: ImageNames, subset: str | None = None) -> LabelExport:
        """Return the labelled images among ``images``, of one subset at least.

        Raises UserError if the files aren't of this format. A fault of one image is one of the export's problems, or
        raised by the ``load`` of its entry.
        """


FORMATS: Mapping[str, AnnotationFormat] = {
    "coco": coco,
    "coco_panoptic": coco_panoptic,
    "yolo": yolo,
    "labelme": labelme,
    "voc": pascal_voc,
    "cvat": cvat,
    "roboflow": roboflow_masks,
    "label_studio": label_studio,
    "supervisely": supervisely,
    "binary_masks": binary_masks,
}
"""Formats by the names that ``data.format`` has."""


def format_named(name: str) -> AnnotationFormat:
    """Return the format of a name. Raises UserError if there is none."""
    if name not in FORMATS:
        raise UserError(f"{quoted(name, 40)} is no format of labels; those that are read: {', '.join(FORMATS)}")
    return FORMATS[name]


def recognise_tree(tree: FileTree) -> str:
    """Return the name of the format that the files are of. Raises UserError if it is not one alone, or none."""
    names = [name for name, form in FORMATS.items() if form.recognise(tree)]
    if len(names) == 1:
        return names[0]
    if names:
        raise UserError(f"{tree.root} may be {' or '.join(names)}; say which: --format {names[0]}")
    kinds = Counter(PurePosixPath(name).suffix.lower() for name in tree.names).most_common(3)
    content = ", ".join(f"{count} {suffix}" for suffix, count in kinds) or "no file of labels"
    place = tree.path(tree.names[0]) if tree.is_of_one else f"{tree.root} ({content})"
    kind = UserError if tree.is_of_one else UnknownFormatError  # masks are several files
    raise kind(
        f"{place} holds labels of no format that is known: {', '.join(FORMATS)}; if it is one, say "
        f"which, to learn what is missing: --format {next(iter(FORMATS))}{_damage(tree)}"
    )


def _damage(tree: FileTree) -> str:
    """Say why the JSON files can't be read, after a message; nothing if one of the first can be, or there is none."""
    error = None
    for name in tree.with_suffix(".json")[:_MOST_TRIED]:
        try:
            read_json(tree, name)
            return ""
        except UserError as damage:
            error = error or damage
    return f"; {error}" if error else ""
