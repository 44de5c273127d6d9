"""Masks as lengths of runs (RLE), by columns as COCO has them."""

import numpy as np

from segdla.data.annotations.shapes import Patch
from segdla.errors import UserError

_LAST, _SIGN, _MOST_DIGITS = 0x20, 0x10, 7  # of a number's digits, each of 5 bits


def patch_of_runs(counts: np.ndarray, size: tuple[int, int], where: str, image_size: tuple[int, int]) -> Patch:
    """Return the mask of a size (height, width), for an image of ``image_size``.

    counts: (N,) lengths of runs down the columns, one of zeros first. It is decoded where it has ones.

    Raises UserError if the sizes differ, or the runs don't fill the mask.
    """
    height, width = size
    if size != image_size:
        raise UserError(
            f"{where} is of {height}x{width} (height x width) but the image of {image_size[0]}x{image_size[1]}; export "
            "the labels anew, or take the image that was labelled"
        )
    ends = np.cumsum(counts)
    if (counts < 0).any() or not len(counts) or ends[-1] != height * width:
        raise UserError(
            f"{where}: its runs make {ends[-1] if len(counts) else 0} pixels, not {height}x{width}; export it anew"
        )
    starts, ends = ends[:-1:2], ends[1::2]
    if not len(starts):
        return Patch(0, 0, np.zeros((height, 0), bool))
    first, last = int(starts[0]) // height, -(-int(ends[-1]) // height)
    lengths = counts[: 2 * len(starts)].copy()
    lengths[0] -= first * height
    values = np.arange(len(lengths)) % 2 == 1
    columns = np.zeros((last - first) * height, bool)
    ones = np.repeat(values, lengths)
    columns[: len(ones)] = ones
    return Patch(0, first, columns.reshape(last - first, height).T)


def decode_counts(text: str, where: str) -> np.ndarray:
    """Return the lengths of runs (N,) int64 that COCO's text of a compressed mask stands for.

    Each number is written in digits of 5 bits, the lowest first; from the fourth on it is the difference to the number
    before the last. Raises UserError if the text is no such.
    """
    digits = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - 48
    is_last = digits & _LAST == 0
    ends = np.flatnonzero(is_last) + 1
    starts = np.concatenate([[0], ends[:-1]])
    if not len(ends) or ends[-1] != len(digits) or (digits < 0).any() or (digits > 63).any():
        raise UserError(f"{where} is no text of a compressed mask (RLE), or cut short; export it anew")
    lengths = ends - starts
    if lengths.max() > _MOST_DIGITS:
        raise UserError(f"{where} holds a run longer than any image (RLE); export it anew")
    place = np.arange(len(digits)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((digits & 0x1F) << 5 * place, starts)
    is_negative = digits[ends - 1] & _SIGN != 0
    numbers[is_negative] -= 1 << 5 * lengths[is_negative]
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
