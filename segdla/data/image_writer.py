"""The one writer of images: as bytes, or as files, whole or not at all, in the format that the suffix names."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from segdla.data.labels import Color
from segdla.machine.files import write_whole


def encode_image(image: np.ndarray, suffix: str = ".png") -> bytes:
    """Return an RGB (H,W,3) or single-channel (H,W) array as a file of the format that the suffix names."""
    samples = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    return cv2.imencode(suffix, samples)[1].tobytes()


def encode_palette(class_ids: np.ndarray, palette: Sequence[Color]) -> bytes:
    """Return class ids (H,W) uint8 as a PNG with a palette: it looks coloured, and its samples are still the ids.

    With few classes a pixel takes 1, 2 or 4 bits.
    """
    assert class_ids.max(initial=0) < len(palette), f"id {class_ids.max()} of {len(palette)} classes"
    picture = Image.fromarray(class_ids)
    picture.putpalette([sample for color in palette for sample in color])
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an RGB (H,W,3) or single-channel (H,W) array; the folder is made.

    Raises UserError if the file can't be written.
    """
    write_whole(path, encode_image(image, path.suffix))


def write_palette(path: Path, class_ids: np.ndarray, palette: Sequence[Color]) -> None:
    """Write class ids (H,W) as ``encode_palette`` does. Raises UserError if the file can't be written."""
    write_whole(path, encode_palette(class_ids, palette))
