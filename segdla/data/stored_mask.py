"""A mask as its file stores it: samples, and the colours that they stand for."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from segdla.data import tiff
from segdla.errors import UserError

_GREYS = {bits: np.linspace(0, 255, 2**bits).astype(np.uint8)[:, None].repeat(3, 1) for bits in (1, 2, 4, 8)}


class StoredMask(NamedTuple):
    """A mask as its file stores it, with the colours a viewer would show."""

    samples: np.ndarray  # (H,W) uint8 or uint16, or RGB colours (H,W,3) uint8 without alpha
    colors: np.ndarray = _GREYS[8]  # RGB (N,3) uint8 of the samples 0..N-1 of (H,W): a palette, or greys
    has_palette: bool = False
    lossy: str = ""  # the compression, if it alters values, such as JPEG


def stored_by_opencv(path: Path, pixels: np.ndarray, header: ImageFile, bits: int) -> StoredMask:
    """Return the samples of an unchanged array of OpenCV's, whose file has ``bits`` a sample.

    Raises UserError if only alpha tells pixels apart.
    """
    if pixels.ndim == 3:
        if pixels.shape[2] == 4:
            _require_labels_in_color(path, pixels[..., :3], pixels[..., 3])
        is_grey = header.mode in ("LA", "La")
        return StoredMask(pixels[..., 0] if is_grey else cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2RGB))
    if bits >= 8:
        return StoredMask(pixels)
    return StoredMask(pixels // (255 // (2**bits - 1)), _GREYS[bits])  # OpenCV stretches them to 0..255


def stored_by_pillow(path: Path, image: ImageFile) -> StoredMask:
    """Return samples and colours. Raises UserError if a sample has too many bits."""
    if image.mode in ("I", "F"):
        raise UserError(f"{path} has 32 bits a sample; masks have 8 or 16: convert it")
    if image.mode in ("P", "PA"):
        return StoredMask(indices(image), palette_of(image), has_palette=True)
    if image.mode.startswith("I;16"):
        return StoredMask(np.array(image))
    if image.mode in ("LA", "La"):
        pixels = np.array(image)
        _require_labels_in_color(path, pixels[..., :1], pixels[..., 1])
        return StoredMask(pixels[..., 0])
    if image.mode in ("1", "L"):
        pixels = np.array(image, np.uint8)
        if not isinstance(image, TiffImageFile):
            return StoredMask(pixels, _GREYS[1 if image.mode == "1" else 8])
        greys = _GREYS[tiff.bits(image)]
        return StoredMask(tiff.stored_samples(image, pixels), greys[::-1] if tiff.is_min_white(image) else greys)
    if isinstance(image, TiffImageFile) and tiff.is_wide(image):
        raise UserError(f"{path} holds colours of 16 bits a sample; masks' have 8: convert it")
    pixels = np.array(image.convert("RGB"))
    if "A" in image.getbands():
        _require_labels_in_color(path, pixels, np.array(image.getchannel("A")))
    return StoredMask(pixels)


def indices(image: Image.Image) -> np.ndarray:
    """Return a palette image's indices (H,W), without alpha."""
    pixels = np.array(image)
    return pixels if pixels.ndim == 2 else pixels[..., 0]


def palette_of(image: Image.Image) -> np.ndarray:
    """Return a palette image's RGB colours (N,3) uint8."""
    if isinstance(image, TiffImageFile):
        return tiff.palette(image)
    return np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)


def _require_labels_in_color(path: Path, colors: np.ndarray, alpha: np.ndarray) -> None:
    """Raise UserError if alpha (H,W) tells pixels apart, and their colours (H,W,C) don't."""
    if alpha.min() != alpha.max() and (colors == colors[:1, :1]).all():
        raise UserError(
            f"{path} has one colour everywhere: only its alpha channel (transparency) differs, which is not read; save "
            "that channel as a grey PNG, or the labels as colours"
        )
