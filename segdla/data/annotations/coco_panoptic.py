"""COCO panoptic: a PNG for each image, and a JSON file that names the segments in it.

A pixel's colour is the id of its segment: R + 256 G + 256² B. Crowds are ignored. Id 0 is no segment: it is ignored,
unless all categories are things; then it is what is around them, as in other formats. Described at
cocodataset.org/#format-data.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath

import numpy as np

from segdla.data.annotations.coco import category_colors, category_names
from segdla.data.annotations.file_tree import FileTree
from segdla.data.annotations.image_names import ImageNames
from segdla.data.annotations.json_node import Node, is_panoptic, read_json
from segdla.data.annotations.label_export import Entry, LabelExport, refused, subset_of
from segdla.data.annotations.shapes import Drawing
from segdla.data.images import decode_stored_mask
from segdla.data.labels import IGNORE_INDEX, UNLABELLED, Color, packed_colors
from segdla.errors import UserError, one_line

_MOST_CATEGORIES = 253


def recognise(tree: FileTree) -> bool:
    """Return whether some file is of this format."""
    return bool(_files(tree))


def read(tree: FileTree, images: ImageNames, subset: str | None = None) -> LabelExport:
    """Read the files of all splits, or of one. Raises UserError if one can't be read, or has too many categories."""
    files = _files(tree)
    if not files:
        raise UserError(f"{tree.root} has no JSON file with segments_info, as COCO's panoptic labels have it")
    contents = {name: read_json(tree, name) for name in files if not subset or subset_of(name) in ("", subset)}
    categories: dict[str, Node] = {}
    for content in contents.values():
        categories |= {one["name"].text(): one for one in content["categories"]}
    if len(categories) > _MOST_CATEGORIES:
        raise UserError(f"{tree.root} has {len(categories)} categories, and {_MOST_CATEGORIES} at most can be read")
    classes = list(categories)
    only_things = all(one.value.get("isthing", 1) == 1 for one in categories.values())
    entries: list[Entry] = []
    problems: list[str] = []
    colors: dict[str, Color] = {}
    there = sorted(tree.names_beside())
    for name, content in contents.items():
        positions = {number: classes.index(category) for number, category in category_names(content).items()}
        segments = _Segments(positions, UNLABELLED if only_things else IGNORE_INDEX)
        some, troubles = _entries(tree, there, name, content, segments, images)
        entries += some
        problems += troubles
        colors |= category_colors(content)
    return LabelExport(entries, classes, colors=colors, problems=problems)


class _Segments:
    """The positions of categories among the classes, by id, and that of no segment."""

    def __init__(self, positions: Mapping[int, int], none: int):
        self.positions = positions
        self.none = none

    def of(self, annotation: Node) -> dict[int, int]:
        """Return the position, or IGNORE_INDEX, of each segment of an image."""
        by_id = {0: self.none}
        for segment in annotation["segments_info"]:
            category, crowd = segment["category_id"].whole(), segment.get("iscrowd")
            if category not in self.positions:
                raise UserError(
                    f"{segment['category_id'].where} is {category}, which is none of the categories "
                    f"({', '.join(map(str, sorted(self.positions)[:20]))}); add it there, or export the labels anew"
                )
            is_crowd = crowd is not None and crowd.whole() == 1
            if not 0 <= segment["id"].whole() < 1 << 24:
                raise segment["id"].wrong("an id that a colour can hold")
            by_id[segment["id"].whole()] = IGNORE_INDEX if is_crowd else self.positions[category]
        return by_id


def _files(tree: FileTree) -> list[str]:
    return [name for name in tree.with_suffix(".json") if is_panoptic(tree, name)]


def _entries(
    tree: FileTree, there: Sequence[str], name: str, content: Node, segments: _Segments, images: ImageNames
) -> tuple[list[Entry], list[str]]:
    """Return an entry for each image that is there with its PNG, and the problems with the others."""
    entries, problems = [], []
    folder = _mask_folder(tree, there, content, name, segments)
    pngs = {png for png in there if png.startswith(folder)}
    among = images.without(pngs) if images.tree.root == tree.root else images
    ids = {image["id"].whole(): image for image in content["images"]}
    for annotation in content["annotations"]:
        image = ids.get(annotation["image_id"].whole())
        png = folder + annotation["file_name"].text()
        try:
            if image is None:
                raise UserError(f"is of image {annotation['image_id'].value}, which is none of the images")
            if png not in pngs:
                raise UserError(f"no mask {one_line(str(tree.path(png)), 200)}; add it, or take out the annotation")
            found = among.find(image["file_name"].text())
        except UserError as error:
            problems.append(f"{annotation.where}: {error}")
            continue
        try:
            size = image.size() if image.get("height") and image.get("width") else None
            load = partial(_load, tree, png, segments.of(annotation), annotation.where, size)
        except UserError as error:
            load = partial(refused, str(error))
        split = subset_of(name) or subset_of(found.rpartition("/")[0])
        entries.append(Entry(found, png, load, split, (name,)))
    return entries, problems


def _mask_folder(tree: FileTree, there: Sequence[str], content: Node, name: str, segments: _Segments) -> str:
    """Return the folder of a file's PNGs, up to its last /: that of its name, or the one of segments' ids.

    Raises UserError if it is none, or not one alone.
    """
    beside = f"{PurePosixPath(name).with_suffix('')}/"
    first = next(iter(content["annotations"]), None)
    if first is None or beside + first["file_name"].text() in there:
        return beside
    png = first["file_name"].text()
    folders = [other.removesuffix(png) for other in there if f"/{other}".endswith(f"/{png}")]
    folders = [folder for folder in folders if _fits(tree, folder + png, segments, first)]
    if len(folders) == 1:
        return folders[0]
    where = " or ".join(str(tree.path(folder)) for folder in folders[:2]) or f"no {tree.path(beside + png)}"
    raise UserError(
        f"the PNGs of {tree.path(name)} may be anywhere ({where}); put them into a folder of its name, beside it: "
        f"unpack {PurePosixPath(beside).name}.zip there"
    )


def _fits(tree: FileTree, png: str, segments: _Segments, annotation: Node) -> bool:
    """Return whether a PNG holds segments of an image, and no other ids; black alone says nothing."""
    try:
        drawing = _load(tree, png, segments.of(annotation), annotation.where, None, (0, 0))
    except UserError:
        return False
    return drawing.ground is not None and bool((drawing.ground != segments.none).any())


def _load(
    tree: FileTree,
    png: str,
    by_id: Mapping[int, int],
    where: str,
    labelled: tuple[int, int] | None,
    size: tuple[int, int],
) -> Drawing:
    """Return the positions of the segments' categories among the classes, for each pixel."""
    path = tree.path(png)
    mask = decode_stored_mask(path, tree.read(png))
    if mask.samples.dtype != np.uint8:
        raise UserError(f"{path} has 16 bits a sample, where ids are in RGB colours of 8; export it anew")
    colors = mask.samples if mask.samples.ndim == 3 else mask.colors[mask.samples]
    ids = packed_colors(colors[..., ::-1])
    known = np.array(sorted(by_id), np.uint32)
    places = np.searchsorted(known, ids).clip(max=len(known) - 1)
    strange = ids[known[places] != ids]
    if len(strange):
        raise UserError(
            f"{path} holds the id {strange[0]} ({np.count_nonzero(strange == strange[0])} pixels), which is no "
            f"segment's of {where}; export the labels anew"
        )
    return Drawing(ground=np.array([by_id[i] for i in known.tolist()], np.uint8)[places], size=labelled)
