"""COCO: one JSON file of all images, categories and annotations, or one a split.

An annotation is polygons, of which each is a part, or a mask of runs (RLE), as a list of their lengths or as text.
Crowds are ignored; but in files of CVAT, which calls each mask a crowd, they are objects. Described at
cocodataset.org/#format-data; the text of a mask in pycocotools' maskApi.c.
"""

from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import PurePosixPath

import numpy as np

from segdla.data.annotations.file_tree import FileTree
from segdla.data.annotations.image_names import ImageNames
from segdla.data.annotations.json_node import Node, is_panoptic, may_be, read_json
from segdla.data.annotations.label_export import Entry, LabelExport, given, refused, subset_of
from segdla.data.annotations.runs import decode_counts, patch_of_runs
from segdla.data.annotations.shapes import Drawing, Shape, box, ring, upright
from segdla.data.labels import Color
from segdla.errors import UserError, quoted

_KEYS = ("images", "annotations", "categories")
_NO_OUTLINE = (
    "has no outline, only a box: draw polygons or masks in the labelling tool, for a box holds what is around the "
    "object too; or remove it"
)


def recognise(tree: FileTree) -> bool:
    """Return whether some file is of this format."""
    return any(may_be(tree, name, *_KEYS) and not is_panoptic(tree, name) for name in tree.with_suffix(".json"))


def read(tree: FileTree, images: ImageNames, subset: str | None = None) -> LabelExport:
    """Read the files of all splits, or of one. Raises UserError if one can't be read, or they have other classes."""
    entries: list[Entry] = []
    problems: list[str] = []
    classes: dict[str, None] = {}
    colors: dict[str, Color] = {}
    for name in _files(tree):
        if subset and subset_of(name) not in ("", subset):
            continue
        content = read_json(tree, name)
        categories = _categories(content)
        classes |= dict.fromkeys(categories.values())
        colors |= category_colors(content)
        some, troubles = _entries(tree, name, content, categories, images)
        entries += some
        problems += troubles
    return LabelExport(entries, list(classes), smaller_on_top=True, colors=colors, problems=problems)


def category_names(content: Node) -> dict[int, str]:
    """Return the names of a file's categories by id. Raises UserError if two have one id."""
    categories: dict[int, Node] = {}
    for one in content["categories"]:
        other = categories.setdefault(one["id"].whole(), one)
        if other["name"].text() != one["name"].text():
            raise UserError(
                f"{other.where} ({quoted(other['name'].text(), 40)}) and {one.where} "
                f"({quoted(one['name'].text(), 40)}) have one id, {one['id'].whole()}, so annotations of it may be of "
                "either; mend the file, or export it anew"
            )
    return {number: one["name"].text() for number, one in categories.items()}


def category_colors(content: Node) -> dict[str, Color]:
    """Return the colours of a file's categories by name, as far as it has them."""
    found = ((one["name"].text(), one.value.get("color")) for one in content["categories"])
    return {
        name: (color[0], color[1], color[2])
        for name, color in found
        if isinstance(color, list) and len(color) == 3 and all(type(c) is int and 0 <= c < 256 for c in color)
    }


def _files(tree: FileTree) -> list[str]:
    """List the files to read: of several kinds in a folder, as COCO's own has them, those of instances."""
    files = tree.with_suffix(".json")
    instances = [name for name in files if PurePosixPath(name).name.startswith("instances")]
    files = instances or [name for name in files if len(files) == 1 or may_be(tree, name, *_KEYS)]
    if not files:
        raise UserError(f"{tree.root} has no JSON file of images, annotations and categories, as COCO's are")
    return files


def _categories(content: Node) -> dict[int, str]:
    """Return the names by id, without one that only groups others, as Roboflow writes it."""
    categories = category_names(content)
    above = {one["id"].value: one.value.get("supercategory") for one in content["categories"]}
    groups = {i for i, name in categories.items() if above[i] == "none" and name in above.values()}
    used = {one["category_id"].value for one in content["annotations"]} if groups else set()
    return {i: name for i, name in categories.items() if i not in groups or i in used}


