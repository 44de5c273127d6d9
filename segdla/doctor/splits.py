"""Ways to split the pairs of two folders: by lists, by sub-folders, or by drawing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segdla.data.annotations.label_export import SPLIT_WORDS
from segdla.data.archives import sub_folders
from segdla.data.pairing import Naming
from segdla.data.paths import composed
from segdla.errors import UserError, quoted

SPLITS = ("train", "val", "test")
_DRAWS = 200  # of which the best is taken

FilePair = tuple[Path, Path]
"""The file of an image and that of its mask."""


class Folders(NamedTuple):
    """A folder of images, one of their masks, and the naming that pairs them."""

    images: Path
    masks: Path
    naming: Naming


@dataclass(frozen=True)
class Division:
    """The pairs of each split."""

    pairs: Mapping[str, Sequence[FilePair]]
    folders: Mapping[str, Folders] = field(default_factory=dict)  # that hold a split each; empty if lists are needed
    remarks: Sequence[str] = ()  # for the user


def divide_by_lists(pairs: Sequence[FilePair], images: Path, lists: Sequence[Path]) -> Division:
    """Divide the pairs by lists of images to train, to validate and perhaps to test on; see ``by_lists``."""
    parts = by_lists(pairs, images, lists)
    return Division({split: [pairs[i] for i in part] for split, part in zip(SPLITS, parts, strict=False)})


def divide_by_sub_folders(folders: Folders, pairs: Sequence[FilePair]) -> Division:
    """Divide the pairs by sub-folders that are named like splits; if there are none, no split is in the division."""
    sub_folders = find_splits(folders.images, folders.masks)
    parts = {
        split: [pair for pair in pairs if pair[0].is_relative_to(images)] for split, (images, _) in sub_folders.items()
    }
    if not parts.get("test", True):  # without masks there is nothing to score on
        del parts["test"]
    return Division(parts, {split: Folders(*both, folders.naming) for split, both in sub_folders.items()})


def draw_validation(
    division: Division,
    pairs: Sequence[FilePair],
    groups: Sequence[np.ndarray],
    pixels: np.ndarray,
    fraction: float,
    seed: int,
) -> Division:
    """Draw the pairs to validate on from a division's training pairs, or from all pairs if it has none.

    groups: indices of pairs that look alike. pixels: (N,C), those of each pair by class.
    """
    candidates = set(division.pairs.get("train", pairs))
    train, val = divide([i for i, pair in enumerate(pairs) if pair in candidates], groups, pixels, fraction, seed)
    remarks = [f"{len(train)} images to train on and {len(val)} to validate on, drawn with seed {seed}"]
    if any(set(group) & set(train) and set(group) & set(val) for group in groups):
        remarks.append("most images are of one sequence, which had to be cut: scores will flatter")
    parts: dict[str, Sequence[FilePair]] = {"train": [pairs[i] for i in train], "val": [pairs[i] for i in val]}
    if "test" in division.pairs:
        parts["test"] = division.pairs["test"]
    return Division(parts, remarks=remarks)


def find_splits(images: Path, masks: Path) -> dict[str, tuple[Path, Path]]:
    """Find sub-folders of both folders that are named like splits, such as Train or val2017.

    Returns none unless there is one to train on and another.
    """
    here, there = (set(sub_folders(folder)) for folder in (images, masks))
    folders = {
        split: (images / name, masks / name)
        for split, names in SPLIT_WORDS.items()
        for name in sorted(here & there)
        if name.lower().rstrip("0123456789") in names
    }
    return folders if "train" in folders and len(folders) > 1 else {}


def divide(
    indices: Sequence[int], groups: Sequence[np.ndarray], pixels: np.ndarray, fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Draw about a fraction of the indices to validate on, and no part of a group; return those to train on first.

    Of many draws the one is taken in which the share of each class's pixels, that go to validation, is nearest to the
    fraction: the least sum of the differences, over classes, and of 1 for each class that one side lacks although two
    units, groups or single images, have it. ``pixels`` (N,C) are those of each index by class.

    A group is cut only if too little lies outside of a large one: then its end is to validate on.
    """
    total = len(indices)
    num_val = min(max(1, round(fraction * total)), total - 1)
    groups = [group for group in (np.intersect1d(group, indices) for group in groups) if len(group)]
    alone = np.setdiff1d(indices, np.concatenate(groups)) if groups else np.array(indices)
    units = [*groups, *alone[:, None]]
    in_all = pixels[list(indices)].sum(0)
    shares = np.stack([pixels[unit].sum(0) for unit in units]) / np.maximum(in_all, 1)  # (units,C) of a class's pixels
    random = np.random.default_rng(seed)
    draws = [_draw([len(unit) for unit in units], num_val, random) for _ in range(_DRAWS)]
    target = (in_all > 0) * num_val / total
    having = shares > 0
    times = having.sum(0)  # units that have a class

    def cost(draw: list[int]) -> float:
        to_val = shares[draw].sum(0)
        times_in_val = having[draw].sum(0)
        lacking = (times > 1) & ((times_in_val == 0) | (times_in_val == times))
        return float(np.abs(to_val - target).sum() + lacking.sum())

    chosen = min(draws, key=cost)
    val: list[int] = [index for unit in chosen for index in units[unit].tolist()]
    if 2 * len(val) < num_val:
        rest = min((unit for unit in units if unit[0] not in val), key=len).tolist()
        val += rest if len(val) + len(rest) <= total // 2 else rest[len(val) - num_val :]
    return sorted(set(indices) - set(val)), sorted(val)


