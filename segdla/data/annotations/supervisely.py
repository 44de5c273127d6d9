"""Supervisely: meta.json of the classes, and in each data set's folder ann/NAME.json for each image in img/.

Bitmaps, and polygons with their holes, are drawn in their order. Described at docs.supervisely.com, "Supervisely JSON
format".
"""

import re
from functools import partial
from pathlib import PurePosixPath

import numpy as np

from segdla.data.annotations.encoded_png import patch_of_png
from segdla.data.annotations.file_tree import FileTree
from segdla.data.annotations.image_names import ImageNames
from segdla.data.annotations.json_node import Node, may_be, read_json
from segdla.data.annotations.label_export import Entry, LabelExport, subset_of
from segdla.data.annotations.shapes import Drawing, Shape, box, ring, upright
from segdla.data.labels import Color
from segdla.errors import UserError, quoted

_NO_OUTLINE = "which holds what is around the object too, or has no area: draw a polygon or a bitmap, or remove it"


def recognise(tree: FileTree) -> bool:
    """Return whether there are files of annotations, and their first is of this format."""
    return any(may_be(tree, name, "size", "objects") for name in _files(tree)[:1])


def read(tree: FileTree, images: ImageNames, subset: str | None = None) -> LabelExport:
    """Find the image of each file, which is named like it."""
    names = _files(tree)
    if not names:
        raise UserError(
            f"{tree.root} has no folder ann of JSON files, as Supervisely has it; check the path (--labels)"
        )
    entries, problems = [], []
    for name in names:
        folder = PurePosixPath(name).parent.parent
        try:
            image = images.find(str(folder / "img" / PurePosixPath(name).stem))
        except UserError as error:
            problems.append(f"{tree.path(name)}: {error}")
            continue
        entries.append(Entry(image, name, partial(_load, tree, name), subset_of(str(folder))))
    classes, colors = _classes(tree)
    return LabelExport(entries, classes, colors=colors, problems=problems)


def _files(tree: FileTree) -> list[str]:
    return [name for name in tree.with_suffix(".json") if PurePosixPath(name).parent.name == "ann"]


def _classes(tree: FileTree) -> tuple[list[str], dict[str, Color]]:
    names = [name for name in tree.with_suffix("meta.json") if PurePosixPath(name).name == "meta.json"]
    classes, colors = [], {}
    for one in read_json(tree, names[0])["classes"] if names else ():
        classes.append(one["title"].text())
        digits = re.fullmatch("#([0-9a-fA-F]{6})", str(one.value.get("color")))
        if digits:
            red, green, blue = bytes.fromhex(digits[1])
            colors[classes[-1]] = (red, green, blue)
    return classes, colors


def _load(tree: FileTree, name: str, size: tuple[int, int]) -> Drawing:
    content = read_json(tree, name)
    return Drawing([_shape(one) for one in content["objects"]], size=content["size"].size())


def _shape(one: Node) -> Shape:
    label, kind = one["classTitle"].text(), one["geometryType"].text()
    if kind == "polygon":
        points = one["points"]
        outline = [points["exterior"], *(points.get("interior") or ())]
        return Shape(label, (tuple(ring(corners.value, corners.where) for corners in outline),))
    if kind == "bitmap":
        data, origin = one["bitmap"]["data"], [place.whole() for place in one["bitmap"]["origin"]]
        if len(origin) != 2:
            raise one["bitmap"]["origin"].wrong("[x, y]")
        return Shape(label, mask=partial(patch_of_png, data.text(), True, (origin[0], origin[1]), data.where))
    refusal = f"is of the kind {quoted(kind, 40)}, {_NO_OUTLINE}"
    if kind == "rectangle":
        corners = one["points"]["exterior"]
        ends = np.array(corners.value)
        if ends.shape != (2, 2):
            raise corners.wrong("two points [x, y]")
        (left, top), (right, bottom) = ends.min(0).tolist(), (ends.max(0) + 1).tolist()  # its last pixel is in it
        return box(label, upright(left, top, right, bottom), one.where, refusal)
    raise UserError(f"{one.where} {refusal}")
