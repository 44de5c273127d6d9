"""The naming that pairs the files of two folders, inferred from their names."""

import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segdla.data.images import read_mask
from segdla.data.listing import labels_in, list_images
from segdla.data.pairing import ALIKE, Naming, pair_files
from segdla.doctor.further_masks import further_masks
from segdla.errors import UserError

_CHANCE = 10  # one pair among more files isn't a naming
_FEW = 0.05  # of the images may have further masks, which are left out


class _Plainness(NamedTuple):
    """The kind of a mask; the plainest comes first."""

    colored: bool
    values: int  # different ones


_OF_THREE = _Plainness(colored=False, values=3)  # masks of fewer ids are black and white
_UNREADABLE = _Plainness(colored=True, values=sys.maxsize)


class _Candidate(NamedTuple):
    """A naming, and the mask of each image by it."""

    naming: Naming
    pairs: dict[Path, Path]


def find_naming(images: Path, masks: Path) -> Naming:
    """Find the prefixes and suffixes that pair most images.

    If there are several kinds of masks, those of fewest ids are meant, not instances or colours. If there are several
    kinds of images, those of colours are meant.

    Raises UserError if hardly any image has a mask, or each has several that are alike, such as one for each class.
    """
    files, mask_files = list_images(images, skip=masks), list_images(masks, skip=images)
    stems = sorted(_stem(path.relative_to(images)) for path in files)
    mask_stems = sorted(_stem(path.relative_to(masks)) for path in mask_files)
    namings = [
        naming._replace(
            image_suffix=_with_extension(naming.image_suffix, files),
            mask_suffix=_with_extension(naming.mask_suffix, mask_files),
        )
        for naming in dict.fromkeys(
            _likely(stems, "", mask_stems, "") + _likely(stems, _prefix(stems), mask_stems, _prefix(mask_stems))
        )
    ]
    if images.resolve() == masks.resolve():
        namings = [naming for naming in namings if naming.image_suffix != naming.mask_suffix] + _by_extension(files)
    candidates = [
        _Candidate(naming, dict(pair_files(images, files, masks, mask_files, naming).pairs)) for naming in namings
    ]
    most = max((len(candidate.pairs) for candidate in candidates), default=0)
    likely = [candidate for candidate in candidates if len(candidate.pairs) == most]
    if _CHANCE * most < min(len(files), len(mask_files)) or not most:
        _require_one_mask_each(likely[0] if most else _Candidate(ALIKE, {}), images, files, masks, mask_files)
        raise UserError(_nothing_in_common(images, stems, masks, mask_stems))
    best = _plainest(likely)
    _require_one_mask_each(best, images, files, masks, mask_files)
    return best.naming


def _plainest(candidates: Sequence[_Candidate]) -> _Candidate:
    """Return the candidate of the plainest masks, and of coloured images if several share these.

    Raises UserError if each image has several masks that are alike.
    """
    of_masks = [plainness(candidate.pairs.values()) for candidate in candidates]
    ranks = [
        (mask, not plainness(candidate.pairs).colored) for mask, candidate in zip(of_masks, candidates, strict=True)
    ]
    first = ranks.index(min(ranks))
    best = candidates[first]
    for candidate, mask in zip(candidates, of_masks, strict=True):
        alike = mask == of_masks[first] or max(mask, of_masks[first]) < _OF_THREE
        if alike and candidate.pairs != best.pairs and candidate.pairs.keys() == best.pairs.keys():
            image = next(image for image in best.pairs if candidate.pairs[image] != best.pairs[image])
            raise UserError(f"each image has{_several(best.pairs[image], candidate.pairs[image])}")
    return best


def _require_one_mask_each(
    best: _Candidate, images: Path, files: Sequence[Path], masks: Path, mask_files: Sequence[Path]
) -> None:
    """Raise UserError if more than a few images have masks beside their own, such as one for each object."""
    used = {*best.pairs, *best.pairs.values()}
    others = [mask for mask in mask_files if mask not in used]
    further = further_masks(best.pairs, best.naming, images, files, masks, others)
    if len(further) > _FEW * len(files):
        image, (one, another) = next(iter(further.items()))
        like_others = f", as {len(further) - 1} others," if len(further) > 1 else ""
        raise UserError(f"{image}{like_others} has{_several(one, another)}")


