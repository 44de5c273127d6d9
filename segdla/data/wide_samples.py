"""Samples of more than 8 bits: what a file holds, and which of them become black and white."""

import io
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from segdla.data import tiff
from segdla.data.image_header import open_file, read_content, read_header
from segdla.errors import UserError

SampleRange = tuple[int, int]
"""The samples that become 0 and 255; what lies below and above becomes so too."""


def to_bytes(samples: np.ndarray, sample_range: SampleRange) -> np.ndarray:
    """Return samples of 16 bits as uint8, by 256 equal parts of the range. (0, 65535) keeps the upper 8 bits."""
    return _bytes_of_samples(*sample_range)[samples]


def highest_wide_sample(path: Path) -> int | None:
    """Return the highest sample of an image of 16 bits a sample; None if it has fewer bits.

    Raises UserError like ``read_wide_samples``, and if the file can't be read.
    """
    with open_file(path) as file:
        start = file.read(25)
        file.seek(0)
        if not is_wide(start, read_header(path, file)):
            return None
    content = read_content(path)
    return int(read_wide_samples(path, content, read_header(path, io.BytesIO(content))).max())


def read_wide_samples(path: Path, content: bytes, header: ImageFile) -> np.ndarray:
    """Return the samples (H,W) or RGB (H,W,3) uint16, as stored, of a file of more than 8 bits a sample.

    Raises UserError if they can't be read whole.
    """
    if header.mode.startswith("I;16"):
        return np.asarray(header).astype(np.uint16)
    pixels = None
    if header.format == "PNG" or _is_plain_rgb(header):
        try:
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            pixels = None
    if pixels is None or pixels.dtype != np.uint16:
        raise UserError(f"{path}: its samples of 16 bits can't be read whole, for data.sample_range; save it as a PNG")
    return pixels if pixels.ndim == 2 else cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2RGB)


def is_wide(start: bytes, header: ImageFile) -> bool:
    """Return whether an image file, which begins with 25 bytes or more of ``start``, has more than 8 bits a sample."""
    if isinstance(header, TiffImageFile):
        return tiff.bits(header) > 8
    return header.format == "PNG" and start[24] == 16


def _is_plain_rgb(header: ImageFile) -> bool:
    """Return whether OpenCV reads a TIFF of 16 bits as it is: its first page, colours, planes not apart."""
    if not isinstance(header, TiffImageFile) or header.mode not in ("RGB", "RGBA"):
        return False
    return not tiff.has_planes_apart(header) and header.tell() == 0


@lru_cache(maxsize=8)
def _bytes_of_samples(low: int, high: int) -> np.ndarray:
    parts = (np.arange(1 << 16) - low) * 256 // (high - low + 1)
    return parts.clip(0, 255).astype(np.uint8)
