"""A quick check of a data set, before training starts."""

import numpy as np

from segdla.data.images import image_size
from segdla.data.labels import IGNORE_INDEX
from segdla.data.pair_source import require_one_size
from segdla.data.source import Source
from segdla.data.subset import evenly_spaced
from segdla.doctor.meanings import Meanings, meaning_of
from segdla.errors import UserError

_SIZES, _PAIRS = 1000, 8


def quick_check(source: Source) -> str:
    """Compare the sizes of pairs from all over the source, by their headers, and read a few pairs whole.

    Returns a doubt about what looks like a mistake but may be meant, or an empty string. Raises the first UserError.
    """
    if source.classes.whole_images:
        return _look_at_images(source)
    counts, meanings, doubt = np.zeros(256, np.int64), Meanings(), ""
    try:
        sample = evenly_spaced(source, _SIZES)
        for index in range(len(sample)):
            match sample.files(index):
                case image, mask:
                    require_one_size(image, image_size(image), mask, image_size(mask))
        sample = evenly_spaced(source, _PAIRS)
        for index in range(len(sample)):
            counts += np.bincount(sample.read(index)[1].ravel(), minlength=256)
            match sample.files(index):
                case _, mask if source.goes_by_ids and source.labelled:
                    doubt = doubt or meanings.add(mask, meaning_of(mask))
    except UserError as error:
        raise UserError(f"{error} (all that is wrong: segdla check CONFIG)") from error
    present = [name for name, pixels in zip(source.classes.names, counts, strict=False) if pixels]
    if doubt or not counts[IGNORE_INDEX] or len(present) > 1 or not source.labelled or source.classes.overlapping:
        return doubt
    return (
        f"the masks looked at, from {source.name(0)} on, hold nothing but {present[0] if present else 'no class'} and "
        f"pixels that are ignored ({IGNORE_INDEX}); if those are a class, name it in "
        f"data.label_map={{0: ..., {IGNORE_INDEX}: ...}}"
    )


def _look_at_images(source: Source) -> str:
    """Read the headers of images from all over a source, and a few images whole. Raises the first UserError."""
    try:
        sample = evenly_spaced(source, _SIZES)
        for index in range(len(sample)):
            sample.image_size(index)
        sample = evenly_spaced(source, _PAIRS)
        for index in range(len(sample)):
            sample.read(index)
    except UserError as error:
        raise UserError(f"{error} (all that is wrong: segdla check CONFIG)") from error
    return ""
