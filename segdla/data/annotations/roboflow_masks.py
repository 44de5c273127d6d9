"""Roboflow's semantic masks: in each split's folder images, for each a PNG of ids NAME_mask.png, and _classes.csv."""

import csv
from functools import partial
from pathlib import PurePosixPath

from segdla.data.annotations.file_tree import FileTree
from segdla.data.annotations.image_names import ImageNames
from segdla.data.annotations.label_export import Entry, LabelExport, subset_of
from segdla.data.annotations.pascal_voc import load_mask
from segdla.data.labels import IGNORE_INDEX, IdEncoding
from segdla.errors import UserError, quoted

_LIST, _ENDING = "_classes.csv", "_mask.png"


def recognise(tree: FileTree) -> bool:
    """Return whether there are a list of classes and masks."""
    return bool(_lists(tree) and tree.with_suffix(_ENDING))


def read(tree: FileTree, images: ImageNames, subset: str | None = None) -> LabelExport:
    """Find the image of each mask. Raises UserError if there is no list of classes, or they differ."""
    lists = _lists(tree)
    if not lists:
        raise UserError(f"{tree.root} has no {_LIST}, which Roboflow's semantic masks have; check the path (--labels)")
    labels = {name: _labels(tree, name) for name in lists}
    first = labels[lists[0]]
    for name in lists:
        if labels[name] != first:
            raise UserError(f"{tree.path(lists[0])} and {tree.path(name)} list different classes; use one version's")
    encode = IdEncoding({value: i for i, value in enumerate(first)} | {IGNORE_INDEX: IGNORE_INDEX})
    entries, problems = [], []
    for name in tree.with_suffix(_ENDING):
        try:
            image = images.find(name[: -len(_ENDING)])
        except UserError as error:
            problems.append(f"{tree.path(name)}: {error}")
            continue
        entries.append(Entry(image, name, partial(load_mask, tree, name, encode), subset_of(name.rpartition("/")[0])))
    return LabelExport(entries, list(first.values()), problems=problems)


def _lists(tree: FileTree) -> list[str]:
    return [name for name in tree.with_suffix(".csv") if PurePosixPath(name).name == _LIST]


def _labels(tree: FileTree, name: str) -> dict[int, str]:
    """Return the classes by their ids in the masks."""
    rows = list(csv.reader(tree.read(name).decode("utf-8-sig", "replace").splitlines(), skipinitialspace=True))
    try:
        return {int(value): label.strip() for value, label in filter(None, rows[1:])}
    except ValueError:
        raise UserError(
            f"{tree.path(name)} is not a list of ids and classes, under 'Pixel Value, Class', but begins with "
            f"{quoted(rows[:2], 80)}; mend it"
        ) from None
