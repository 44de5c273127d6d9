"""Masks as PNGs inside other files."""

import base64
import binascii
import io
import zlib
from pathlib import Path

import numpy as np

from segdla.data.annotations.shapes import Patch
from segdla.data.image_header import read_header
from segdla.errors import UserError

_LARGEST = 1 << 28  # bytes of a mask


def patch_of_png(text: str, is_deflated: bool, corner: tuple[int, int], where: str, size: tuple[int, int]) -> Patch:
    """Return the mask whose PNG is written as text (base64), its upper left pixel at ``corner`` (x, y) of an image.

    A pixel is in it unless its sample is 0, or it is transparent. is_deflated: the PNG is compressed once more. What is
    out of the image's ``size`` (height, width) is cut off. Raises UserError if it can't be decoded.
    """
    try:
        content = base64.b64decode(text, validate=True)
        if is_deflated:
            content = zlib.decompressobj().decompress(content, _LARGEST)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise UserError(f"{where} is no mask that can be decoded ({error}); export it anew") from error
    header = read_header(Path(where), io.BytesIO(content))
    try:
        image = header.getchannel("A") if "A" in header.getbands() else header
        mask = np.array(image) != 0
    except Exception as error:  # of many types, as in read_header
        raise UserError(f"{where} is no mask that can be decoded ({error}); export it anew") from error
    if mask.ndim == 3:
        mask = mask.any(2)
    return clipped(mask, corner, size)


def clipped(mask: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> Patch:
    """Return a mask (H,W) bool, its upper left pixel at ``corner`` (x, y), without what is out of an image's size."""
    left, top = corner
    height, width = size
    mask = mask[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
    return Patch(min(max(0, top), height), min(max(0, left), width), mask)
