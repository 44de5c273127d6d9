"""Masks of single objects or classes, several an image, told from masks of another kind."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from segdla.data.pairing import Naming

_SEPARATORS = "_-. /"


def further_masks(
    pairs: Mapping[Path, Path], naming: Naming, images: Path, files: Sequence[Path], masks: Path, others: Sequence[Path]
) -> dict[Path, tuple[Path, Path]]:
    """Return two masks of each image that has several: that of its pair, and those among ``others``, which are in none.

    A further mask's name begins with the image's, and goes on as the mask's in the pair but for a number, or as those
    of few images do. If those of many do, they are masks of another kind.
    """
    own = set(pairs.values())
    by_key = {_key(file, images, naming.image_prefix, naming.image_suffix): file for file in files if file not in own}
    ends: list[tuple[str, Path, Path]] = []  # with the image and the mask
    for mask in others:
        name = _key(mask, masks, naming.mask_prefix, "")
        places = (place for place in range(len(name) - 1, 0, -1) if name[place] in _SEPARATORS)
        image = next((by_key[name[:place]] for place in places if name[:place] in by_key), None)
        if image is not None and image != mask:
            ends.append((name.removeprefix(_key(image, images, naming.image_prefix, naming.image_suffix)), image, mask))
    numbers = Counter(end for end, _, _ in ends)
    usual = _without_number(naming.mask_suffix)
    several = {image: [mask] for image, mask in pairs.items()}
    for end, image, mask in ends:
        if _without_number(end) == usual or 2 * numbers[end] < len(by_key):
            several.setdefault(image, []).append(mask)
    return {image: (those[0], those[1]) for image, those in several.items() if len(those) > 1}


def _key(path: Path, folder: Path, prefix: str, suffix: str) -> str:
    """Return a path in a folder without extension, and as far as they are there without prefix and suffix."""
    head, slash, name = path.relative_to(folder).with_suffix("").as_posix().rpartition("/")
    suffix = suffix.rpartition(".")[0] if "." in suffix else suffix
    return head + slash + name.removeprefix(prefix).removesuffix(suffix)


def _without_number(end: str) -> str:
    return re.sub(r"[\d_. -]+", "", end)
