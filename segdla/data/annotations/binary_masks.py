"""Masks of one class or one object each, several an image: black, and one other value.

The mask of an image is told by its name, as in ``road/x.png``, ``x_road.png``, ``x_mask_0.png``, ``x/road.png`` and
``x/masks/*.png``. What is left of the name, without numbers, is the class. Names that mean no class, such as mask, are
``object``, and so are all if most are names of one image's masks alone. Pixels of several masks belong to the smallest,
unless the config says otherwise.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from segdla.data.annotations.file_tree import FileTree, open_tree
from segdla.data.annotations.image_names import ImageNames
from segdla.data.annotations.label_export import Entry, LabelExport, subset_of
from segdla.data.annotations.shapes import Drawing, Patch, Shape
from segdla.data.images import decode_stored_mask
from segdla.data.listing import IMAGE_SUFFIXES
from segdla.data.paths import composed
from segdla.errors import UserError

OBJECT = "object"
_NO_CLASSES = {"", "mask", "masks", "object", "objects", "instance", "instances", "label", "labels", "gt", "seg"}
_NO_CLASSES |= {"annotation", "annotations", "segmentation", "segmentations", "obj", "m"}
_MOST_CLASSES = 64  # more are names of single objects
_IMAGES, _MASKS = "images", "masks"  # folders of one image each
_LOOKS = 8  # masks that are looked at
_FEW = 0.05  # of the masks may belong to no image


class _Mask(NamedTuple):
    """The file of a mask, the image that it is of, and its class."""

    name: str
    image: str
    label: str


def recognise(tree: FileTree) -> bool:
    """Return whether there is a folder of an image and a folder of its masks for each image."""
    folders = _folders(tree)
    return any(len(masks) > 1 for _, masks in folders.values()) and all(len(some) == 1 for some, _ in folders.values())


def fit(images: Path, masks: Path) -> bool:
    """Return whether files in a folder are masks of one class or object each, of the images in another."""
    try:
        tree = open_tree(masks)
        found, strangers = _masks(tree, ImageNames(open_tree(images)))
    except UserError:
        return False
    numbers = Counter(mask.image for mask in found)
    if not found or max(numbers.values()) < 2 or len(strangers) > _FEW * (len(found) + len(strangers)):
        return False
    try:
        for mask in found[:: max(1, len(found) // _LOOKS)]:
            _load_mask(tree, mask.name)
    except UserError:
        return False
    return True


def read(tree: FileTree, images: ImageNames, subset: str | None = None) -> LabelExport:
    """Find the masks of each image. Raises UserError if there are none."""
    masks, strangers = _masks(tree, images)
    if not masks:
        raise UserError(
            f"{tree.root} holds no masks named like the images in {images.tree.root}, as road/NAME.png, NAME_road.png "
            "or NAME/masks/*.png; check the paths (--images, --labels)"
        )
    by_image: dict[str, list[_Mask]] = defaultdict(list)
    for mask in masks:
        by_image[mask.image].append(mask)
    entries = []
    for image, those in by_image.items():
        names = [mask.name for mask in those]
        load = partial(_load, tree, names, [mask.label for mask in those])
        entries.append(Entry(image, names[0], load, subset_of(image.rpartition("/")[0]), tuple(names[1:])))
    remarks = [f"{len(masks)} masks of {len(entries)} images are merged when an image is read; the smaller is on top"]
    if strangers:
        remarks.append(f"left out, as they are of no image: {len(strangers)} masks, such as {strangers[0]}")
    return LabelExport(entries, sorted({mask.label for mask in masks}), smaller_on_top=True, remarks=remarks)


def _folders(tree: FileTree) -> dict[str, tuple[list[str], list[str]]]:
    """Return the images and the masks in the folders of these names, by the folder that both are in."""
    folders: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for name in _pictures(tree.names):
        parent, _, kind = name.rpartition("/")[0].rpartition("/")
        if kind in (_IMAGES, _MASKS):
            folders[parent][kind == _MASKS].append(name)
    return folders


def _masks(tree: FileTree, images: ImageNames) -> tuple[list[_Mask], list[str]]:
    """Return the masks with their images and labels, and the names of those of no image."""
    files = _pictures(tree.names)
    if tree.root == images.tree.root and (folders := _folders(tree)):
        files = [name for _, masks in folders.values() for name in masks]
    own = {tree.path(name) for name in files}
    named = _ByStem([name for name in images.names if images.tree.path(name) not in own])
    masks, strangers = [], []
    for name in files:
        image, label = named.image_of(name)
        if image is None:
            strangers.append(name)
        else:
            masks.append(_Mask(name, image, label))
    return ([mask._replace(label=OBJECT) for mask in masks] if _are_single(masks) else masks), strangers


def _are_single(masks: Sequence[_Mask]) -> bool:
    """Return whether labels are names of single objects: too many for classes, or most of one image each."""
    images: dict[str, set[str]] = defaultdict(set)
    for mask in masks:
        images[mask.label].add(mask.image)
    single = sum(len(those) == 1 for those in images.values())
    return len(images) > _MOST_CLASSES or (2 * single > len(images) and len({mask.image for mask in masks}) > 1)


class _ByStem:
    """Images by their names without folders and suffix."""

    def __init__(self, images: Iterable[str]):
        self.images: dict[str, list[str]] = defaultdict(list)
        for image in images:
            self.images[composed(PurePosixPath(image).stem)].append(image)

    def image_of(self, mask: str) -> tuple[str | None, str]:
        """Return the image that a mask's name is of, or None, and the label that its name says."""
        *folders, stem = PurePosixPath(composed(mask)).with_suffix("").parts
        if stem in self.images:
            # x/masks/x.png has the label of no class, road/x.png that of its folder
            return self._nearest(stem, folders), _label(folders[-1] if folders else "")
        ends = [match.start() for match in re.finditer(r"[_\-. ]", stem)]
        for end in reversed(ends):
            if stem[:end] in self.images:
                return self._nearest(stem[:end], folders), _label(stem[end:])
        for depth in range(len(folders) - 1, -1, -1):
            if folders[depth] in self.images:
                inside = map(_label, (*folders[depth + 1 :][::-1], stem))
                return self._nearest(folders[depth], folders), next(
                    (label for label in inside if label != OBJECT), OBJECT
                )
        return None, OBJECT

    def _nearest(self, stem: str, folders: Sequence[str]) -> str | None:
        """Return the image of a stem that has most folders in common with a mask; None if several have as many."""
        common = [len({*PurePosixPath(image).parts[:-1]} & {*folders}) for image in self.images[stem]]
        best = max(common)
        return self.images[stem][common.index(best)] if common.count(best) == 1 else None


