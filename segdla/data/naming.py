"""How the names of two folders' files go together, found by looking at them."""

import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from segdla.data.images import list_images, read_mask
from segdla.data.pairing import Naming, pair_files
from segdla.errors import UserError

_CHANCE = 10  # one pair of more files is no naming
_OF_THREE = (False, 3)  # plainness: masks of fewer ids are black and white


def find_naming(images: Path, masks: Path) -> Naming:
    """The prefixes and suffixes that pair most images.

    Of several kinds of masks, those of fewest ids are meant, not instances or colours; of several of images, colours.
    Raises UserError where hardly any image has a mask, or each several that are alike, such as one for each class.
    """
    files, mask_files = list_images(images, skip=masks), list_images(masks, skip=images)
    stems = sorted(_stem(path.relative_to(images)) for path in files)
    partners = sorted(_stem(path.relative_to(masks)) for path in mask_files)
    found = _likely(stems, "", partners, "") + _likely(stems, _prefix(stems), partners, _prefix(partners))
    likely = [
        naming._replace(
            image_suffix=_with_extension(naming.image_suffix, files),
            mask_suffix=_with_extension(naming.mask_suffix, mask_files),
        )
        for naming in dict.fromkeys(found)
    ]
    if images.resolve() == masks.resolve():
        likely = [naming for naming in likely if naming.image_suffix != naming.mask_suffix] + _by_extension(files)
    paired = [(naming, dict(pair_files(images, files, masks, mask_files, naming).pairs)) for naming in likely]
    most = max((len(pairs) for _, pairs in paired), default=0)
    if _CHANCE * most < min(len(files), len(mask_files)) or not most:
        raise UserError(_nothing_in_common(images, stems, masks, partners))
    paired = [(naming, pairs) for naming, pairs in paired if len(pairs) == most]
    plainness = [(_plainness(pairs.values()), not _plainness(pairs)[0]) for _, pairs in paired]
    plainest = min(plainness)
    best, mine = paired[plainness.index(plainest)]
    for (_, pairs), (plain, _) in zip(paired, plainness, strict=True):
        alike = plain == plainest[0] or max(plain, plainest[0]) < _OF_THREE
        if alike and pairs != mine and pairs.keys() == mine.keys():
            image = next(image for image in mine if pairs[image] != mine[image])
            raise UserError(
                f"each image has several masks, such as {mine[image]} and {pairs[image]}: merge those of an image into "
                "one of ids, or leave masks of one kind in the folder"
            )
    return best


def _nothing_in_common(images: Path, stems: Sequence[str], masks: Path, partners: Sequence[str]) -> str:
    or_listed = "or list the pairs in a file (data.train.list of a folder data set)"
    if images.resolve() == masks.resolve():
        return (
            f"no name in {images} tells a mask from an image; give the folder of each (one split's, or several: "
            f"--images train/images val/images --masks train/masks val/masks), {or_listed}"
        )
    names, mask_names = ({stem.rpartition("/")[2] for stem in listed} for listed in (stems, partners))
    remedy = "put the masks into folders like the images'" if names & mask_names else "rename them alike"
    return (
        f"no image of {images} and mask of {masks} have a name in common, such as {stems[0]} and {partners[0]}; "
        f"{remedy}, {or_listed}"
    )


def _stem(path: Path) -> str:
    return path.with_suffix("").as_posix()


def _with_extension(suffix: str, files: Sequence[Path]) -> str:
    """A suffix of stems as ``Naming`` has it: where there is a dot in it, with the extension, the most usual one."""
    if "." not in suffix:
        return suffix
    extensions = Counter(path.suffix for path in files if _stem(path).endswith(suffix))
    return suffix + extensions.most_common(1)[0][0]


def _by_extension(files: Sequence[Path]) -> list[Naming]:
    """Of one folder's images and masks with the same stems: either of the two most usual extensions may be masks'."""
    usual = [extension for extension, _ in Counter(path.suffix for path in files).most_common(2)]
    return [Naming("", "", *usual), Naming("", "", *reversed(usual))] if len(usual) == 2 else []


def _prefix(stems: Sequence[str]) -> str:
    """What nearly all names begin with, up to a number; nothing, where a name is no more than that."""
    names = sorted(stem.rpartition("/")[2] for stem in stems)
    strays = len(names) // 20
    first, last = names[strays], names[-1 - strays]
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
    """How many characters two names begin with, without a separator before what tells them apart.

    None where it is the rest of a number: numbers tell images apart, not kinds of file.
    """
    common = _shared(key, partner)
    if common == len(key) == len(partner):
        return common
    if key[:common][-1:].isdigit() and any(name[common : common + 1].isdigit() for name in (key, partner)):
        return 0
    return len(key[:common].rstrip("_-. /"))


def _shared(a: str, b: str) -> int:
    """How many characters two words begin with."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _plainness(files: Iterable[Path]) -> tuple[bool, int]:
    """Whether the first of the files that can be read is of colours, and how many values it holds."""
    for file in files:
        try:
            values = read_mask(file)
        except UserError:  # told by who reads them all
            continue
        return values.ndim == 3, len(np.unique(values))
    return True, sys.maxsize
