"""A first config for two folders, drafted from the files in them."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from segdla.data.labels import IGNORE_INDEX
from segdla.data.pairing import Pairing, pair_folders
from segdla.doctor.budget import Pace, fit_budget
from segdla.doctor.class_names import name_classes
from segdla.doctor.contents import Contents, Labels, examine, name_labels
from segdla.doctor.draft_yaml import draft_yaml
from segdla.doctor.naming import find_naming
from segdla.doctor.splits import (
    SPLITS,
    Division,
    FilePair,
    Folders,
    divide_by_lists,
    divide_by_sub_folders,
    draw_validation,
)
from segdla.errors import UserError, quoted
from segdla.machine.threads import Progress


@dataclass(frozen=True)
class Draft:
    """The text of each file to write, the config first, and remarks for the user."""

    files: dict[Path, str]
    remarks: list[str]


def draft(
    folders: Sequence[tuple[Path, Path]],
    config: Path,
    fraction: float,
    seed: int,
    lists: Sequence[Path],
    measure: Callable[[Sequence[FilePair], int], Pace],
    progress: Progress = iter,
) -> Draft:
    """Draft the file ``config``, and lists of pairs beside it if they are needed.

    folders: (images, masks), one for all, or one each to train on, to validate on and perhaps to test on. lists: files
    of image names that split one in the same way. Without them it is split by sub-folders of the names train and val,
    or by drawing a ``fraction`` to validate on. measure: gives the machine's pace for pairs and a number of classes.

    Raises UserError if the folders aren't a data set.
    """
    named = [Folders(images, masks, find_naming(images, masks)) for images, masks in folders]
    pairings = [pair_folders(*one) for one in named]
    pairing = _joined(pairings)
    contents = examine(pairing.pairs, progress)
    beside = [folder for _, masks in folders for folder in (masks, masks.parent)]
    beside += [images.parent for images, _ in folders]
    labels, origins = name_classes(name_labels(contents), contents, beside)
    if len(contents.pairs) < 2:
        raise UserError(f"one pair in {named[0].images} is too little: to train on, and another to validate on")
    root = _root([path.resolve() for both in folders for path in both])
    _relative(root, Path("/"))  # it goes into the config too
    division = (
        divide_by_lists(pairing.pairs, named[0].images, lists)
        if lists
        else _divided_by_folders(named, pairings, contents, fraction, seed)
    )
    problems = [*pairing.problems, *contents.problems]
    parts = readable_parts(division, contents, problems)
    remarks = [*_remarks(pairing, contents, labels, problems), *origins, *division.remarks]
    num_outside = len(contents.pairs) - sum(map(len, parts.values()))
    if num_outside:
        remarks.append(f"{num_outside} pairs are in none of {', '.join(parts)}, and left out")
    files: dict[Path, str] = {}
    if division.folders and not problems:
        settings = {split: _folder_settings(division.folders[split], root) for split in parts}
    else:
        paths = {split: config.with_name(f"{config.stem}_{split}.txt") for split in parts}
        settings = {split: {"list": str(path.resolve())} for split, path in paths.items()}
        files = {path: _list_text(parts[split], root) for split, path in paths.items()}
    pace = measure(contents.pairs, len(labels.classes))
    budget = fit_budget(pace, contents.images.size, len(parts["train"]), len(parts["val"]))
    return Draft({config: draft_yaml(root, settings, labels, contents, budget, pace), **files}, remarks)


def _root(folders: Sequence[Path]) -> Path:
    """Return the folder that all are in. Raises UserError if there is none, since they are in several storages."""
    try:
        root = type(folders[0])(os.path.commonpath([str(folder) for folder in folders]))
    except ValueError:  # on a disk and in storage, or on two drives
        root = None
    if root is None or not root.is_absolute():
        places = ", ".join(str(folder) for folder in folders)
        raise UserError(f"{places} have no folder in common; put them on one disk, or into one bucket")
    return root


def _joined(pairings: Sequence[Pairing]) -> Pairing:
    pairs, problems, unused, others = (list(chain(*column)) for column in zip(*pairings, strict=True))
    return Pairing(pairs, problems, unused, others)


def _divided_by_folders(
    folders: Sequence[Folders], pairings: Sequence[Pairing], contents: Contents, fraction: float, seed: int
) -> Division:
    if len(folders) > 1:
        pairs = {split: pairing.pairs for split, pairing in zip(SPLITS, pairings, strict=False)}
        return Division(pairs, dict(zip(SPLITS, folders, strict=False)))
    division = divide_by_sub_folders(folders[0], contents.pairs)
    if "val" in division.pairs:
        return division
    return draw_validation(division, contents.pairs, contents.images.groups, contents.pixels, fraction, seed)


def readable_parts(division: Division, contents: Contents, problems: Sequence[str]) -> dict[str, list[FilePair]]:
    """Return the pairs of each split that can be read. Raises UserError if a split has none."""
    readable = set(contents.pairs)
    parts = {split: [pair for pair in pairs if pair in readable] for split, pairs in division.pairs.items()}
    for split, part in parts.items():
        if not part:
            why = f": {problems[0]}" if problems else ""
            raise UserError(f"no image of the {split} split has a mask and can be read{why}; mend it, or give --lists")
    return parts


def _remarks(pairing: Pairing, contents: Contents, labels: Labels, problems: Sequence[str]) -> list[str]:
    """Return what the user should know about the pairs and the labels in them."""
    kind = "colours" if contents.colored else "ids"
    remarks = [f"{len(contents.pairs)} pairs; {len(contents.values)} {kind} in the masks"]
    if labels.ignore:
        share = contents.values[IGNORE_INDEX] / sum(contents.values.values())
        remarks.append(
            f"{IGNORE_INDEX}, in {100 * share:.2g} % of the pixels, is taken for what is unlabelled; if it is a class, "
            "put it into classes and label_map, and set ignore: []"
        )
    if labels.remark:
        remarks.append(labels.remark)
    if problems:
        remarks.append(f"left out: {problems[0]}" + (f" (and {len(problems) - 1} more)" if problems[1:] else ""))
    unpaired = [*pairing.unused, *pairing.others]
    if unpaired:
        remarks.append(f"left out, as their names pair them with nothing: {len(unpaired)}, such as {unpaired[0]}")
    return remarks


def _folder_settings(folders: Folders, root: Path) -> dict[str, str]:
    affixes = {key: affix for key, affix in folders.naming._asdict().items() if affix}
    return {"images": _relative(folders.images, root), "masks": _relative(folders.masks, root), **affixes}


def _list_text(pairs: Sequence[FilePair], root: Path) -> str:
    return "".join(f"{_relative(image, root)}\t{_relative(mask, root)}\n" for image, mask in pairs)


def _relative(path: Path, root: Path) -> str:
    """Return a path below ``root``, or else an absolute one. Raises UserError if a list or YAML can't hold it."""
    name = os.path.relpath(path.absolute(), root) if path.absolute().is_relative_to(root) else str(path.absolute())
    if "\t" in name or "\n" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
        place = quoted(str(path))
        raise UserError(f"{place} has a tab, a line break or bytes that are no UTF-8 in its name; rename it")
    return name