def _pictures(names: Collection[str]) -> list[str]:
    return [name for name in names if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES]


def _label(text: str) -> str:
    """Return the class that a part of a name says, without numbers."""
    words = [re.sub(r"\d+$", "", word) for word in re.split(r"[_\-. ]+", text)]
    return "_".join(word for word in words if word.lower() not in _NO_CLASSES) or OBJECT


def _load(tree: FileTree, names: Sequence[str], labels: Sequence[str], size: tuple[int, int]) -> Drawing:
    masks = (partial(_patch, tree, name) for name in names)
    return Drawing([Shape(label, mask=mask) for label, mask in zip(labels, masks, strict=True)])


def _patch(tree: FileTree, name: str, size: tuple[int, int]) -> Patch:
    mask = _load_mask(tree, name)
    if mask.shape != size:
        raise UserError(
            f"{tree.path(name)} is {mask.shape[0]}x{mask.shape[1]} (height x width) but its image {size[0]}x{size[1]}; "
            "they must be of one size"
        )
    return Patch(0, 0, mask)


def _load_mask(tree: FileTree, name: str) -> np.ndarray:
    """Return the pixels (H,W) bool of a mask that are not black. Raises UserError if they are of several values."""
    path = tree.path(name)
    samples = decode_stored_mask(path, tree.read(name)).samples
    values = samples if samples.ndim == 3 else samples[..., None]
    mask = np.asarray(values.any(2))
    inside = values[mask]
    if len(inside) and (inside != inside[0]).any():
        raise UserError(
            f"{path} holds several values beside 0, where a mask of one class or object has one (it may be of ids, or "
            "blurred); save it as a PNG of black and white"
        )
    return mask
