"""COCO, written: one JSON file a split, an annotation a region; ignored pixels are a crowd, as a mask (RLE)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from segdla.data.label_files.label_format import Files
from segdla.data.label_files.labelled import UNSPLIT, Attributes, Labelled, Style, numbers, require_names
from segdla.data.label_files.regions import Region
from segdla.data.label_files.shares import share_of, shared_images
from segdla.data.labels import IGNORE_INDEX
from segdla.data.source import Classes

IMAGES = "images"
KEEPS_IGNORED = True
IS_FLAT = False


def require_fit(classes: Classes) -> None:
    """Raise UserError if a name of a class can't be written."""
    require_names(classes.names, r"[\ud800-\udfff]", "COCO", strip=False)


def part(name: str) -> str:
    """Return the file that an image's share is kept in, beside the whole."""
    return share_of(name, ".json")


def content(labelled: Labelled, style: Style, file: Path) -> bytes:
    """Return an image's share: its entry and its annotations, without their numbers."""
    height, width = labelled.class_ids.shape
    regions = [region for region in style.regions(labelled.class_ids) if region.class_id != IGNORE_INDEX]
    annotations = [_annotation(region, labelled.attributes_of(region)) for region in regions]
    ignored = labelled.class_ids == IGNORE_INDEX
    if ignored.any() and style.background != IGNORE_INDEX:
        annotations.append(_crowd(ignored))
    image = {"file_name": labelled.name, "height": height, "width": width}
    return json.dumps({"image": image, "annotations": annotations}, separators=(",", ":")).encode()


def written(folder: Path) -> list[str]:
    """Return the names of the images that have been written."""
    return shared_images(folder, ".json")


def whole(folder: Path, names: Mapping[str, Sequence[str]], style: Style) -> Files:
    """Return the file of each split: from the shares of its images, which are not in memory all at once."""
    for split, images in names.items():

        def write(file: BinaryIO, images: Sequence[str] = images) -> None:
            file.write(json.dumps(_head(style.classes))[:-1].encode())
            for key in ("images", "annotations"):
                file.write(f',\n "{key}": ['.encode())
                for i, entry in enumerate(_entries(folder, images, key)):
                    file.write((",\n  " if i else "\n  ").encode() + json.dumps(entry, separators=(",", ":")).encode())
                file.write(b"\n ]")
            file.write(b"\n}\n")

        yield f"annotations/instances_{split or UNSPLIT}.json", write


def _head(classes: Classes) -> dict[str, Any]:
    categories = [
        {"id": i, "name": name, "supercategory": "", "color": list(color)}
        for i, (name, color) in enumerate(zip(classes.names, classes.palette, strict=True), start=1)
    ]
    return {"info": {"description": "written by segdla"}, "licenses": [], "categories": categories}


def _entries(folder: Path, images: Sequence[str], key: str) -> Iterator[dict[str, Any]]:
    number = 0
    for image_id, name in enumerate(images, start=1):
        share = json.loads((folder / part(name)).read_bytes())
        if key == "images":
            yield {"id": image_id, **share["image"]}
            continue
        for annotation in share["annotations"]:
            number += 1
            yield {"id": number, "image_id": image_id, **annotation}


def _annotation(region: Region, attributes: Attributes) -> dict[str, Any]:
    left, top = region.outline.min(0)
    right, bottom = region.outline.max(0)
    return {
        "category_id": region.class_id + 1,
        "segmentation": [numbers(region.joined)],
        "area": region.pixels,
        "bbox": numbers(np.array([left, top, right - left, bottom - top])),
        "iscrowd": 0,
        **({"attributes": dict(attributes)} if attributes else {}),
    }


def _crowd(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask (H,W) as runs down the columns, of zeros first; a crowd is ignored, whatever its class."""
    columns = mask.T.ravel()
    ends = np.append(np.flatnonzero(columns[1:] != columns[:-1]) + 1, columns.size)
    counts = np.diff(ends, prepend=0).tolist()
    rows, across = (np.flatnonzero(mask.any(axis)).tolist() for axis in (1, 0))
    bbox = [across[0], rows[0], across[-1] + 1 - across[0], rows[-1] + 1 - rows[0]]
    return {
        "category_id": 1,
        "segmentation": {"size": list(mask.shape), "counts": [0, *counts] if columns[0] else counts},
        "area": int(mask.sum()),
        "bbox": bbox,
        "iscrowd": 1,
    }
