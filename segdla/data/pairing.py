"""Which mask belongs to which image: by name, or as a list says."""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from segdla.data.images import list_images
from segdla.errors import UserError


class Naming(NamedTuple):
    """What file names have before and after that which is common to an image and its mask.

    A suffix with a dot includes the extension.
    """

    image_prefix: str = ""
    mask_prefix: str = ""
    image_suffix: str = ""
    mask_suffix: str = ""


ALIKE = Naming()


class Pairing(NamedTuple):
    """What was found: pairs, and what keeps the rest from being one."""

    pairs: list[tuple[Path, Path]]  # image, mask
    problems: list[str]  # a message for each image without exactly one mask
    unused: list[Path]  # masks of no image
    others: Sequence[Path] = ()  # files that lack the prefixes or suffixes


def pair_folders(
    images: Path, masks: Path, naming: Naming = ALIKE, keep: Callable[[str], bool] = lambda key: True
) -> Pairing:
    """Images and masks of two directories, and of what is below them, that go by one key.

    A key is a file's path in its directory without extension, prefix and suffix; files that lack these are left out,
    and so are keys that ``keep`` refuses. Raises UserError where there is no directory, or nothing in it.
    """
    return pair_files(images, list_images(images, masks), masks, list_images(masks, images), naming, keep)


def pair_files(
    images: Path,
    files: Sequence[Path],
    masks: Path,
    mask_files: Sequence[Path],
    naming: Naming,
    keep: Callable[[str], bool] = lambda key: True,
) -> Pairing:
    """What ``pair_folders`` finds, of files that have been listed."""
    images_by_key = _by_key(images, files, naming.image_prefix, naming.image_suffix)
    masks_by_key = _by_key(masks, mask_files, naming.mask_prefix, naming.mask_suffix)
    taken = {path for found in masks_by_key.values() for path in found} if images.resolve() == masks.resolve() else ()
    pairs, problems, matched = [], [], set()
    for key, found in images_by_key.items():
        found = [path for path in found if path not in taken]
        partners = masks_by_key.get(key, [])
        matched.add(key)
        if not keep(key) or not found:
            continue
        if not partners:
            folder, _, name = key.rpartition("/")
            name = naming.mask_prefix + name + naming.mask_suffix + ("" if "." in naming.mask_suffix else ".png")
            problems += [f"no mask for {image}: expected {masks / folder / name}" for image in found]
        elif len(partners) > 1:
            problems.append(f"{len(partners)} masks for {found[0]}: {partners[0]} and {partners[1]}; keep one")
        elif len(found) > 1:
            problems.append(f"{len(found)} images for one mask {partners[0]}: {found[0]} and {found[1]}; keep one")
        else:
            pairs.append((found[0], partners[0]))
    unused = [path for key, found in masks_by_key.items() if key not in matched and keep(key) for path in found]
    named = {path for by_key in (images_by_key, masks_by_key) for found in by_key.values() for path in found}
    return Pairing(
        pairs, problems, unused, [path for path in dict.fromkeys([*files, *mask_files]) if path not in named]
    )


def pair_list(root: Path, path: Path) -> Pairing:
    """The pairs that a list file names, relative to ``root``. Raises UserError where it is no such list."""
    pairs = [(root / image, root / mask) for image, mask in read_list(path)]
    missing = {named for pair in pairs for named in pair if not os.path.exists(named)}  # noqa: PTH110 (Path raises)
    problems = [f"no file {named}, listed in {path}" for pair in pairs for named in pair if named in missing]
    return Pairing([pair for pair in pairs if missing.isdisjoint(pair)], problems, [])


def read_list(path: Path) -> list[tuple[str, str]]:
    """The (image, mask) names in a list file, a pair a line, with a tab or a space between them.

    Raises UserError where a line is no pair.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the list {path}: {getattr(error, 'strerror', error)}") from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        words = line.rstrip(";").split("\t" if "\t" in line else None)
        if len(words) == 2:
            pairs.append((words[0], words[1]))
        elif words:
            raise UserError(
                f"{path}, line {number}: {line!r} is not an image and a mask with a space or a tab between them"
            )
    if not pairs:
        raise UserError(f"the list {path} names no images")
    return pairs


def _by_key(directory: Path, files: Sequence[Path], prefix: str, suffix: str) -> dict[str, list[Path]]:
    found = defaultdict(list)
    for path in files:
        inside = path.relative_to(directory)
        key = (inside if "." in suffix else inside.with_suffix("")).as_posix()
        folder, slash, name = key.removesuffix(suffix).rpartition("/")
        if key.endswith(suffix) and name.startswith(prefix):
            found[folder + slash + name.removeprefix(prefix)].append(path)
    if not found:
        starts = f"begins with {prefix!r} and " if prefix else ""
        raise UserError(
            f"no image in {directory} whose name {starts}ends with {suffix!r}; check the split's prefixes and suffixes"
        )
    return dict(found)
