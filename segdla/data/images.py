"""The one reader of image and mask files: from a file to the arrays that its pixels become.

It reads PNG, JPEG, TIFF, WebP, BMP and still GIF; the content decides, not the suffix. An image of 1, 2, 3 or 4
channels becomes RGB: grey is repeated, and alpha is dropped. Samples of more than 8 bits keep their upper 8, unless a
range is given. EXIF orientation is applied, to masks as to images.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from segdla.data import tiff
from segdla.data.image_header import REMEDY, lossy_kind, open_file, orientation, read_content, read_header
from segdla.data.stored_mask import StoredMask, indices, palette_of, stored_by_opencv, stored_by_pillow
from segdla.data.wide_samples import SampleRange, is_wide, read_wide_samples, to_bytes
from segdla.errors import UserError

_UPRIGHT = {  # the inverse of each EXIF orientation
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
_BYTES_TO_DECODE = 8  # of a pixel, for a picture and a copy of it


def read_image(path: Path, sample_range: SampleRange | None = None) -> np.ndarray:
    """Read an image file as RGB (H,W,3) uint8; samples of more than 8 bits are scaled from a range.

    Raises UserError if it can't be read.
    """
    return decode_image(path, read_content(path), sample_range)


def decode_image(path: Path, content: bytes, sample_range: SampleRange | None = None) -> np.ndarray:
    """Return the bytes of an image file as ``read_image`` does; messages name ``path``."""
    header = read_header(path, io.BytesIO(content))
    if sample_range is not None and is_wide(content, header):
        with _answering_damage(path, header):
            pixels = _scaled(read_wide_samples(path, content, header), header, sample_range)
    elif _suits_opencv(path, content, header):
        pixels = _by_opencv(path, content, header, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    else:
        with _answering_damage(path, header):
            pixels = _rgb(header, str(path))
    return _turn_upright(pixels, header)


def as_rgb(image: object, sample_range: SampleRange | None = None) -> np.ndarray:
    """Return an array, a PIL image or an image file as RGB (H,W,3) uint8, contiguous and writable.

    An array is RGB or grey (H,W), uint8; a PIL image gives the same array as ``read_image`` of its file.

    Raises UserError if it isn't an image.
    """
    if isinstance(image, str | Path):
        return read_image(Path(image), sample_range)
    if isinstance(image, Image.Image):
        return _from_pil(image, sample_range)
    if not isinstance(image, np.ndarray):
        raise UserError(f"an image is an array, a path or a PIL image, not {type(image).__name__}")
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)) or not image.size:
        raise UserError(
            f"an image is RGB (height, width, 3) or grey (height, width), uint8 in 0..255, not {image.shape} "
            f"{image.dtype}; of several images give a list"
        )
    if image.ndim == 2:
        image = np.dstack([image] * 3)
    return np.require(image, requirements=("C", "W"))  # torch warns about memory that it can't write to


def read_mask(path: Path) -> np.ndarray:
    """Read a mask file's samples as stored: values (H,W) uint8 or uint16, or RGB colours (H,W,3) uint8 without alpha.

    A palette image gives its indices, and one of 1, 2 or 4 bits its samples. Raises UserError if it can't be read.
    """
    return read_stored_mask(path).samples


def read_stored_mask(path: Path) -> StoredMask:
    """Read a mask file's samples with their colours. Raises UserError if it can't be read."""
    return decode_stored_mask(path, read_content(path))


def decode_stored_mask(path: Path, content: bytes) -> StoredMask:
    """Return the bytes of a mask file as ``read_stored_mask`` does; messages name ``path``."""
    header = read_header(path, io.BytesIO(content))
    if _suits_opencv(path, content, header) and header.mode != "P":  # OpenCV would look the palette's colours up
        bits = content[24] if header.format == "PNG" else 1 if header.mode == "1" else 8
        mask = stored_by_opencv(path, _by_opencv(path, content, header, cv2.IMREAD_UNCHANGED), header, bits)
    else:
        with _answering_damage(path, header):
            mask = stored_by_pillow(path, header)
    if mask.samples.ndim == 3 and mask.samples.dtype != np.uint8:
        raise UserError(f"{path} holds colours of 16 bits a sample; masks' have 8: convert it")
    samples = _turn_upright(mask.samples, header)
    return mask._replace(samples=samples, lossy=lossy_kind(header, io.BytesIO(content)))


def read_palette(path: Path) -> np.ndarray | None:
    """Read the RGB colours (N,3) uint8 of a palette image's indices; None if the image has no palette.

    Raises UserError if the file can't be read.
    """
    with open_file(path) as file:
        header = read_header(path, file)
        with _answering_damage(path, header):
            return palette_of(header) if header.mode == "P" else None


def image_size(path: Path) -> tuple[int, int]:
    """Read from the header alone the (height, width) that ``read_image`` would give.

    Raises UserError if the file can't be read.
    """
    with open_file(path) as file:
        return decoded_size(path, file)


def decoded_size(path: Path, file: BinaryIO) -> tuple[int, int]:
    """Return what ``image_size`` does, for an open file; messages name ``path``."""
    header = read_header(path, file)
    height, width = tiff.size(header) if isinstance(header, TiffImageFile) else header.size[::-1]
    return (width, height) if orientation(header) >= 5 else (height, width)


def _suits_opencv(path: Path, content: bytes, header: ImageFile) -> bool:
    """Return whether OpenCV can decode the file: it is faster than Pillow, but knows fewer formats.

    Raises UserError if the file is cut short: OpenCV would make up the pixels that are missing.
    """
    match header.format:
        case "PNG":
            is_whole = content.rfind(b"IEND") >= 0
        case "JPEG" | "MPO":
            assert header.fp is not None, "the header has been closed"
            # Pillow stopped at the start of the scan; an end before it is the end of a thumbnail.
            is_whole = content.rfind(b"\xff\xd9") >= header.fp.tell()
        case "BMP":
            return header.mode in ("1", "L")  # Pillow drops grey palettes, and then reads 4 bits as if they were 8
        case _:
            return False
    if not is_whole:
        raise UserError(f"{path} is cut short (truncated); {REMEDY}")
    return True


def _by_opencv(path: Path, content: bytes, header: ImageFile, flags: int) -> np.ndarray:
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        _require_memory(path, header)
        raise UserError(f"{path} is not an image that can be decoded: its pixels are damaged; {REMEDY}")
    return pixels


@contextmanager
def _answering_damage(path: Path, header: ImageFile) -> Iterator[None]:
    """Raise UserError in place of what Pillow raises at damaged pixels."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of many types, as in read_header
        _require_memory(path, header)
        if "truncated" in str(error):
            raise UserError(f"{path} is cut short (truncated); {REMEDY}") from error
        if isinstance(header, TiffImageFile):
            raise tiff.odd_kind(path, header.tag_v2, str(error)) from error
        raise UserError(f"{path} is not an image that can be decoded ({error}); {REMEDY}") from error


