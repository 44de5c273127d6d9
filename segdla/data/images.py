"""The one reader of image and mask files: what it accepts, how it maps it to bytes, and what it says of the rest.

PNG, JPEG, TIFF, WebP, BMP, and still GIF, told by content. An image of 1, 2, 3 or 4 channels becomes RGB: grey is
repeated, alpha dropped; of 16 bits a sample the upper 8 are kept. EXIF orientation is applied, to masks as to images.
"""

import io
import os
import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from segdla.errors import UserError

IMAGE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"))
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")
_MEND = "replace or remove it"
_ORIENTATION = 0x0112
_TURNED = {  # EXIF orientation to the way back
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


def read_image(path: Path) -> np.ndarray:
    """An image file as RGB (H,W,3) uint8. Raises UserError where it can't be read."""
    content = _content(path)
    header = _header(path, io.BytesIO(content))
    if _by_opencv(path, content, header):
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = _decoded(path, cv2.imdecode(np.frombuffer(content, np.uint8), flags))
    elif header.mode.startswith("I;16"):
        pixels = np.dstack([_load(path, header) >> 8] * 3).astype(np.uint8)
    elif header.mode in ("I", "F"):
        raise UserError(f"{path} has 32 bits a sample; images have 8 or 16: convert it")
    else:
        pixels = _load(path, header, "RGB")
    return _upright(pixels, _orientation(header))


def read_mask(path: Path) -> np.ndarray:
    """A mask file as stored: values (H,W) uint8 or uint16, or RGB colours (H,W,3); alpha is dropped.

    A palette image gives its indices, and one of 1, 2 or 4 bits its samples. Raises UserError where it can't be read.
    """
    content = _content(path)
    header = _header(path, io.BytesIO(content))
    if _by_opencv(path, content, header) and header.mode != "P":  # OpenCV would look the palette's colours up
        mask = _decoded(path, cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED))
        if mask.ndim == 3:
            mask = mask[..., 0] if header.mode in ("LA", "La") else cv2.cvtColor(mask[..., :3], cv2.COLOR_BGR2RGB)
        elif header.format == "PNG" and content[24] < 8:  # bits, which it stretches to 0..255
            mask //= 255 // (2 ** content[24] - 1)
    elif header.mode in ("1", "L", "P") or header.mode.startswith("I;16"):
        mask = _load(path, header)
        mask = mask.astype(np.uint8) if mask.dtype == bool else mask
    elif header.mode in ("I", "F"):
        raise UserError(f"{path} has 32 bits a sample; masks have 8 or 16: convert it")
    else:
        mask = _load(path, header, "L" if header.mode in ("LA", "La") else "RGB")
    if mask.ndim == 3 and mask.dtype != np.uint8:
        raise UserError(f"{path} holds colours of 16 bits a sample; masks' have 8: convert it")
    return _upright(mask, _orientation(header))


