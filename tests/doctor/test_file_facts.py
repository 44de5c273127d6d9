import io

import numpy as np
import pytest
from PIL import Image
from support import photo, write
from tiff_bytes import page, tiff_bytes

from segdla.data.folder import folder
from segdla.data.scenes import Scenes
from segdla.doctor.check import examine_splits
from segdla.doctor.file_facts import look_at_files


@pytest.fixture
def pair(tmp_path):
    """``pair(name, image, size)`` writes an image, or its bytes, and a mask of the size; it returns the mask's path."""

    def make(name, image, size=(48, 64)):
        (tmp_path / "i").mkdir(exist_ok=True)
        if isinstance(image, bytes):
            (tmp_path / "i" / name).write_bytes(image)
        else:
            write(tmp_path / "i" / name, image)
        mask = tmp_path / "m" / f"{name.split('.')[0]}.png"
        write(mask, np.eye(*size, dtype=np.uint8))
        return mask

    return make


def findings(root, *kinds, **options):
    report = examine_splits({"train": folder(root, ("a", "b"), images="i", masks="m", **options)})
    return [finding for finding in report.findings if finding.kind in kinds]


def turned(orientation, size=(48, 64), format_="JPEG"):
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(photo(*size)).save(file, format_, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    ("orientation", "size", "number"), [(1, (48, 64), 0), (3, (48, 64), 1), (6, (48, 48), 1), (6, (64, 48), 0)]
)
def test_images_turned_over_masks_that_are_not(tmp_path, pair, orientation, size, number):
    """A mask of the size that a turned image has, and is not square, has been drawn on it as it looks."""
    pair("a.jpg", turned(orientation, size), size[::-1] if orientation == 6 else size)
    (*found,) = findings(tmp_path, "turned apart")
    assert len(found) == number and not any(finding.serious for finding in found)
    assert all(f"i/a.jpg has the EXIF orientation {orientation} and " in finding.message for finding in found)


def test_a_mask_turned_as_its_image_is_no_fault(tmp_path, pair):
    mask = pair("a.jpg", turned(3))
    exif = Image.Exif()
    exif[0x0112] = 3
    with Image.open(mask) as image:
        image.save(mask, exif=exif)
    assert findings(tmp_path, "turned apart") == []


def test_a_jpeg_that_was_cut_and_given_an_end(tmp_path, pair):
    content = turned(1)
    pair("whole.jpg", content)
    pair("half.jpg", content[:-200] + b"\xff\xd9")
    (finding,) = findings(tmp_path, "lost pixels", "unreadable image")
    assert finding.serious and finding.message.endswith(
        "i/half.jpg: Corrupt JPEG data: premature end of data segment; replace or remove it"
    )


@pytest.mark.parametrize(("highest", "white"), [(4000, 4095), (900, 1023), (16383, 16383), (200, 255), (40000, None)])
def test_images_that_do_not_use_their_bits(tmp_path, pair, highest, white):
    wide = np.zeros((48, 64), np.uint16)
    wide[::2] = highest - 100
    pair("dark.png", wide)
    wide[::3] = highest
    pair("a.png", wide)
    pair("b.png", photo(48, 64))
    found = findings(tmp_path, "unused bits")
    if white is None:
        assert found == []
        return
    assert f"2 images of 16 bits a sample hold none above {highest}, such as {tmp_path}/i/a.png" in found[0].message
    assert found[0].message.endswith(f"set data.sample_range: [0, {white}]") and found[0].serious
    assert findings(tmp_path, "unused bits", sample_range=(0, white)) == []


def test_kinds_that_are_not_known_are_left_out(tmp_path, pair):
    pair("a.tif", tiff_bytes(page(np.full((48, 64, 3), 9, np.uint16), 16, 2, apart=True)))
    assert findings(tmp_path, "unused bits", "unreadable image") == []
    assert look_at_files("train", Scenes("train", 1, (32, 48)), 0) is None


def test_palettes_that_differ_are_a_finding_if_ids_are_read(tmp_path, pair):
    palettes = [0, 0, 0, 255, 0, 0, 0, 255, 0], [0, 0, 0, 0, 255, 0, 255, 0, 0]
    for number, palette in enumerate(palettes):
        path = pair(f"{number}.png", photo(48, 64, number))
        with Image.open(path) as mask:
            mask.putpalette(palette)
            mask.save(path)
    (finding,) = findings(tmp_path, "ids of several meanings")
    assert finding.serious and "m/0.png, but (0, 255, 0) in" in finding.message
    colors = {"colors": ((0, 0, 0), (255, 0, 0)), "ignore_colors": ((0, 255, 0),)}
    assert findings(tmp_path, "ids of several meanings", "unknown labels", **colors) == []