def _require_memory(path: Path, header: ImageFile) -> None:
    """Raise UserError if there is no memory for an image's pixels: neither OpenCV nor Pillow tells that from damage."""
    try:
        np.empty((header.height, header.width, _BYTES_TO_DECODE), np.uint8)
    except MemoryError:
        size = f"{header.height}x{header.width}"
        raise UserError(f"no memory left to decode {path} ({size} pixels); free some, or cut it into tiles") from None


def _scaled(samples: np.ndarray, image: Image.Image, sample_range: SampleRange | None) -> np.ndarray:
    """Return RGB (H,W,3) uint8 of an image's samples (H,W) or (H,W,3) of more than 8 bits."""
    bits = tiff.bits(image) if isinstance(image, TiffImageFile) else 16
    pixels = to_bytes(samples, sample_range or (0, (1 << bits) - 1))
    if isinstance(image, TiffImageFile) and tiff.is_min_white(image):
        pixels = 255 - pixels
    return pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)


def _from_pil(image: Image.Image, sample_range: SampleRange | None) -> np.ndarray:
    if not all(image.size):
        raise UserError(f"an image of {image.height}x{image.width} has no pixels")
    of_wide_samples = any(";16" in str(tile) for tile in getattr(image, "tile", ()))
    if sample_range is not None and of_wide_samples and not image.mode.startswith("I;16"):
        raise UserError(f"Pillow drops samples that the range {sample_range} is of; give the path of the file instead")
    try:
        return _turn_upright(_rgb(image, "the image", sample_range), image)
    except OSError as error:  # a file is decoded only now
        raise UserError(f"the image can't be decoded ({error}); replace it") from error


def _rgb(image: Image.Image, name: str, sample_range: SampleRange | None = None) -> np.ndarray:
    """Convert an image to RGB (H,W,3) uint8. Raises UserError if it has 32 bits a sample."""
    if isinstance(image, TiffImageFile):
        tiff.mend_planes(image)
    if image.mode.startswith("I;16"):
        return _scaled(np.asarray(image), image, sample_range)
    if image.mode in ("I", "F"):
        raise UserError(f"{name} has 32 bits a sample; images have 8 or 16: convert it")
    if image.mode in ("P", "PA"):
        palette, colors = palette_of(image)[:256], np.zeros((256, 3), np.uint8)
        colors[: len(palette)] = palette
        return colors[indices(image)]
    return np.array((image.convert("LA") if image.mode == "La" else image).convert("RGB"))


def _turn_upright(pixels: np.ndarray, image: Image.Image) -> np.ndarray:
    turn = _UPRIGHT.get(orientation(image))
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))
