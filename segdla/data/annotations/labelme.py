"""Labelme: one JSON file an image, beside it or in a folder of its own.

Polygons, masks, rectangles and circles are drawn in their order, as labelme's own converter does; the label __ignore__
is of what is unlabelled. A labels.txt gives the order of the classes. Described by labelme's label_file.py and
utils/shape.py.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath

import numpy as np

from segdla.data.annotations.encoded_png import patch_of_png
from segdla.data.annotations.file_tree import FileTree
from segdla.data.annotations.image_names import ImageNames
from segdla.data.annotations.json_node import Node, may_be, read_json
from segdla.data.annotations.label_export import Entry, LabelExport, subset_of
from segdla.data.annotations.shapes import Drawing, Shape, ellipse, ring
from segdla.data.annotations.unlabelled import IGNORED
from segdla.errors import UserError, quoted

_KEYS = ("shapes", "imagePath")


def recognise(tree: FileTree) -> bool:
    """Return whether some file is of this format."""
    return any(may_be(tree, name, *_KEYS) for name in tree.with_suffix(".json")[:20])


def read(tree: FileTree, images: ImageNames, subset: str | None = None) -> LabelExport:
    """Find the image of each JSON file: the one of the same name, or the one that it names."""
    entries, problems = [], []
    for name in tree.with_suffix(".json"):
        try:
            image = _image_of(tree, name, images)
        except UserError as error:
            problems.append(str(error))
            continue
        split = subset_of(name.rpartition("/")[0]) or subset_of(image.rpartition("/")[0])
        entries.append(Entry(image, name, partial(_load, tree, name), split))
    if not entries and not problems:
        raise UserError(f"{tree.root} has no JSON file, which labelme writes for each image; check the path (--labels)")
    return LabelExport(entries, _classes(tree), ignore=(IGNORED,), problems=problems)


def _classes(tree: FileTree) -> list[str]:
    """Return the classes that a labels.txt lists, which labelme is started with; none if there is not exactly one."""
    lists = [name for name in tree.with_suffix(".txt") if PurePosixPath(name).name == "labels.txt"]
    lines = tree.read(lists[0]).decode("utf-8-sig", "replace").splitlines() if len(lists) == 1 else []
    return [line.strip() for line in dict.fromkeys(lines) if line.strip() not in ("", IGNORED)]


def _image_of(tree: FileTree, name: str, images: ImageNames) -> str:
    try:
        return images.find(str(PurePosixPath(name).with_suffix("")))
    except UserError:
        content = read_json(tree, name)
        try:
            return images.find(content["imagePath"].text())
        except UserError as error:
            raise UserError(f"{content.where}: {error}") from error


def _load(tree: FileTree, name: str, size: tuple[int, int]) -> Drawing:
    content = read_json(tree, name)
    has_size = content.get("imageHeight") and content.get("imageWidth")
    size_by_labels = content.size("imageHeight", "imageWidth") if has_size else None
    return Drawing([shape for one in content["shapes"] for shape in _shapes(one)], size=size_by_labels)


def _shapes(shape: Node) -> Iterator[Shape]:
    label, kind = shape["label"].text(), shape.get("shape_type")
    corners = shape["points"]
    match "polygon" if kind is None else kind.value:
        case "polygon" | "oriented_rectangle":
            yield Shape(label, ((ring(corners.value, corners.where),),))
        case "rectangle":
            (x0, y0), (x1, y1) = _two(corners)
            yield Shape(label, ((ring([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], corners.where),),))
        case "circle":
            center, edge = _two(corners)
            yield Shape(label, ((ellipse(center, [np.hypot(*(edge - center))] * 2),),))
        case "mask":
            x, y = _two(corners)[0].round().astype(int).tolist()
            mask = shape["mask"]
            yield Shape(label, mask=partial(patch_of_png, mask.text(), False, (x, y), mask.where))
        case other:
            raise UserError(
                f"{shape.where} is of the kind {quoted(other, 40)}, which has no area; draw a polygon, or remove it"
            )


def _two(corners: Node) -> np.ndarray:
    if not isinstance(corners.value, list) or len(corners.value) != 2:
        raise corners.wrong("two points [x, y]")
    return ring([*corners.value, corners.value[0]], corners.where)[:2]
