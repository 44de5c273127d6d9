"""TIFF files beyond what Pillow makes of them: which page is the picture, which kinds can't be read, stored samples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL.ImageFile import _Tile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from segdla.errors import UserError

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF's
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _BANDS = 254, 256, 257, 258, 259, 262, 277
_PLANES, _COLORMAP, _FORMAT = 284, 320, 339
_REDUCED_OR_MASK = 1 | 4  # of NewSubfileType: an overview or thumbnail, a mask of transparency
_MIN_IS_WHITE, _MIN_IS_BLACK, _PALETTE, _YCBCR = 0, 1, 3, 6  # photometric interpretations
_BANDS_OF_COLORS = {2: (3, 6), 5: (4, 6), _YCBCR: (1, 3), 8: (3, 3)}  # RGB, CMYK, YCbCr, CIELAB: least, most
_JPEG = (6, 7)  # compressions
_TAKEN = (
    "images are whole numbers of 8 or 16 bits, in 1, 3 or 4 bands (grey, RGB, RGB and alpha), masks ids in 1 band; "
    "convert it, such as with gdal_translate -ot Byte -scale -b 1 -b 2 -b 3"
)


def find_picture(path: Path, file: BinaryIO) -> int:
    """Return the number of the page that is the picture: neither an overview or thumbnail nor a mask of transparency.

    Raises UserError if several pages are pictures, or the picture is of a kind that can't be read.
    """
    try:
        pages = _pages(file)
    except Exception:  # damaged: the reader answers
        return 0
    if not pages:
        return 0
    pictures = [number for number, page in enumerate(pages) if not _number(page, _SUBFILE, 0) & _REDUCED_OR_MASK]
    if len(pictures) > 1:
        raise UserError(f"{path} holds {len(pictures)} pictures; save the one that is meant by itself")
    picture = pictures[0] if pictures else 0
    _require_usual_samples(path, pages[picture])
    if _number(pages[picture], _PHOTOMETRIC, 0) == _YCBCR and _number(pages[picture], _COMPRESSION, 1) == 1:
        raise odd_kind(path, pages[picture], "YCbCr that is not compressed")  # Pillow ignores that colours are coarser
    return picture


def first_tags(file: BinaryIO) -> Mapping[int, Any]:
    """Return the tags of the first page; none if they can't be read."""
    try:
        return _pages(file)[0]
    except Exception:  # of many types
        return {}


def odd_kind(path: Path, tags: Mapping[int, Any], problem: str) -> UserError:
    """Return the answer to a TIFF whose tags can be read, but not its pixels."""
    bands = _number(tags, _BANDS, 1)
    apart = ", planes apart" if _number(tags, _PLANES, 1) == 2 else ""
    return UserError(
        f"{path} is a TIFF of a kind that can't be read, or damaged ({bands} band{'s' * (bands != 1)} of "
        f"{_number(tags, _BITS, 1)} bits{apart}, photometric interpretation {_number(tags, _PHOTOMETRIC, 0)}, "
        f"compression {_number(tags, _COMPRESSION, 1)}{'; ' * bool(problem)}{problem}); save it as a PNG"
    )


def is_jpeg_inside(image: TiffImageFile) -> bool:
    """Return whether the pixels are compressed as a JPEG's."""
    return _number(image.tag_v2, _COMPRESSION, 1) in _JPEG


def bits(image: TiffImageFile) -> int:
    """Return the bits of a sample."""
    return _number(image.tag_v2, _BITS, 1)


def is_wide(image: TiffImageFile) -> bool:
    """Return whether a sample has 16 bits."""
    return bits(image) == 16


def has_planes_apart(image: TiffImageFile) -> bool:
    """Return whether each band is stored by itself."""
    return _number(image.tag_v2, _PLANES, 1) == 2


def size(image: TiffImageFile) -> tuple[int, int]:
    """Return the (height, width) as stored; some versions of Pillow give it as it is after turning the image."""
    return image.tag_v2[_HEIGHT], image.tag_v2[_WIDTH]