def _several(one: Path, another: Path) -> str:
    return (
        f" several masks, such as {one} and {another}: leave those of one kind in the folder, or, to have masks of "
        "single classes or objects merged, save each as a PNG of black and one other value"
    )


def _nothing_in_common(images: Path, stems: Sequence[str], masks: Path, mask_stems: Sequence[str]) -> str:
    or_listed = "or list the pairs in a file (data.train.list of a folder data set)"
    if images.resolve() == masks.resolve():
        if labels := labels_in(images, least=len(stems) // 2):
            return f"no name in {images} tells a mask from an image{labels}"
        return (
            f"no name in {images} tells a mask from an image; give the folder of each (one split's, or several: "
            f"--images train/images val/images --masks train/masks val/masks), {or_listed}"
        )
    names, mask_names = ({stem.rpartition("/")[2] for stem in listed} for listed in (stems, mask_stems))
    remedy = "put the masks into folders like the images'" if names & mask_names else "rename them alike"
    return (
        f"no image of {images} and mask of {masks} have a name in common, such as {stems[0]} and {mask_stems[0]}; "
        f"{remedy}, {or_listed}"
    )


def _stem(path: Path) -> str:
    return path.with_suffix("").as_posix()


def _with_extension(suffix: str, files: Sequence[Path]) -> str:
    """Return a suffix of stems as ``Naming`` has it: with the most usual extension, if there is a dot in it."""
    if "." not in suffix:
        return suffix
    extensions = Counter(path.suffix for path in files if _stem(path).endswith(suffix))
    return suffix + extensions.most_common(1)[0][0]


def _by_extension(files: Sequence[Path]) -> list[Naming]:
    """Return the namings by which either of the two most usual extensions in a folder is the masks'."""
    usual = [extension for extension, _ in Counter(path.suffix for path in files).most_common(2)]
    return [Naming("", "", *usual), Naming("", "", *reversed(usual))] if len(usual) == 2 else []


def _prefix(stems: Sequence[str]) -> str:
    """Return the beginning that nearly all names share, up to a number; none if a name is no more than that."""
    names = sorted(stem.rpartition("/")[2] for stem in stems)
    strays = len(names) // 20
    first, last = names[strays], names[-1 - strays]
    beginning = first[: _shared(first, last)].rstrip("0123456789")
    return "" if beginning in names else beginning


def _likely(stems: Sequence[str], prefix: str, mask_stems: Sequence[str], mask_prefix: str) -> list[Naming]:
    """Return the suffixes of names that lie near each other in the alphabet, those of most names first."""
    keys, mask_keys = _without(stems, prefix), _without(mask_stems, mask_prefix)
    namings: Counter[Naming] = Counter()
    for key in keys[:: max(1, len(keys) // 200)]:
        start = bisect_left(mask_keys, key)
        for mask_key in mask_keys[max(0, start - 2) : start + 8]:
            common = _common(key, mask_key)
            naming = Naming(prefix, mask_prefix, key[common:], mask_key[common:])
            if common and not (prefix + mask_prefix and "/" in "".join(naming)):  # a prefix is of the file's name
                namings[naming] += 1
    return [naming for naming, _ in namings.most_common(8)]


def _without(stems: Sequence[str], prefix: str) -> list[str]:
    parts = (stem.rpartition("/") for stem in stems)
    return sorted(folder + slash + name.removeprefix(prefix) for folder, slash, name in parts)


def _common(key: str, mask_key: str) -> int:
    """Return how many characters two names begin with, without a separator before the parts that differ.

    It is 0 if a number is cut: numbers tell images apart, not kinds of file.
    """
    common = _shared(key, mask_key)
    if common == len(key) == len(mask_key):
        return common
    if key[:common][-1:].isdigit() and any(name[common : common + 1].isdigit() for name in (key, mask_key)):
        return 0
    return len(key[:common].rstrip("_-. /"))


def _shared(a: str, b: str) -> int:
    """Return how many characters two words begin with."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def plainness(files: Iterable[Path]) -> _Plainness:
    """Return the kind of the first file that can be read."""
    for file in files:
        try:
            mask = read_mask(file)
        except UserError:  # reported when all of them are read
            continue
        return _Plainness(mask.ndim == 3, len(np.unique(mask)))
    return _UNREADABLE
