import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from segdla.data.image_header import lossy_compression, orientation, read_orientation
from segdla.data.images import image_size, read_image, read_mask
from segdla.errors import UserError

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
IDS = np.arange(48, dtype=np.uint8).reshape(6, 8) % 4


@pytest.mark.parametrize("read", [read_image, read_mask, image_size])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\0\0\0\x20ftypheic\0\0\0\0mif1heic", "is a HEIC photo, which can't be read; convert it to PNG or JPEG"),
        (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1", "is an AVIF picture"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2", "is a video, which can't be read; save its frames as images"),
        (b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ", "is a JPEG 2000 picture"),
        (b"\x93NUMPY\x01\0v\0{'descr': '|u1'", r"is a NumPy array, which can't be read; write it as a PNG"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a pointer of Git LFS.*git lfs pull"),
        (b"<!DOCTYPE html><title>404</title>", "is a text, perhaps of a web page that answered a download"),
        (bytes(128) + b"DICM", "is a DICOM file"),
    ],
)
def test_other_kinds_of_file_are_named_with_a_remedy(tmp_path, read, content, words):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.png {words}"):
        read(tmp_path / "a.png")


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


LONG = zlib.compress(bytes(3_000_000))
LARGE = {
    "text": chunk(b"tEXt", b"key\0" + b"x" * 3_000_000),
    "compressed text": chunk(b"zTXt", b"key\0\0" + LONG),
    "international text": chunk(b"iTXt", b"key\0\1\0\0\0" + LONG),
    "profile": chunk(b"iCCP", b"name\0\0" + LONG),
}


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.parametrize("with_palette", [False, True])
def test_a_png_with_large_texts_is_read(tmp_path, kind, is_last, with_palette):
    file = io.BytesIO()
    image = Image.fromarray(IDS, mode="P" if with_palette else "L")
    if with_palette:
        image.putpalette([0, 0, 0, 9, 9, 9, 99, 0, 0, 0, 0, 200])
    image.save(file, "PNG")
    content = file.getvalue()
    place = content.index(b"IEND") - 4 if is_last else content.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(content[:place] + LARGE[kind] + content[place:])
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), IDS)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.array(image.convert("RGB")))
    assert image_size(tmp_path / "a.png") == (6, 8)


def exif(kind, count, value):
    """Return EXIF data with an orientation of a TIFF type (2 is text, 3 a number of 16 bits, 7 bytes)."""
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI", 0x0112, kind, count) + value + bytes(4)


@pytest.mark.parametrize("data", [exif(2, 2, b"6\0\0\0"), exif(7, 2, b"\6\0\0\0"), exif(3, 1, b"\x09\0\0\0"), b"Exif"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_an_orientation_that_is_none_turns_nothing(tmp_path, suffix, data):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(RGB).save(path, exif=data)
    assert read_image(path).shape == read_mask(path).shape == RGB.shape
    assert image_size(path) == (6, 8)
    Image.fromarray(RGB).save(path, exif=exif(3, 1, b"\x06\0\0\0"))
    assert image_size(path) == (8, 6)


def test_an_orientation_in_memory_may_be_of_any_type():
    image = Image.fromarray(RGB)
    for value in ("6", 6.0, 99, (6,), None):
        image.getexif()[0x0112] = value
        assert orientation(image) == 1


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".gif"])
def test_a_large_picture_is_read_without_a_library_s_warning(tmp_path, monkeypatch, suffix):
    """Pillow warns of more than this many pixels and refuses twice as many; in tests, warnings are errors."""
    path = tmp_path / f"a{suffix}"
    Image.fromarray(RGB).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    assert read_image(path).shape == RGB.shape and image_size(path) == (6, 8)
    read_mask(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(UserError, match=r"is too large to decode \(it has more than 40 pixels\); cut it into tiles"):
        read_image(path)


def test_damaged_metadata_of_a_readable_picture_are_no_warning(tmp_path):
    damaged = exif(3, 1, b"\x01\0\0\0")[:-6]
    Image.fromarray(RGB).save(tmp_path / "a.jpg", exif=damaged)
    assert read_image(tmp_path / "a.jpg").shape == RGB.shape


def test_a_nul_byte_in_a_path(tmp_path):
    for read in (read_image, read_mask, image_size):
        with pytest.raises(UserError, match=r"cannot read '.*a\\x00b\.png': embedded null byte"):
            read(tmp_path / "a\0b.png")


@pytest.mark.parametrize(
    ("format_", "options", "kind"),
    [
        ("JPEG", {}, "JPEG"),
        ("WEBP", {}, "lossy WebP"),
        ("WEBP", {"exif": b"Exif\0\0II*\0"}, "lossy WebP"),
        ("TIFF", {"compression": "jpeg"}, "TIFF with JPEG compression"),
        ("PNG", {}, ""),
        ("WEBP", {"lossless": True}, ""),
        ("WEBP", {"lossless": True, "exif": b"Exif\0\0II*\0"}, ""),
        ("TIFF", {"compression": "tiff_lzw"}, ""),
        ("BMP", {}, ""),
        ("GIF", {}, ""),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_lossy_compression_is_told_by_the_content_and_not_by_the_name(tmp_path, suffix, format_, options, kind):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(RGB).save(path, format_, **options)
    assert lossy_compression(path) == kind


def test_orientations_are_read(tmp_path):
    exif = Image.Exif()
    for value in (1, 3, 6):
        exif[0x0112] = value
        for suffix in (".jpg", ".tif", ".png"):
            Image.fromarray(RGB).save(tmp_path / f"a{suffix}", exif=exif)
            assert read_orientation(tmp_path / f"a{suffix}") == value
