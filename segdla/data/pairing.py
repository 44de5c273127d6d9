"""The mask of each image: found by name, or in a list file."""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from segdla.data.archives import is_regular, read_text
from segdla.data.listing import list_images, unread_pictures
from segdla.data.paths import as_spelled, composed, expanded
from segdla.errors import UserError, quoted


class Naming(NamedTuple):
    """The parts of file names around the part that an image shares with its mask.

    A suffix with a dot includes the extension.
    """

    image_prefix: str = ""
    mask_prefix: str = ""
    image_suffix: str = ""
    mask_suffix: str = ""


ALIKE = Naming()


class Pairing(NamedTuple):
    """Pairs of image and mask, and the files that are in none."""

    pairs: list[tuple[Path, Path]]  # image, mask
    problems: list[str]  # a message for each image without exactly one mask
    unused: list[Path]  # masks of no image
    others: Sequence[Path] = ()  # files that lack the prefixes or suffixes, and pictures that can't be read


def pair_folders(
    images: Path, masks: Path, naming: Naming = ALIKE, keep: Callable[[str], bool] = lambda key: True
) -> Pairing:
    """Pair the images and masks in two directories, and below them, that have the same key.

    A key is a file's path in its directory without extension, prefix and suffix. Files that lack these are left out,
    and so are keys that ``keep`` refuses.

    Raises UserError if a directory is missing or has no images.
    """
    pairing = pair_files(images, list_images(images, masks), masks, list_images(masks, images), naming, keep)
    unread = dict.fromkeys([*unread_pictures(images), *unread_pictures(masks)])
    return pairing._replace(others=[*pairing.others, *unread])


def pair_files(
    images: Path,
    files: Sequence[Path],
    masks: Path,
    mask_files: Sequence[Path],
    naming: Naming,
    keep: Callable[[str], bool] = lambda key: True,
) -> Pairing:
    """Pair like ``pair_folders`` the files that have been listed in the directories ``images`` and ``masks``.

    An image without a mask of its key gets one whose key differs only in its Unicode form.
    """
    images_by_key = _by_key(images, files, naming.image_prefix, naming.image_suffix)
    masks_by_key = _by_key(masks, mask_files, naming.mask_prefix, naming.mask_suffix)
    masks_by_key = _spelled_like(images_by_key, masks_by_key)
    mask_set = {path for paths in masks_by_key.values() for path in paths}
    if images.resolve() == masks.resolve():  # then a mask is not an image too
        images_by_key = {key: [p for p in paths if p not in mask_set] for key, paths in images_by_key.items()}
    pairs, problems = [], []
    for key, candidates in images_by_key.items():
        partners = masks_by_key.get(key, [])
        if not keep(key) or not candidates:
            continue
        if not partners:
            folder, _, name = key.rpartition("/")
            name = naming.mask_prefix + name + naming.mask_suffix + ("" if "." in naming.mask_suffix else ".png")
            expected = f"expected {masks / folder / name}{_twin(key, images_by_key)}"
            problems += [f"no mask for {image}: {expected}" for image in candidates]
        elif len(partners) > 1:
            problems.append(f"{len(partners)} masks for {candidates[0]}: {partners[0]} and {partners[1]}; keep one")
        elif len(candidates) > 1:
            problems.append(
                f"{len(candidates)} images for one mask {partners[0]}: {candidates[0]} and {candidates[1]}; keep one"
            )
        else:
            pairs.append((candidates[0], partners[0]))
    unused = [path for key, paths in masks_by_key.items() if key not in images_by_key and keep(key) for path in paths]
    keyed = {path for by_key in (images_by_key, masks_by_key) for paths in by_key.values() for path in paths}
    others = [path for path in dict.fromkeys([*files, *mask_files]) if path not in keyed]
    return Pairing(pairs, problems, unused, others)


def pair_list(root: Path, path: Path) -> Pairing:
    """Return the pairs in a list file, whose names are relative to ``root``. Raises UserError if it isn't a list."""
    folders: dict[Path, dict[str, str]] = {}
    image_paths, mask_paths = (
        [as_spelled(expanded(name, root), folders) for name in names] for names in zip(*read_list(path), strict=True)
    )
    pairs = list(zip(image_paths, mask_paths, strict=True))
    missing = {file for pair in pairs for file in pair if not _exists(file)}
    problems = [f"no file {file}, listed in {path}" for pair in pairs for file in pair if file in missing]
    return Pairing([pair for pair in pairs if missing.isdisjoint(pair)], problems, [])


def read_list(path: Path) -> list[tuple[str, str]]:
    """Read the (image, mask) names in a list file: a pair a line, with a tab or a space between them.

    Blanks around a name are left out. Raises UserError if the file can't be read, names nothing, or has a line that
    isn't a pair.
    """
    try:
        lines = read_text(path).split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"the list {path} is no text in UTF-8 ({error}); save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot read the list {path}: {error.strerror}") from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        words = line.strip().rstrip(";").rstrip().split("\t" if "\t" in line.strip() else None)
        if len(words) == 2 and "\0" not in line:
            pairs.append((words[0].strip(), words[1].strip()))
        elif words and words != [""]:
            raise UserError(
                f"{path}, line {number}: {quoted(line)} is not an image and a mask with a space or a tab between them"
            )
    if not pairs:
        raise UserError(f"the list {path} names no images")
    return pairs


def _exists(file: Path) -> bool:
    return os.path.exists(file) or is_regular(file)  # noqa: PTH110 (Path raises)


def _spelled_like(
    images_by_key: Mapping[str, Sequence[Path]], masks_by_key: Mapping[str, list[Path]]
) -> dict[str, list[Path]]:
    """Re-key each unmatched mask to the unmatched image whose key differs only in Unicode normalisation."""
    alone = {composed(key): key for key in images_by_key if key not in masks_by_key}
    spelled: dict[str, list[Path]] = defaultdict(list)
    for key, paths in masks_by_key.items():
        spelled[key if key in images_by_key else alone.get(composed(key), key)] += paths
    return dict(spelled)


def _twin(key: str, images_by_key: Mapping[str, Sequence[Path]]) -> str:
    """Name an image of the same key in another Unicode form, which has taken the mask."""
    twins = [twin for twin in images_by_key if twin != key and composed(twin) == composed(key)]
    return f"; the name of {images_by_key[twins[0]][0]} looks the same, in another Unicode form" if twins else ""


def _by_key(directory: Path, files: Sequence[Path], prefix: str, suffix: str) -> dict[str, list[Path]]:
    """Group files by key; see ``pair_folders``. Raises UserError if no file has the prefix and suffix."""
    by_key = defaultdict(list)
    for path in files:
        inside = path.relative_to(directory)
        name = (inside if "." in suffix else inside.with_suffix("")).as_posix()
        key = _key(name, prefix, suffix)
        if key is None:
            key = _key(composed(name), composed(prefix), composed(suffix))
        if key is not None:
            by_key[key].append(path)
    if not by_key:
        starts = f"begins with {quoted(prefix)} and " if prefix else ""
        raise UserError(
            f"no image in {directory} whose name {starts}ends with {quoted(suffix)}; check the split's prefixes and "
            "suffixes"
        )
    return dict(by_key)


def _key(path: str, prefix: str, suffix: str) -> str | None:
    """Take the prefix and suffix off the last part of a path; return None if it lacks them."""
    folder, slash, name = path.removesuffix(suffix).rpartition("/")
    if not path.endswith(suffix) or not name.startswith(prefix):
        return None
    return folder + slash + name.removeprefix(prefix)
