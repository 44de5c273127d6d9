"""An image file's header, read before its pixels are decoded; and the error for a file that isn't an image.

The content decides what a file is, not its suffix.
"""

import io
import os
import stat
import struct
import warnings
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from segdla.data import tiff
from segdla.data.archives import read_packed
from segdla.errors import UserError, quoted

REMEDY = "replace or remove it"
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # chunks of PNGs
_ORIENTATION = 0x0112  # the EXIF tag
_PNG_OR_JPEG = "convert it to PNG or JPEG"
_OTHERS = (  # what other files begin with, or have at a place near their beginning
    (4, b"ftyphei", "a HEIC photo", _PNG_OR_JPEG),
    (4, b"ftypmif1", "a HEIC photo", _PNG_OR_JPEG),
    (4, b"ftypavi", "an AVIF picture", _PNG_OR_JPEG),
    (4, b"ftyp", "a video", "save its frames as images"),
    (4, b"jP  \r\n\x87\n", "a JPEG 2000 picture", _PNG_OR_JPEG),
    (0, b"\xffO\xffQ", "a JPEG 2000 picture", _PNG_OR_JPEG),
    (4, b"JXL \r\n\x87\n", "a JPEG XL picture", _PNG_OR_JPEG),
    (0, b"8BPS", "a Photoshop document", _PNG_OR_JPEG),
    (0, b"%PDF", "a PDF document", _PNG_OR_JPEG),
    (128, b"DICM", "a DICOM file", "convert it to PNG"),
    (0, b"\x93NUMPY", "a NumPy array", "write it as a PNG"),
    (0, b"MATLAB", "a MATLAB file", "write its array as a PNG"),
    (0, b"PK\x03\x04", "a ZIP archive", "name it in place of the folder"),
    (0, b"version https://git-lfs", "a pointer of Git LFS", "get the file itself: git lfs pull"),
    (0, b"<", "a text, perhaps of a web page that answered a download", "get the file itself"),
)


def open_file(path: Path) -> BinaryIO:
    """Open a file, of an archive too, to read. Raises UserError if it isn't a regular file or can't be read."""
    if not os.path.lexists(path) and (packed := read_packed(path)) is not None:
        return io.BytesIO(packed)
    _require_file(path)
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def read_content(path: Path) -> bytes:
    """Read the bytes of a file, those of a PNG without its texts. Raises UserError like ``open_file``."""
    with open_file(path) as file:
        try:
            return _without_texts(file.read())
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error


def read_header(path: Path, file: BinaryIO) -> ImageFile:
    """Open the image without decoding it. Raises UserError if it is not a single picture of a kind that can be read."""
    _hush_pillow()
    start = file.read(160)
    page = tiff.find_picture(path, file) if start.startswith(tiff.MAGICS) else 0
    file.seek(0)
    try:
        header = Image.open(file, formats=_FORMATS)
        if page:
            header.seek(page)
        frames = 1 if header.format in ("MPO", "TIFF") else getattr(header, "n_frames", 1)  # an MPO has a preview
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise UserError(f"{path} is too large to decode (it has more than {limit} pixels); cut it into tiles") from None
    except Exception as error:  # at a damaged header, Pillow's parsers raise errors of many types
        file.seek(0)
        content = file.read() if start.startswith(_PNG) else b""
        if len(plain := _without_texts(content)) < len(content):
            return read_header(path, io.BytesIO(plain))
        raise _no_image(path, file, start, error) from error
    if frames > 1:
        raise UserError(f"{path} holds {frames} pictures; save the one that is meant by itself")
    return header


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation (1..8) that the pixels still have; Pillow turns a TIFF itself, and drops the tag."""
    if image.format == "PNG" and "exif" not in image.info:  # Pillow would decode the whole file to look for it
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata isn't a reason to refuse the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def lossy_kind(header: ImageFile, file: BinaryIO) -> str:
    """Name the compression if it alters values, such as "JPEG"; return an empty text if it doesn't."""
    if header.format in ("JPEG", "MPO"):
        return "JPEG"
    if isinstance(header, TiffImageFile) and tiff.is_jpeg_inside(header):
        return "TIFF with JPEG compression"
    return "lossy WebP" if header.format == "WEBP" and _has_lossy_webp(file) else ""


def lossy_compression(path: Path) -> str:
    """Name a file's compression if it alters values, by its content; else return an empty text.

    Raises UserError if the file can't be read.
    """
    with open_file(path) as file:
        return lossy_kind(read_header(path, file), file)


def read_orientation(path: Path) -> int:
    """Read the EXIF orientation (1..8) that the reader undoes. Raises UserError if the file can't be read."""
    with open_file(path) as file:
        return orientation(read_header(path, file))


def _require_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # a NUL byte
        raise UserError(f"cannot read {quoted(str(path))}: {error}") from error
    if not stat.S_ISREG(mode):  # opening a pipe would wait for its writer
        kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
        raise UserError(f"{path} is {kind}, not an image file; name its files, or rename or remove it")


def _hush_pillow() -> None:
    """Ignore Pillow's warnings, of large pictures and damaged metadata: the reader answers what can't be read.

    ``warnings.catch_warnings`` isn't an alternative, since files are read in threads.
    """
    if not any(entry[0] == "ignore" and getattr(entry[3], "pattern", "") == r"PIL\." for entry in warnings.filters):
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _no_image(path: Path, file: BinaryIO, start: bytes, error: Exception) -> UserError:
    """Say what the file is that Pillow can't open."""
    if not start:
        return UserError(f"{path} is not an image: it is empty (0 bytes); {REMEDY}")
    for offset, magic, kind, remedy in _OTHERS:
        if start.startswith(magic, offset):
            return UserError(f"{path} is {kind}, which can't be read; {remedy}")
    if start.startswith(tiff.MAGICS) and (tags := tiff.first_tags(file)):
        return tiff.odd_kind(path, tags, "" if isinstance(error, UnidentifiedImageError) else str(error))
    if isinstance(error, UnidentifiedImageError):
        return UserError(f"{path} is not an image: it can't be decoded; {REMEDY}")
    return UserError(f"{path} is not an image that can be decoded ({error}); {REMEDY}")


def _without_texts(content: bytes) -> bytes:
    """Leave texts and the colour profile out of a PNG: Pillow refuses a picture with large ones."""
    if not content.startswith(_PNG):
        return content
    parts, kept_from, place = [], 0, len(_PNG)
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 12 + length
        if kind in _TEXTS and end <= len(content):
            parts.append(content[kept_from:place])
            kept_from = end
        place = end
    return b"".join([*parts, content[kept_from:]]) if parts else content


def _has_lossy_webp(file: BinaryIO) -> bool:
    """Return whether a WebP's picture is in the lossy format."""
    file.seek(12)
    while len(chunk := file.read(8)) == 8:
        kind, length = struct.unpack("<4sI", chunk)
        if kind in (b"VP8 ", b"VP8L"):
            return bool(kind == b"VP8 ")
        file.seek(length + length % 2, io.SEEK_CUR)
    return False
