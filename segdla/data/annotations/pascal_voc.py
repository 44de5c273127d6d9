"""Pascal VOC: a PNG for each image in SegmentationClass, images in JPEGImages, splits in ImageSets/Segmentation.

The masks are palette images of ids, or of the colours that a labelmap.txt lists, as CVAT and datumaro write it; a
class_names.txt, as labelme2voc writes it, names the ids. Without these the classes are the challenge's own. Without a
labelmap.txt, the colours of RGB masks are those of the challenge's palette.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from segdla.data.annotations.file_tree import FileTree
from segdla.data.annotations.image_names import ImageNames
from segdla.data.annotations.label_export import Entry, LabelExport
from segdla.data.annotations.shapes import Drawing
from segdla.data.annotations.unlabelled import IGNORED
from segdla.data.images import decode_stored_mask
from segdla.data.labels import IGNORE_INDEX, Color, ColorEncoding, IdEncoding
from segdla.data.stored_mask import StoredMask
from segdla.errors import UserError, one_line

_FOLDERS = ("SegmentationClass", "SegmentationClassPNG")
Encode = Callable[[StoredMask, Path], np.ndarray]
"""A function from a mask file's content to positions among the classes."""
CHALLENGE_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
VOID = (224, 224, 192)
"""The colour of what is unlabelled."""


def recognise(tree: FileTree) -> bool:
    """Return whether there are masks in a folder of VOC's name."""
    return bool(_masks(tree))


def read(tree: FileTree, images: ImageNames, subset: str | None = None) -> LabelExport:
    """Find the image and the split of each mask. Raises UserError if a list of classes can't be read."""
    masks = _masks(tree)
    if not masks:
        raise UserError(f"{tree.root} has no PNG in a folder SegmentationClass, as Pascal VOC has it; check the path")
    classes, colors, encode = _classes(tree)
    splits = _splits(tree)
    stems = {PurePosixPath(name).stem for name in masks}
    entries = []
    problems = [
        f"no mask {stem}.png in {tree.path(masks[0]).parent}, which the list of {split} names; add it, or take it out"
        for split, names in splits.items()
        if stems & set(names)  # the challenge's list of test images has no masks
        for stem in names
        if stem not in stems
    ]
    split_of = {stem: split for split, names in splits.items() for stem in names}
    for name in masks:
        stem = PurePosixPath(name).stem
        try:
            image = images.find(f"JPEGImages/{stem}")
        except UserError as error:
            problems.append(f"{tree.path(name)}: {error}")
            continue
        entries.append(Entry(image, name, partial(load_mask, tree, name, encode), split_of.get(stem, "")))
    return LabelExport(entries, classes, colors=colors, problems=problems)


def load_mask(tree: FileTree, name: str, encode: Encode, size: tuple[int, int]) -> Drawing:
    """Return the labels in a mask file."""
    path = tree.path(name)
    return Drawing(ground=encode(decode_stored_mask(path, tree.read(name)), path))


def _masks(tree: FileTree) -> list[str]:
    return [name for name in tree.with_suffix(".png") if PurePosixPath(name).parent.name in _FOLDERS]


def _splits(tree: FileTree) -> dict[str, list[str]]:
    """Return the names in the list of each split; trainval has those of two others."""
    lists = {
        PurePosixPath(name).stem: tree.read(name).decode("utf-8-sig", "replace").split()
        for name in tree.with_suffix(".txt")
        if PurePosixPath(name).parent.name == "Segmentation"
    }
    if "train" in lists:
        lists.pop("trainval", None)
    return lists


def _classes(tree: FileTree) -> tuple[Sequence[str], dict[str, Color], Encode]:
    """Return the classes, their colours, and the function from a mask to positions among them."""
    files = {PurePosixPath(name).name: name for name in tree.with_suffix(".txt")}
    if "labelmap.txt" in files:
        colors = _labelmap(tree, files["labelmap.txt"])
        ignored = colors.pop(IGNORED, VOID)
        return list(colors), colors, _by_color(colors, ignored, "labelmap.txt")
    names = list(CHALLENGE_CLASSES)
    if "class_names.txt" in files:
        lines = tree.read(files["class_names.txt"]).decode("utf-8-sig", "replace").splitlines()
        names = [line.strip() for line in lines if line.strip() not in ("", IGNORED)]
    colors = {name: voc_color(i) for i, name in enumerate(names)}
    ids = IdEncoding({i: i for i in range(len(names))} | {IGNORE_INDEX: IGNORE_INDEX})
    return names, colors, partial(_by_id_or_color, ids, _by_color(colors, VOID, "a labelmap.txt, as car:128,64,0::"))


def _by_color(colors: Mapping[str, Color], ignored: Color, place: str) -> ColorEncoding:
    train_ids = {VOID: IGNORE_INDEX, ignored: IGNORE_INDEX} | {color: i for i, color in enumerate(colors.values())}
    return ColorEncoding(train_ids, strict=True, place=place)


def _by_id_or_color(ids: Encode, colors: Encode, mask: StoredMask, path: Path) -> np.ndarray:
    """Return the positions of classes: by the indices of a palette, whatever its colours, or by RGB."""
    return (colors if mask.samples.ndim == 3 else ids)(mask, path)


def _labelmap(tree: FileTree, name: str) -> dict[str, Color]:
    """Return the colours by class of lines such as ``car:128,0,0::``; ``car:::`` has its place's in VOC's palette."""
    colors: dict[str, Color] = {}
    for number, line in enumerate(tree.read(name).decode("utf-8-sig", "replace").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            label, samples = line.split(":")[:2]
            red, green, blue = map(int, samples.split(",")) if samples.strip() else voc_color(len(colors))
        except ValueError:
            raise UserError(
                f"{tree.path(name)}, line {number}: {one_line(line, 60)!r} is not NAME:RED,GREEN,BLUE::; mend it"
            ) from None
        colors[label.strip()] = (red & 255, green & 255, blue & 255)
    return colors


def voc_color(index: int) -> Color:
    """Return the colour of an id in VOC's palette: its bits, by threes, from the channels' highest on."""
    red, green, blue = (sum((index >> (3 * bit + channel) & 1) << 7 - bit for bit in range(3)) for channel in range(3))
    return red, green, blue
