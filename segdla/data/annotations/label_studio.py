"""Label Studio's JSON: a list of tasks, each with its image and the results of one or more annotators.

Polygons, ellipses and brush masks are drawn in their order. If a task has several annotations, the one marked as ground
truth counts, or else the first that was not cancelled. Coordinates are per cent of the image's sides. The brush's runs
(RLE) are described by label_studio_sdk's converter/brush.py and the web's @thi.ng/rle-pack.
"""

import re
from functools import partial
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

import numpy as np

from segdla.data.annotations.file_tree import FileTree
from segdla.data.annotations.image_names import ImageNames
from segdla.data.annotations.json_node import Node, read_json
from segdla.data.annotations.label_export import Entry, LabelExport, given, refused, subset_of
from segdla.data.annotations.shapes import Drawing, Patch, Shape, box, ellipse, ring
from segdla.data.listing import IMAGE_SUFFIXES
from segdla.errors import UserError, quoted

_NO_OUTLINE = "which holds what is around the object too, or has no area: draw a polygon or use the brush, or remove it"
_UPLOAD = re.compile("^[0-9a-f]{8}-")  # put before a name by the server


def recognise(tree: FileTree) -> bool:
    """Return whether some file is of this format."""
    return any(_is_tasks(tree, name) for name in tree.with_suffix(".json"))


def read(tree: FileTree, images: ImageNames, subset: str | None = None) -> LabelExport:
    """Read all files. Raises UserError if one can't be read."""
    names = tree.with_suffix(".json")
    names = names if len(names) == 1 else [name for name in names if _is_tasks(tree, name)]
    if not names:
        raise UserError(
            f"{tree.root} has no JSON file of tasks, as Label Studio exports them; check the path (--labels)"
        )
    entries: list[Entry] = []
    problems: list[str] = []
    several = 0
    for name in names:
        for task in read_json(tree, name):
            results = [one for one in task["annotations"] if not one.value.get("was_cancelled")]
            if not results:
                continue  # not labelled yet, or skipped
            several += len(results) > 1
            chosen = next((one for one in results if one.value.get("ground_truth")), results[0])
            try:
                image = _image_of(task, images)
            except UserError as error:
                problems.append(f"{task.where}: {error}")
                continue
            try:
                load = partial(given, _drawing(chosen["result"]))
            except UserError as error:
                load = partial(refused, str(error))
            entries.append(Entry(image, name, load, subset_of(image.rpartition("/")[0])))
    remarks = [f"{several} images have several annotations; ground truth counts, or else the first"] if several else []
    return LabelExport(entries, problems=problems, remarks=remarks)


def _is_tasks(tree: FileTree, name: str) -> bool:
    try:
        value = read_json(tree, name).value
    except UserError:
        return False
    return (
        isinstance(value, list)
        and bool(value)
        and isinstance(value[0], dict)
        and {"data", "annotations"} <= {*value[0]}
    )


def _image_of(task: Node, images: ImageNames) -> str:
    """Return the image that a task's data names, by its address in a store or on the server, or that was uploaded."""
    data = task["data"]
    if not isinstance(data.value, dict):
        raise data.wrong("a mapping")
    texts = [value for value in (*data.value.values(), task.value.get("file_upload")) if isinstance(value, str)]
    # A file that the server finds on its own disk is named behind ?d=.
    paths = [unquote(text.rpartition("?d=")[2] if "?d=" in text else text.partition("?")[0]) for text in texts]
    path = next((path for path in paths if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES), None)
    if path is None:
        raise data.wrong("a mapping that names an image")
    name = PurePosixPath(path).name
    try:
        return images.find(re.sub("^[a-z0-9]+://", "", path))
    except UserError:  # the folders are those of a store or of the server
        try:
            return images.find(name)
        except UserError:
            return images.find(_UPLOAD.sub("", name))


