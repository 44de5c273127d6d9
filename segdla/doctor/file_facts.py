"""Facts about the files of pairs that their pixels don't tell."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from segdla.data.image_header import read_orientation
from segdla.data.images import image_size
from segdla.data.jpeg_damage import jpeg_damage
from segdla.data.source import Source
from segdla.data.wide_samples import SampleRange, highest_wide_sample
from segdla.doctor.finding import Finding
from segdla.doctor.meanings import Meaning, Meanings, meaning_of
from segdla.errors import UserError

_MOST_BITS = 14  # a sensor's; more fill a file of 16


class FileFacts(NamedTuple):
    """The files of one pair."""

    split: str
    image: Path
    mask: Path
    orientations: tuple[int, int] = (1, 1)  # by EXIF, of image and mask, if one of them may lie wrong over the other
    highest: int | None = None  # sample of an image of 16 bits that is not scaled from a range
    meaning: Meaning = MappingProxyType({})  # of the mask's ids, if it is read by them


def look_at_files(split: str, source: Source, index: int) -> FileFacts | None:
    """Return the facts of a pair that has been read; None if it isn't an image file and a mask file."""
    match source.files(index):
        case image, mask:
            pass
        case _:
            return None
    try:
        return FileFacts(
            split,
            image,
            mask,
            _orientations(image, mask),
            highest_wide_sample(image) if source.sample_range is None else None,
            meaning_of(mask) if source.goes_by_ids and source.labelled else {},
        )
    except UserError:  # of a kind whose samples of 16 bits can't be read whole, or gone meanwhile
        return FileFacts(split, image, mask)


def judge_files(facts: Sequence[FileFacts]) -> list[Finding]:
    """Return the findings about the files of all pairs."""
    findings = [
        Finding(
            "turned apart",
            one.split,
            f"{one.image} has the EXIF orientation {one.orientations[0]} and {one.mask} {one.orientations[1]}; each is "
            "turned by its own, so labels drawn on stored pixels lie wrong: look at contact.png, and save both upright",
        )
        for one in facts
        if one.orientations[0] != one.orientations[1]
    ]
    damage = jpeg_damage([one.image for one in facts])
    findings += [
        Finding("lost pixels", one.split, f"{one.image}: {damage[one.image]}; replace or remove it")
        for one in facts
        if one.image in damage
    ]
    meanings = Meanings()
    contradictions = [(one, message) for one in facts if (message := meanings.add(one.mask, one.meaning))]
    findings += [Finding("ids of several meanings", one.split, message) for one, message in contradictions]
    return findings + _unused_bits(facts)


def _orientations(image: Path, mask: Path) -> tuple[int, int]:
    orientations = read_orientation(image), read_orientation(mask)
    height, width = image_size(image)
    # Turned by a right angle, only a square would be of one size with what isn't turned.
    are_alike = height != width and (orientations[0] >= 5) != (orientations[1] >= 5)
    return (1, 1) if are_alike else orientations


def _unused_bits(facts: Sequence[FileFacts]) -> list[Finding]:
    wide = [(one.highest, one) for one in facts if one.highest]
    highest = max((sample for sample, _ in wide), default=0)
    sample_range = _range_up_to(highest)
    if sample_range is None:
        return []
    first = wide[0][1]
    message = (
        f"{len(wide)} images of 16 bits a sample hold none above {highest}, such as {first.image}: they are read as "
        f"nearly black; set data.sample_range: {list(sample_range)}"
    )
    return [Finding("unused bits", first.split, message)]


def used_range(images: Sequence[Path]) -> SampleRange | None:
    """Return the range of samples that images of 16 bits use; None if they use all bits, or one has 8.

    Files that can't be read are left out.
    """
    highest = 0
    for image in images:
        with suppress(UserError):  # reported when all pairs are read
            sample = highest_wide_sample(image)
            if sample is None:
                return None
            highest = max(highest, sample)
    return _range_up_to(highest)


def _range_up_to(highest: int) -> SampleRange | None:
    """Return the range of as many bits, an even number, as the highest sample needs; None if these are all bits."""
    bits = max(8, highest.bit_length() + highest.bit_length() % 2)
    return (0, (1 << bits) - 1) if highest > 0 and bits <= _MOST_BITS else None
