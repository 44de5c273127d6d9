"""The folders of images and of masks in one folder or archive, found by the names and the content of their files."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from segdla.data.annotations import binary_masks
from segdla.data.annotations.label_export import subset_of
from segdla.data.listing import list_images
from segdla.doctor.naming import find_naming, plainness
from segdla.doctor.splits import SPLITS
from segdla.errors import UserError

_MOST_TRIES = 20  # of pairs of folders
_MOST_BESIDE = 40  # folders beside each other that are compared, those of most files
_MOST_VALUES = 64  # of a mask's samples; photos have more


class _Kinds(NamedTuple):
    """Two names of folders at one depth, such as images and masks in ``train/images`` and ``train/masks``."""

    depth: int
    one: str
    other: str


def find_mask_folders(root: Path) -> list[tuple[Path, Path]]:
    """Return the folders (images, masks) in a folder or archive: one for all, or one each of train, val and test.

    Two folders belong together if they differ in one name alone, as ``train/images`` and ``train/masks``, and hold
    files that pair. The masks are those of fewer colours.

    Raises UserError if there are none.
    """
    files = _pictures(root)
    by_split: dict[str, tuple[Path, Path]] = {}
    for images, masks in _fitting(root, files):
        split = subset_of(images.relative_to(root).as_posix())
        if not split:
            return [(images, masks)]
        by_split.setdefault(split, (images, masks))
    if {"train", "val"} <= by_split.keys():
        return [by_split[split] for split in SPLITS if split in by_split]
    if by_split:
        return [next(iter(by_split.values()))]
    raise UserError(
        f"no two folders in {root} hold images and their masks ({len(files)} pictures, such as {files[0]}); name them: "
        f"--images {root}/IMAGES --masks {root}/MASKS"
    )


def left_out(root: Path, folders: Sequence[tuple[Path, Path]]) -> list[str]:
    """Return a remark on the pictures in none of the folders in ``root``; none if there are no such pictures."""
    inside = tuple(f"{folder.relative_to(root).as_posix()}/" for both in folders for folder in both)
    others = [file for file in _pictures(root) if not file.startswith(inside)]
    names = " and ".join(f"{images} with {masks}" for images, masks in folders)
    return [f"{len(others)} pictures, such as {others[0]}, are not in {names}, and left out"] if others else []


def _pictures(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in list_images(root)]


def _fitting(root: Path, files: Sequence[str]) -> Iterator[tuple[Path, Path]]:
    """Yield the folders of images and masks that belong together, the largest first."""
    for kinds, parents in _alike(files).items():
        for parent in parents:
            images, masks = root / parent / kinds.one, root / parent / kinds.other
            first, second = (plainness(list_images(folder)[:1]) for folder in (images, masks))
            if first < second:
                images, masks = masks, images
            split = subset_of(images.relative_to(root).as_posix())
            strange = any(other in masks.name.lower() for other in SPLITS if split not in ("", other))
            are_kinds = min(first, second).values <= _MOST_VALUES < max(first, second).values
            if are_kinds and not strange and _pair(images, masks):
                yield images, masks


def _pair(images: Path, masks: Path) -> bool:
    try:
        find_naming(images, masks)
    except UserError:
        return binary_masks.fit(images, masks)
    return True


def _alike(files: Sequence[str]) -> dict[_Kinds, list[str]]:
    """Return the pairs of names that folders beside each other have, with these folders' parents; most files first."""
    counts: Counter[_Kinds] = Counter()
    parents: dict[_Kinds, list[str]] = defaultdict(list)
    below: dict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        parts = PurePosixPath(file).parts[:-1]
        for depth, name in enumerate(parts):
            below["/".join(parts[:depth])][name] += 1
    for parent, names in below.items():
        depth = parent.count("/") + 1 if parent else 0
        ordered = sorted(name for name, _ in names.most_common(_MOST_BESIDE))
        for i, one in enumerate(ordered):
            for other in ordered[i + 1 :]:
                if subset_of(one) and subset_of(other):
                    continue
                kinds = _Kinds(depth, one, other)
                counts[kinds] += min(names[one], names[other])
                parents[kinds].append(parent)
    return {kinds: parents[kinds] for kinds, _ in counts.most_common(_MOST_TRIES)}
