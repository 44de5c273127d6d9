"""How the names of two folders' files go together, found by looking at them."""

import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from segdla.data.images import list_images, read_mask
from segdla.data.pairing import Naming, pair_folders
from segdla.errors import UserError


def find_naming(images: Path, masks: Path) -> Naming:
    """The prefixes and suffixes that pair most images. Raises UserError where none do."""
    files, mask_files = (_inside(*folders) for folders in ((images, masks), (masks, images)))
    stems, partners = (sorted(map(_stem, listed)) for listed in (files, mask_files))
    likely = chain(_likely(stems, "", partners, ""), _likely(stems, _prefix(stems), partners, _prefix(partners)))
    best, most, plainness = None, 0, None
    for found in likely:
        naming = found._replace(
            image_suffix=_with_extension(found.image_suffix, files),
            mask_suffix=_with_extension(found.mask_suffix, mask_files),
        )
        if images.resolve() == masks.resolve() and naming.image_suffix == naming.mask_suffix:
            continue
        pairs = pair_folders(images, masks, naming).pairs
        if len(pairs) < max(1, most):
            continue
        plain = _plainness(mask for _, mask in pairs)  # of several kinds, ids are meant, not instances or colours
        if len(pairs) > most or plain < plainness:
            best, most, plainness = naming, len(pairs), plain
    if best is None:
        raise UserError(
            f"no image of {images} and mask of {masks} have a name in common, such as {stems[0]} and {partners[0]}; "
            "rename them alike, or list them in a file (data.train.list of a folder data set)"
        )
    return best


def _inside(directory: Path, other: Path) -> list[Path]:
    return [path.relative_to(directory) for path in list_images(directory, skip=other)]


def _stem(path: Path) -> str:
    return path.with_suffix("").as_posix()


def _with_extension(suffix: str, files: Sequence[Path]) -> str:
    """A suffix of stems as ``Naming`` has it: where there is a dot in it, with the extension, the most usual one."""
    if "." not in suffix:
        return suffix
    extensions = Counter(path.suffix for path in files if _stem(path).endswith(suffix))
    return suffix + extensions.most_common(1)[0][0]


def _prefix(stems: Sequence[str]) -> str:
    """What all names begin with, up to a number; nothing, where a name is no more than that."""
    names = [stem.rpartition("/")[2] for stem in stems]
    first, last = min(names), max(names)
    shared = first[: _shared(first, last)].rstrip("0123456789")
    return "" if shared in names else shared


def _likely(stems: Sequence[str], prefix: str, other_stems: Sequence[str], other_prefix: str) -> list[Naming]:
    """Suffixes of names that lie near each other in the alphabet, those of most names first."""
    keys, partners = _without(stems, prefix), _without(other_stems, other_prefix)
    candidates: Counter[Naming] = Counter()
    for key in keys[:: max(1, len(keys) // 200)]:
        start = bisect_left(partners, key)
        for partner in partners[max(0, start - 2) : start + 8]:
            common = _common(key, partner)
            naming = Naming(prefix, other_prefix, key[common:], partner[common:])
            if common and not (prefix + other_prefix and "/" in "".join(naming)):  # a prefix is of the file's name
                candidates[naming] += 1
    return [naming for naming, _ in candidates.most_common(8)]


def _without(stems: Sequence[str], prefix: str) -> list[str]:
    parts = (stem.rpartition("/") for stem in stems)
    return sorted(folder + slash + name.removeprefix(prefix) for folder, slash, name in parts)


def _common(key: str, partner: str) -> int:
    """How many characters two names begin with, without a separator before what tells them apart."""
    common = _shared(key, partner)
    while common and key[common - 1] in "_-. /" and common < max(len(key), len(partner)):
        common -= 1
    return common


def _shared(a: str, b: str) -> int:
    """How many characters two words begin with."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _plainness(masks: Iterable[Path]) -> tuple[bool, int]:
    """Whether the first of the masks that can be read is of colours, and how many values it holds."""
    for mask in masks:
        try:
            values = read_mask(mask)
        except UserError:  # told by who reads them all
            continue
        return values.ndim == 3, len(np.unique(values))
    return True, sys.maxsize
