"""YOLO segmentation: a data.yaml of classes and splits, and beside each folder of images one of text files.

A line of a text file is an object: the number of its class, then x and y of its corners as shares of the image's width
and height. An image without a file has no objects. Described at docs.ultralytics.com/datasets/segment.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import yaml

from segdla.data.annotations.file_tree import FileTree
from segdla.data.annotations.image_names import ImageNames, agree, path_parts
from segdla.data.annotations.label_export import SPLIT_WORDS, Entry, LabelExport, given
from segdla.data.annotations.shapes import Drawing, Shape, box, ring, upright
from segdla.errors import UserError, quoted

_FARTHEST = 2.0  # a share of a side; more are pixels
_BOX = (
    "has 4 numbers, which are a box or a polygon of two points: export polygons (segmentation), for a box holds what "
    "is around the object too; or remove it"
)


def recognise(tree: FileTree) -> bool:
    """Return whether there are a data.yaml and text files."""
    return bool(_data_files(tree) and _label_files(tree))


def read(tree: FileTree, images: ImageNames, subset: str | None = None) -> LabelExport:
    """Read data.yaml, and find each image's text file, which is read later. An image belongs to its first split."""
    names = _data_files(tree)
    if not names:
        raise UserError(f"{tree.root} has no data.yaml with names (the classes) and train, which YOLO's exports have")
    if len(names) > 1:
        raise UserError(f"{tree.root} has {names[0]} and {names[1]}; name the one that is meant (--labels)")
    content = _read_yaml(tree, names[0])
    classes = _classes(content["names"], tree, names[0])
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in _label_files(tree):
        by_stem[PurePosixPath(name).stem].append(name)
    entries, problems, without, again = [], [], 0, 0
    taken: set[str] = set()
    for split, keys in SPLIT_WORDS.items():
        places: Any = next((content[key] for key in keys if content.get(key)), [])
        for image in _images_of(tree, images, [places] if isinstance(places, str) else places):
            if image in taken:
                again += 1
                continue
            taken.add(image)
            try:
                labels = _labels_of(image, by_stem, tree)
            except UserError as error:
                problems.append(str(error))
                continue
            without += labels is None
            load = partial(given, Drawing()) if labels is None else partial(_load, tree, labels, classes)
            entries.append(Entry(image, labels or names[0], load, split))
    if without == len(entries):
        raise UserError(f"no image in {images.tree.root} has a text file in {tree.root}; check the paths")
    remarks = [f"{without} images have no text file, so they hold no object"] if without else []
    if again:
        remarks.append(f"{again} images are in two splits in {names[0]}; train has them, or else val")
    return LabelExport(entries, list(classes.values()), smaller_on_top=True, problems=problems, remarks=remarks)


def _data_files(tree: FileTree) -> list[str]:
    """List the YAML files that name classes and splits."""
    names = []
    for name in tree.with_suffix(".yaml", ".yml"):
        try:
            content = _read_yaml(tree, name)
        except UserError:
            continue
        if "names" in content and any(key in content for keys in SPLIT_WORDS.values() for key in keys):
            names.append(name)
    return names


def _label_files(tree: FileTree) -> list[str]:
    return tree.with_suffix(".txt")


def _read_yaml(tree: FileTree, name: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(tree.read(name).decode("utf-8-sig"))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{tree.path(name)} is no YAML that can be read; export it anew") from error
    return content if isinstance(content, dict) else {}


def _classes(names: Any, tree: FileTree, name: str) -> dict[int, str]:
    classes = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(classes, dict) or not all(isinstance(i, int) for i in classes):
        raise UserError(f"{tree.path(name)}: names is {quoted(names, 60)}, not a list of classes; mend it")
    return {i: str(text) for i, text in sorted(classes.items())}


def _images_of(tree: FileTree, images: ImageNames, places: Iterable[object]) -> list[str]:
    """Return the images of a split: those in its folders, or in its lists."""
    found: dict[str, None] = {}
    for place in map(str, places):
        if not place.endswith(".txt"):
            found |= dict.fromkeys(_inside(images.names, path_parts(place)))
            continue
        last = path_parts(place)[-1].lower()
        lists = [name for name in tree.with_suffix(last) if agree(path_parts(name), path_parts(place))]
        lines = tree.read(lists[0]).decode("utf-8-sig", "replace").splitlines() if lists else []
        found |= dict.fromkeys(images.find(line.strip()) for line in lines if line.strip())
    return list(found)


def _inside(names: Sequence[str], place: Sequence[str]) -> list[str]:
    """Return the images in a folder, of whose path the beginning may lie outside of the tree."""
    for start in range(len(place)):
        rest = list(place[start:])
        inside = [name for name in names if _begins(path_parts(name)[:-1], rest, anywhere=start == 0)]
        if inside:
            return inside
    return []


def _begins(folders: Sequence[str], place: Sequence[str], anywhere: bool) -> bool:
    last = len(folders) - len(place) if anywhere else 0
    return any(list(folders[i : i + len(place)]) == place for i in range(last + 1))


def _labels_of(image: str, by_stem: Mapping[str, Sequence[str]], tree: FileTree) -> str | None:
    """Return the name of an image's text file; None if it has none. Raises UserError if several may be its own."""
    folders = path_parts(image)
    if "images" in folders[:-1]:
        place = len(folders) - 2 - folders[-2::-1].index("images")
        folders[place] = "labels"
    fitting = [name for name in by_stem.get(PurePosixPath(image).stem, ()) if agree(path_parts(name), folders)]
    exact = [name for name in fitting if len(path_parts(name)) == len(folders)]
    meant = exact or fitting
    if len(meant) > 1:
        one, another = meant[:2]
        raise UserError(f"the labels of {image} may be {one} or {another} in {tree.root}; keep one of them")
    return meant[0] if meant else None


def _load(tree: FileTree, name: str, classes: Mapping[int, str], size: tuple[int, int]) -> Drawing:
    """Return the shapes in a text file."""
    shapes = []
    for number, line in enumerate(tree.read(name).decode("utf-8-sig", "replace").splitlines(), start=1):
        where = f"{tree.path(name)}, line {number}"
        words = line.split()
        if not words:
            continue
        try:
            label, numbers = int(words[0]), np.array(words[1:], np.float64)
        except ValueError:
            raise UserError(f"{where}: {quoted(line, 60)} is not the number of a class and corners; mend it") from None
        if label not in classes:
            raise UserError(f"{where}: class {label} is none of data.yaml's, {min(classes)} to {max(classes)}; mend it")
        if len(numbers) == 4:
            x, y, width, height = numbers * (size[1], size[0], size[1], size[0])
            sides = upright(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            shapes.append(box(classes[label], sides, where, _BOX))
            continue
        if len(numbers) % 2:
            raise UserError(f"{where} has {len(numbers)} coordinates, but x and y go in pairs; mend it")
        if (np.abs(numbers) > _FARTHEST).any():
            raise UserError(
                f"{where} has the coordinate {np.abs(numbers).max():g}, where shares of 0 to 1 are expected"
            )
        corners = ring(numbers.reshape(-1, 2) * (size[1], size[0]), where)
        shapes.append(Shape(classes[label], ((corners,),)))
    return Drawing(shapes)
