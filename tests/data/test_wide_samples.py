import cv2
import numpy as np
import pytest
from PIL import Image
from tiff_bytes import DEFLATE, page, tiff_bytes

from segdla.data.images import as_rgb, read_image
from segdla.data.wide_samples import highest_wide_sample, to_bytes
from segdla.errors import UserError

TWELVE = np.random.default_rng(0).integers(0, 4096, (6, 8, 3), np.uint16)
RANGE = (0, 4095)


def test_a_range_is_256_equal_parts_and_what_lies_beyond_is_black_or_white():
    samples = np.array([0, 999, 1000, 1003, 1004, 2023, 2024, 65535], np.uint16)
    assert to_bytes(samples, (1000, 2023)).tolist() == [0, 0, 0, 0, 1, 255, 255, 255]  # four samples a part
    everything = np.arange(1 << 16, dtype=np.uint16)
    np.testing.assert_array_equal(to_bytes(everything, (0, 65535)), everything >> 8)
    assert to_bytes(everything[:2], (0, 1)).tolist() == [0, 128]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_range_is_of_wide_samples_alone(tmp_path, suffix, channels):
    wide = TWELVE[..., :channels]
    cv2.imwrite(str(tmp_path / f"a{suffix}"), wide[..., ::-1])
    expected = np.broadcast_to(wide >> 4, TWELVE.shape)
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}", RANGE), expected)
    np.testing.assert_array_equal(as_rgb(tmp_path / f"a{suffix}", RANGE), expected)
    assert highest_wide_sample(tmp_path / f"a{suffix}") == wide.max()
    eight = (wide >> 4).astype(np.uint8)
    cv2.imwrite(str(tmp_path / f"a{suffix}"), eight[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}", RANGE), expected)
    assert highest_wide_sample(tmp_path / f"a{suffix}") is None


@pytest.mark.parametrize(("order", "photometric"), [("<", 0), ("<", 1), (">", 1)])
def test_grey_tiffs_and_their_pil_images(tmp_path, order, photometric):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_bytes(page(TWELVE[..., 0], 16, photometric, DEFLATE), order=order))
    looks = TWELVE[..., 0] >> 4 if photometric else 255 - (TWELVE[..., 0] >> 4)
    np.testing.assert_array_equal(read_image(path, RANGE), np.dstack([looks] * 3))
    with Image.open(path) as opened:
        np.testing.assert_array_equal(as_rgb(opened, RANGE), np.dstack([looks] * 3))


def test_a_turned_image_with_alpha(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([TWELVE[..., ::-1], TWELVE[..., 0]]))
    content = (tmp_path / "a.png").read_bytes()
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / "b.png", exif=exif)
    other = (tmp_path / "b.png").read_bytes()
    start = other.index(b"eXIf") - 4
    length = int.from_bytes(other[start : start + 4], "big") + 12
    (tmp_path / "a.png").write_bytes(content[:33] + other[start : start + length] + content[33:])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", RANGE), TWELVE[::-1, ::-1] >> 4)


def test_samples_that_can_not_be_read_whole_are_answered(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_bytes(page(TWELVE, 16, 2, apart=True)))
    for read in (lambda p: read_image(p, RANGE), highest_wide_sample):
        with pytest.raises(UserError, match=r"a\.tif: its samples of 16 bits can't be read whole.*; save it as a PNG"):
            read(path)
    path.write_bytes(tiff_bytes(page(TWELVE, 16, 2)))
    with Image.open(path) as opened, pytest.raises(UserError, match="give the path of the file instead"):
        as_rgb(opened, RANGE)
    with pytest.raises(UserError, match="No such file"):
        highest_wide_sample(tmp_path / "none.tif")