def palette(image: TiffImageFile) -> np.ndarray:
    """Return the RGB colours (N,3) uint8 of a palette image. Some writers give them 8 bits in place of 16."""
    colors = np.array(image.tag_v2[_COLORMAP], np.int64).reshape(3, -1).T
    return (colors if colors.max(initial=0) < 256 else colors >> 8).astype(np.uint8)


def is_min_white(image: TiffImageFile) -> bool:
    """Return whether a grey image's lowest sample is white."""
    return _number(image.tag_v2, _PHOTOMETRIC, 0) == _MIN_IS_WHITE


def mend_planes(image: TiffImageFile) -> None:
    """Have Pillow read RGB of 16 bits whose planes lie apart, uncompressed, as 16 bits: it would take bytes of 8."""
    if not is_wide(image) or not has_planes_apart(image) or image.mode not in ("RGB", "RGBA"):
        return
    order = "L" if image.tag_v2.prefix == b"II" else "B"
    tiles = []
    for codec, extents, offset, args in image.tile:
        if codec == "raw" and isinstance(args, tuple):
            if args[0] not in image.mode:  # of a band that is not read
                continue
            args = (f"{args[0]};16{order}", *args[1:])
        tiles.append(_Tile(codec, extents, offset, args))
    image.tile = tiles


def stored_samples(image: TiffImageFile, pixels: np.ndarray) -> np.ndarray:
    """Return grey samples (H,W) uint8 of 1 to 8 bits as stored, from Pillow's, which are for looking at.

    Pillow stretches 2 and 4 bits to 0..255, and inverts images whose lowest sample is white.
    """
    top = 2 ** bits(image) - 1
    samples = pixels if image.mode == "1" else pixels // (255 // top)
    return top - samples if is_min_white(image) else samples


def _pages(file: BinaryIO) -> list[dict[int, Any]]:
    """Read the tags of all pages. Raises errors of many types if they are damaged."""
    file.seek(0)
    start = file.read(8)
    directory = ImageFileDirectory_v2(start + file.read(8) if start[2] == 43 else start)
    pages: list[dict[int, Any]] = []
    offset, visits = directory.next, set[int]()
    while offset and offset not in visits:
        visits.add(offset)
        file.seek(offset)
        directory.load(file)
        pages.append({tag: directory[tag] for tag in directory if tag <= _FORMAT})
        offset = directory.next
    file.seek(0)
    return pages


def _require_usual_samples(path: Path, page: Mapping[int, Any]) -> None:
    """Raise UserError if samples aren't whole numbers of 1 to 16 bits, or the bands are not those of their colours."""
    bits, bands, number_format = _number(page, _BITS, 1), _number(page, _BANDS, 1), _number(page, _FORMAT, 1)
    photometric = _number(page, _PHOTOMETRIC, 0)
    one_band = photometric in (_MIN_IS_WHITE, _MIN_IS_BLACK, _PALETTE)
    # Pillow knows grey with alpha of 8 bits alone, and reads 8 bits with a sign as if they had none.
    least, most = (1, 2 if bits == 8 else 1) if one_band else _BANDS_OF_COLORS.get(photometric, (1, bands))
    if bits <= {1: 16, 2: 8}.get(number_format, 0) and least <= bands <= most:
        return
    kind = {1: "", 2: ", with a sign", 3: ", floating point"}.get(number_format, ", of an unusual kind")
    nameless = ", none of which is named red, green or blue" if one_band and bands > 2 else ""
    raise UserError(f"{path} has {bits} bits a sample{kind}, in {bands} band{'s' * (bands != 1)}{nameless}; {_TAKEN}")


def _number(tags: Mapping[int, Any], tag: int, default: int) -> int:
    """Return a tag's value, the first of several; the default if there is none or it isn't a number."""
    value = tags.get(tag, default)
    if isinstance(value, tuple):
        value = next(iter(value), default)
    return value if isinstance(value, int) else default
