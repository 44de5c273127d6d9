"""What training looks at in a data set before it starts."""

import numpy as np

from segdla.data.dataset import IGNORE_INDEX, PairSource, Source, is_labelled, require_one_size
from segdla.data.images import image_size
from segdla.errors import UserError

_SIZES, _PAIRS = 1000, 8


def quick_check(source: Source) -> str:
    """Look at sizes, from the headers, of pairs all over the source, and a few of them read whole.

    Returns what looks like a mistake but may be meant, or an empty string. Raises the first UserError.
    """
    counts = np.zeros(256, np.int64)
    try:
        if isinstance(source, PairSource):
            for index in _spread(len(source), _SIZES):
                image, mask = source.pairs[index]
                require_one_size(image, image_size(image), mask, image_size(mask))
        for index in _spread(len(source), _PAIRS):
            counts += np.bincount(source.read(index)[1].ravel(), minlength=256)
    except UserError as error:
        raise UserError(f"{error} (all that is wrong: python tools/check_data.py CONFIG)") from error
    held = [name for name, pixels in zip(source.classes.names, counts, strict=False) if pixels]
    if not counts[IGNORE_INDEX] or len(held) > 1 or not is_labelled(source):
        return ""
    return (
        f"the masks looked at, from {source.name(0)} on, hold nothing but {held[0] if held else 'no class'} and pixels "
        f"that are ignored ({IGNORE_INDEX}); if those are a class, name it in data.label_map={{0: ..., 255: ...}}"
    )


def _spread(length: int, number: int) -> list[int]:
    return sorted({i * length // number for i in range(number)}) if length > number else list(range(length))