def _draw(sizes: Sequence[int], most: int, random: np.random.Generator) -> list[int]:
    """Draw units of the given sizes, as many as fit into ``most`` together; return their numbers."""
    drawn: list[int] = []
    room = most
    for unit in random.permutation(len(sizes)).tolist():
        if room == 0:
            break
        if sizes[unit] <= room:
            drawn.append(unit)
            room -= sizes[unit]
    return drawn


def by_lists(pairs: Sequence[FilePair], images: Path, lists: Sequence[Path]) -> list[list[int]]:
    """Return the indices of the pairs that each list names: on a line an image's stem, name or path in ``images``.

    A name that no image has may be one in another Unicode form. Blanks around names are left out.

    Raises UserError if a line does not name exactly one image, or an image is named twice.
    """
    indices = _indices_by_name(pairs, images)
    alike: dict[str, list[int]] = {}
    for name, those in indices.items():
        alike.setdefault(composed(name), []).extend(those)
    parts = []
    for path in lists:
        names = _lines(path)
        if not names:
            raise UserError(f"{path} names no image; give a stem, name or path in {images} on each line")
        part = [indices.get(name) or alike.get(composed(name), []) for name in names]
        for name, those in zip(names, part, strict=True):
            if len(those) != 1:
                number = "more than one" if those else "none"
                raise UserError(
                    f"{path} names {quoted(name)}, which is {number} of the images paired; give its path in {images}"
                )
        parts.append([those[0] for those in part])
    again = [index for index, times in Counter(chain(*parts)).items() if times > 1]
    if again:
        raise UserError(f"the lists name {pairs[again[0]][0]} more than once; give each image one split")
    return parts


def _indices_by_name(pairs: Sequence[FilePair], images: Path) -> dict[str, list[int]]:
    paths: dict[str, list[int]] = {}
    names: dict[str, list[int]] = {}
    for index, (image, _) in enumerate(pairs):
        inside = image.relative_to(images)
        paths[inside.as_posix()] = [index]
        for name in {inside.with_suffix("").as_posix(), image.name, image.stem}:
            names.setdefault(name, []).append(index)
    return names | paths  # a whole path is one image, even if it is the name of another


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # a name may hold other separators
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the list {path}: {getattr(error, 'strerror', error)}") from error
    return [line.strip() for line in lines if line.strip()]
