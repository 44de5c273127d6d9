"""YOLO segmentation, written: data.yaml, a list of the images of each split, and a text file for each image.

A line is a region: the number of its class, then x and y of its corners as shares of the width and height. It can't say
what is ignored: such pixels are left without a label.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from segdla.data.label_files.label_format import Files
from segdla.data.label_files.labelled import NO_LINE, Labelled, Style, as_lines, require_image_name, require_names
from segdla.data.labels import IGNORE_INDEX
from segdla.data.source import Classes

IMAGES = "images"
KEEPS_IGNORED = False
IS_FLAT = False
_ALL = "train"  # the list of a set that is not split


def require_fit(classes: Classes) -> None:
    """Raise UserError if a name of a class can't be written."""
    require_names(classes.names, r"[\ud800-\udfff]", "YOLO", strip=False)


def part(name: str) -> str:
    """Return the file of an image's labels."""
    return f"labels/{name.rpartition('.')[0]}.txt"


def content(labelled: Labelled, style: Style, file: Path) -> bytes:
    """Return the lines of an image's regions. Raises UserError if a list can't hold its name."""
    require_image_name(labelled.name, NO_LINE, "YOLO's list")
    size = np.array(labelled.class_ids.shape[::-1])
    lines = [
        f"{region.class_id} {' '.join(map(_share, (region.joined / size).ravel().tolist()))}\n"
        for region in style.regions(labelled.class_ids)
        if region.class_id != IGNORE_INDEX
    ]
    return "".join(lines).encode()


def written(folder: Path) -> list[str]:
    """Return the names of the images in the list of a set that is not split."""
    file = folder / f"{_ALL}.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [line.removeprefix(f"./{IMAGES}/") for line in lines]


def whole(folder: Path, names: Mapping[str, Sequence[str]], style: Style) -> Files:
    """Return data.yaml and the lists; a set that is not split is all to train on."""
    lists = {split or _ALL: images for split, images in names.items()}
    for split, images in lists.items():
        yield f"{split}.txt", as_lines(f"./{IMAGES}/{name}" for name in images)
    content = {**{split: f"{split}.txt" for split in lists}, "names": dict(enumerate(style.classes.names))}
    yield "data.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()


def _share(number: float) -> str:
    return f"{number:.9f}".rstrip("0").rstrip(".")