def _entries(
    tree: FileTree, name: str, content: Node, categories: Mapping[int, str], images: ImageNames
) -> tuple[list[Entry], list[str]]:
    """Return an entry for each image that is there, and the problems with the others."""
    by_image: dict[int, list[Node]] = defaultdict(list)
    for annotation in content["annotations"]:
        by_image[annotation["image_id"].whole()].append(annotation)
    entries, problems = [], []
    ids = {image["id"].whole(): image for image in content["images"]}
    for image in content["images"]:
        image_id = image["id"].whole()
        if ids[image_id].key != image.key:
            raise UserError(
                f"{image.where} and {ids[image_id].where} have one id, {image_id}, so annotations of it may be of "
                "either; mend the file, or export it anew"
            )
        annotations = by_image.pop(image_id, [])
        try:
            found = images.find(image["file_name"].text())
        except UserError as error:
            problems.append(f"{image.where}: {error}")
            continue
        size = image.size() if image.get("height") and image.get("width") else None
        try:
            load = partial(given, Drawing([_shape(one, categories) for one in annotations], size=size))
        except UserError as error:
            load = partial(refused, str(error))
        split = subset_of(name) or subset_of(found.rpartition("/")[0])
        entries.append(Entry(found, name, load, split))
    for strangers in by_image.values():
        problems.append(
            f"{strangers[0]['image_id'].where} is {strangers[0].value['image_id']}, which is the id of no "
            "image; mend the file, or export it anew"
        )
    return entries, problems


def _shape(annotation: Node, categories: Mapping[int, str]) -> Shape:
    category = annotation["category_id"].whole()
    if category not in categories:
        raise UserError(
            f"{annotation['category_id'].where} is {category}, which is none of the categories "
            f"({', '.join(map(str, sorted(categories)[:20]))}); add it there, or remove the annotation"
        )
    label, segmentation, is_crowd = categories[category], annotation.get("segmentation"), _is_crowd(annotation)
    if segmentation is None or segmentation.value == []:
        left, top, width, height = _box(annotation["bbox"])
        return box(label, upright(left, top, left + width, top + height), annotation.where, _NO_OUTLINE)
    if isinstance(segmentation.value, dict):
        height, width = (side.whole() for side in segmentation["size"])
        counts = _counts(segmentation["counts"])
        return Shape(label, (), partial(patch_of_runs, counts, (height, width), segmentation.where), is_crowd)
    return Shape(label, tuple((_polygon(part),) for part in segmentation), None, is_crowd)


def _is_crowd(annotation: Node) -> bool:
    """Return whether an annotation is of many objects, which are ignored.

    CVAT and datumaro set iscrowd of every mask. They are told by attributes, which COCO's own files lack.
    """
    crowd = annotation.get("iscrowd")
    return crowd is not None and crowd.whole() == 1 and annotation.get("attributes") is None


def _box(numbers: Node) -> list[float]:
    sides = [number.number() for number in numbers]
    if len(sides) != 4:
        raise numbers.wrong("[x, y, width, height]")
    return sides


def _polygon(numbers: Node) -> np.ndarray:
    if not isinstance(numbers.value, list) or len(numbers.value) % 2:
        raise numbers.wrong("a list of x, y, x, y, ...")
    return ring(list(zip(numbers.value[::2], numbers.value[1::2], strict=True)), numbers.where)


def _counts(counts: Node) -> np.ndarray:
    if isinstance(counts.value, str):
        return decode_counts(counts.value, counts.where)
    lengths = np.array(counts.value) if isinstance(counts.value, list) else None
    if lengths is None or lengths.ndim != 1 or lengths.dtype != np.int64:
        raise counts.wrong("a list of whole numbers, or text")
    return lengths