def _drawing(results: Node) -> Drawing:
    shapes, sizes = [], set()
    for result in results:
        if result.value.get("type") in ("choices", "textarea", "rating", "relation", "number"):
            continue
        sizes.add(result.size("original_height", "original_width"))
        shapes.append(_shape(result, result["value"]))
    if len(sizes) > 1:
        raise UserError(f"{results.where} is of images of different sizes; export it anew")
    return Drawing(shapes, size=next(iter(sizes), None))


def _shape(result: Node, value: Node) -> Shape:
    kind = result["type"].text()
    labels = value.get(kind)
    if labels is None or not labels.value or not isinstance(labels.value, list):
        raise UserError(f"{result.where} has no label ({quoted(kind, 40)}); give it one, or remove it")
    label = next(iter(labels)).text()
    height, width = result.size("original_height", "original_width")
    scale = np.array([width, height]) / 100
    if kind == "polygonlabels":
        return Shape(label, ((ring(value["points"].value, value["points"].where) * scale,),))
    if kind == "ellipselabels":
        x, y, rx, ry = (value[key].number() for key in ("x", "y", "radiusX", "radiusY"))
        turn = value.get("rotation")
        angle = 0.0 if turn is None else np.deg2rad(turn.number())
        return Shape(label, ((ellipse((x, y) * scale, (rx, ry) * scale, angle),),))
    if kind == "rectanglelabels":
        x, y, wide, high = (value[key].number() for key in ("x", "y", "width", "height"))
        turn = value.get("rotation")
        angle = 0.0 if turn is None else np.deg2rad(turn.number())
        along, down = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        right, low = wide * scale[0] * along, high * scale[1] * down
        corners = (x, y) * scale + np.stack([0 * right, right, right + low, low])
        return box(label, corners, result.where, f"is of the kind {quoted(kind, 40)}, {_NO_OUTLINE}")
    if kind == "brushlabels":
        runs = value["rle"]
        content: Any = np.array(runs.value) if isinstance(runs.value, list) else np.zeros(0)
        if content.dtype != np.int64 or content.ndim != 1 or (content & ~255).any():
            raise runs.wrong("a list of bytes")
        return Shape(label, mask=partial(_patch, content.astype(np.uint8).tobytes(), (height, width), runs.where))
    raise UserError(f"{result.where} is of the kind {quoted(kind, 40)}, {_NO_OUTLINE}")


def _patch(content: bytes, shape: tuple[int, int], where: str, size: tuple[int, int]) -> Patch:
    """Return the mask of a brush: where alpha, of RGBA, is not 0."""
    alpha = unpack_runs(content, where).reshape(-1, 4)[:, 3] if len(content) else np.zeros(0, np.uint8)
    if len(alpha) != shape[0] * shape[1]:
        raise UserError(f"{where} is of {len(alpha)} pixels, not of {shape[0]}x{shape[1]}; export it anew")
    return Patch(0, 0, alpha.reshape(shape) != 0)


def unpack_runs(content: bytes, where: str) -> np.ndarray:
    """Return the values that rle-pack's bits stand for, (N,) uint8.

    The head: 32 bits for N, 5 for the width of a value less one, and four times 4 for the widths of four kinds of
    length, each less one. Then follow runs until there are N values. A run has 1 bit, set if one value is repeated; 2
    bits for the kind of its length; its length less one; and the value, or its values.
    """
    bits = "".join(f"{byte:08b}" for byte in content)
    place = 0

    def take(number: int) -> int:
        nonlocal place
        if place + number > len(bits):
            raise UserError(f"{where} is cut short; export it anew")
        place += number
        return int(bits[place - number : place], 2)

    total, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    if total % 4 or total > 1 << 31 or word > 8:
        raise UserError(f"{where} is no mask of a brush (RLE); export it anew")
    parts: list[np.ndarray] = []
    count = 0
    while count < total:
        is_run = take(1)
        length = take(sizes[take(2)]) + 1
        if is_run:
            parts.append(np.full(length, take(word), np.uint8))
        else:
            parts.append(np.array([take(word) for _ in range(length)], np.uint8))
        count += length
    return np.concatenate(parts)[:total] if parts else np.zeros(0, np.uint8)
