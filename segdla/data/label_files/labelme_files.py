"""Labelme, written: a JSON file for each image, a polygon a region; __ignore__ is the label of what is ignored.

A labels.txt lists the classes, for ``labelme --labels labels.txt``.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from segdla.data.annotations.unlabelled import IGNORED
from segdla.data.label_files.label_format import Files
from segdla.data.label_files.labelled import NO_LINE, Labelled, Style, as_lines, require_names
from segdla.data.source import Classes

IMAGES = ""  # beside the labels
KEEPS_IGNORED = True
IS_FLAT = False
_VERSION = "5.5.0"  # of labelme, whose files are like these


def require_fit(classes: Classes) -> None:
    """Raise UserError if a name of a class can't be written."""
    require_names(classes.names, NO_LINE, "labelme's labels.txt")


def part(name: str) -> str:
    """Return the file of an image's labels."""
    return f"{name.rpartition('.')[0]}.json"


def content(labelled: Labelled, style: Style, file: Path) -> bytes:
    """Return the labels of an image, with the way to it from ``file``."""
    height, width = labelled.class_ids.shape
    shapes = [
        {
            "label": style.name(region.class_id),
            "points": region.joined.tolist(),
            "group_id": None,
            "description": ", ".join(f"{name}: {value}" for name, value in labelled.attributes_of(region).items()),
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
        }
        for region in style.regions(labelled.class_ids)
    ]
    values = {
        "version": _VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": _way(labelled, file),
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    return (json.dumps(values, separators=(",", ":")) + "\n").encode()


def written(folder: Path) -> list[str]:
    """Return nothing, for no file names the images of a set."""
    return []


def whole(folder: Path, names: Mapping[str, Sequence[str]], style: Style) -> Files:
    """Return the list of classes."""
    yield "labels.txt", as_lines((IGNORED, *style.classes.names))


def _way(labelled: Labelled, file: Path) -> str:
    if labelled.path is None:
        return labelled.name.rpartition("/")[2]
    try:
        return Path(os.path.relpath(labelled.path, file.parent)).as_posix()
    except ValueError:  # on another drive of Windows
        return str(labelled.path.absolute())