def read_palette(path: Path) -> np.ndarray | None:
    """The RGB colours (N,3) uint8 of a palette image's indices; None where it is none. Raises UserError."""
    with _opened(path) as file:
        header = _header(path, file)
        return np.array(header.getpalette("RGB"), np.uint8).reshape(-1, 3) if header.mode == "P" else None


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) as ``read_image`` would give them, from the header alone. Raises UserError."""
    with _opened(path) as file:
        header = _header(path, file)
        # Of a TIFF, some versions of Pillow give the size after turning it.
        width, height = (header.tag_v2[256], header.tag_v2[257]) if header.format == "TIFF" else header.size
        return (width, height) if _orientation(header) >= 5 else (height, width)


def walk_images(
    directory: Path,
    skip: Callable[[Path], bool] = lambda _: False,
    suffixes: Collection[str] = IMAGE_SUFFIXES,
) -> Iterator[Path]:
    """Whatever is named like an image in a directory and below it, links followed once, hidden names left out.

    ``suffixes`` are of what to look for. ``skip`` says of a directory below it whether it is not entered. Raises
    UserError where the directory can't be listed.
    """
    seen = set()
    for place, folders, files in os.walk(directory, followlinks=True, onerror=_cannot_list):
        real = os.path.realpath(place)
        if real in seen or (seen and skip(Path(place))):  # come to by a link, perhaps of a loop; or not wanted
            folders.clear()
            continue
        seen.add(real)
        # A directory named like an image is for the reader to answer, and so not entered.
        named = [name for name in (*folders, *files) if Path(name).suffix.lower() in suffixes]
        yield from (Path(place, name) for name in sorted(named) if not name.startswith("."))
        folders[:] = sorted(name for name in set(folders) - set(named) if not name.startswith("."))


def list_images(directory: Path, skip: Path | None = None) -> list[Path]:
    """What ``walk_images`` finds outside of ``skip``, sorted. Raises UserError where there is none, or no directory."""
    if not directory.is_dir():
        raise UserError(f"no directory {directory}; check the path (of a config: data.root, and what is below)")
    left = os.path.realpath(skip) if skip else None
    paths = sorted(walk_images(directory, lambda place: os.path.realpath(place) == left))
    if not paths:
        raise UserError(f"no images in {directory} ({', '.join(sorted(IMAGE_SUFFIXES))}); check the path")
    return paths


def _cannot_list(error: OSError) -> None:
    raise UserError(f"cannot list {error.filename}: {error.strerror}") from error


def _require_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if not stat.S_ISREG(mode):  # to open a pipe would wait for its writer
        what = "a directory" if stat.S_ISDIR(mode) else "no regular file"
        raise UserError(f"{path} is {what}, though named like an image; rename or remove it")


def _opened(path: Path) -> BinaryIO:
    _require_file(path)
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _content(path: Path) -> bytes:
    _require_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _header(path: Path, file: io.BufferedIOBase) -> Image.Image:
    """The image, opened but not decoded, and known to be a single one of bearable size."""
    try:
        header = Image.open(file, formats=_FORMATS)
        frames = getattr(header, "n_frames", 1) if header.format != "MPO" else 1  # a photo and its preview
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{path} is too large to decode ({error}); cut it into tiles") from None
    except UnidentifiedImageError:
        size = file.seek(0, io.SEEK_END)
        problem = "it is empty (0 bytes)" if size == 0 else "it can't be decoded"
        raise UserError(f"{path} is not an image: {problem}; {_MEND}") from None
    except Exception as error:  # a damaged header makes Pillow's parsers raise what they happen to raise
        raise UserError(f"{path} is not an image that can be decoded ({error}); {_MEND}") from error
    if frames > 1:
        raise UserError(f"{path} holds {frames} pictures; save the one that is meant by itself")
    return header


def _by_opencv(path: Path, content: bytes, header: Image.Image) -> bool:
    """Whether OpenCV, the faster one, is to decode it. It would fill up what a file lacks: that is found out here."""
    match header.format:
        case "PNG":
            whole = content.rfind(b"IEND") >= 0
        case "JPEG" | "MPO":
            # After the start of the scan, where Pillow stopped: before it is the end of a thumbnail.
            whole = content.rfind(b"\xff\xd9") >= header.fp.tell()
        case _:
            return False
    if not whole:
        raise UserError(f"{path} is cut short (truncated); {_MEND}")
    return True


def _decoded(path: Path, pixels: np.ndarray | None) -> np.ndarray:
    if pixels is None:
        raise UserError(f"{path} is not an image that can be decoded: its pixels are damaged; {_MEND}")
    return pixels


def _load(path: Path, header: Image.Image, mode: str | None = None) -> np.ndarray:
    try:
        return np.array(header.convert(mode) if mode else header)
    except Exception as error:  # as in _header
        cut = "truncated" in str(error)
        problem = "is cut short (truncated)" if cut else f"is not an image that can be decoded ({error})"
        raise UserError(f"{path} {problem}; {_MEND}") from error


def _orientation(header: Image.Image) -> int:
    """How the pixels are turned that the header has or will have: Pillow turns a TIFF as it loads it, and says so."""
    if header.format == "PNG" and "exif" not in header.info:  # asked for it, Pillow would decode the whole file
        return 1
    try:
        return header.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata are no reason to refuse the pixels
        return 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    turn = _TURNED.get(orientation)
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))
