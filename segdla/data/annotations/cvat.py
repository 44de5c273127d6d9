"""CVAT for images 1.1: one annotations.xml of all images.

Shapes are drawn by z_order, and those of one in the file's order; the label __ignore__ is of what is unlabelled.
Described at docs.cvat.ai, "CVAT for images".
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from segdla.data.annotations.encoded_png import clipped
from segdla.data.annotations.file_tree import FileTree
from segdla.data.annotations.image_names import ImageNames
from segdla.data.annotations.label_export import Entry, LabelExport, given, refused, subset_of
from segdla.data.annotations.shapes import Drawing, Patch, Shape, box, ellipse, ring, upright
from segdla.data.annotations.unlabelled import IGNORED
from segdla.data.labels import Color
from segdla.errors import UserError, one_line, quoted

_BOX = "is a box, which holds what is around the object too: draw a polygon or a mask in CVAT, or remove it"
_NO_AREA = "has no area of one class: draw a polygon or a mask in CVAT, or remove it"
_REFUSALS = {"cuboid": _BOX, "polyline": _NO_AREA, "points": _NO_AREA, "skeleton": _NO_AREA}


def recognise(tree: FileTree) -> bool:
    """Return whether some file is of this format."""
    return bool(_files(tree))


def read(tree: FileTree, images: ImageNames, subset: str | None = None) -> LabelExport:
    """Read all files. Raises UserError if one can't be read."""
    names = _files(tree) or tree.with_suffix(".xml")
    if not names:
        raise UserError(f"{tree.root} has no XML file, in which CVAT for images is; check the path (--labels)")
    entries: list[Entry] = []
    problems: list[str] = []
    colors: dict[str, Color | None] = {}
    for name in names:
        root = _root(tree, name)
        for label in root.iterfind("./meta//labels/label"):
            colors[label.findtext("name", "").strip()] = _color(label.findtext("color", ""))
        for image in root.iterfind("image"):
            file, subset = image.get("name", ""), image.get("subset", "")
            try:
                found = _image_of(file, subset, images)
            except UserError as error:
                problems.append(f"{tree.path(name)}: {error}")
                continue
            where = f"{tree.path(name)}, image {one_line(file, 80)!r}"
            split = subset_of(subset or found.rpartition("/")[0]) or subset
            entries.append(Entry(found, name, _loader(image, where), split))
    known = {label: color for label, color in colors.items() if color is not None}
    classes = [label for label in colors if label not in ("", IGNORED)]
    return LabelExport(entries, classes, colors=known, ignore=(IGNORED,), problems=problems)


def _files(tree: FileTree) -> list[str]:
    return [name for name in tree.with_suffix(".xml") if b"<annotations" in tree.read(name)[:2000]]


def _image_of(file: str, subset: str, images: ImageNames) -> str:
    """Return an image by its name: in the folder of its subset, where a project has it, or wherever it is."""
    try:
        return images.find(f"{subset}/{file}")
    except UserError:
        return images.find(file)


def _root(tree: FileTree, name: str) -> ET.Element:
    path, content = tree.path(name), tree.read(name)
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise UserError(f"{path} declares a document type, as CVAT does not; it is not read: export it anew")
    try:
        root = ET.fromstring(content)
    except (ET.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{path} is no whole XML file ({error}); perhaps it is cut short: export it anew") from error
    if root.tag != "annotations" or root.find("track") is not None:
        raise UserError(f"{path} is not in the format CVAT for images; export it as CVAT for images 1.1")
    return root


def _color(text: str) -> Color | None:
    digits = re.fullmatch("#([0-9a-fA-F]{6})", text.strip())
    if digits is None:
        return None
    red, green, blue = bytes.fromhex(digits[1])
    return red, green, blue


def _loader(image: ET.Element, where: str) -> Callable[[tuple[int, int]], Drawing]:
    try:
        shapes = [
            (int(shape.get("z_order", "0")), _shape(shape, f"{where}, {shape.tag} {number}"))
            for number, shape in enumerate((one for one in image if one.tag != "tag"), start=1)
        ]
        size = int(image.get("height", "")), int(image.get("width", ""))
    except UserError as error:
        return partial(refused, str(error))
    except ValueError as error:
        return partial(refused, f"{where} has no whole number where one is expected ({error}); export it anew")
    in_order = [shape for _, shape in sorted(shapes, key=lambda pair: pair[0])]
    return partial(given, Drawing(in_order, size=size))


def _shape(shape: ET.Element, where: str) -> Shape:
    label = shape.get("label", "")
    if shape.tag == "box":
        sides = upright(*(float(shape.get(key, "")) for key in ("xtl", "ytl", "xbr", "ybr")))
        return box(label, _turned(sides, float(shape.get("rotation", "0"))), where, _BOX)
    if shape.tag in _REFUSALS:
        raise UserError(f"{where} {_REFUSALS[shape.tag]}")
    if shape.tag == "polygon":
        corners = [pair.split(",") for pair in shape.get("points", "").split(";") if pair.strip()]
        return Shape(label, ((ring(corners, where),),))
    if shape.tag == "ellipse":
        x, y, rx, ry, turn = (float(shape.get(key, default)) for key, default in _ELLIPSE.items())
        return Shape(label, ((ellipse((x, y), (rx, ry), np.deg2rad(turn)),),))
    if shape.tag == "mask":
        left, top, width, height = (int(shape.get(key, "")) for key in ("left", "top", "width", "height"))
        counts = np.array([int(word) for word in shape.get("rle", "").split(",")], np.int64)
        if (counts < 0).any() or width < 1 or height < 1 or counts.sum() != width * height:
            raise UserError(f"{where}: its runs make {counts.sum()} pixels, not {height}x{width}; export it anew")
        return Shape(label, mask=partial(_patch, counts, (left, top), (height, width)))
    raise UserError(f"{where} is of the kind {quoted(shape.tag, 40)}, which is not known; draw a polygon, or remove it")


def _turned(corners: Sequence[tuple[float, float]], degrees: float) -> np.ndarray:
    """Return corners turned clockwise about their centre."""
    points, angle = np.array(corners), np.deg2rad(degrees)
    centre = points.mean(0)
    return (points - centre) @ [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]] + centre


_ELLIPSE = {"cx": "", "cy": "", "rx": "", "ry": "", "rotation": "0"}


def _patch(counts: np.ndarray, corner: tuple[int, int], shape: tuple[int, int], size: tuple[int, int]) -> Patch:
    """Return a mask of runs along its rows, one of zeros first."""
    return clipped(np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(shape), corner, size)
