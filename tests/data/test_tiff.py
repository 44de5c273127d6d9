import logging

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import OPEN_INFO
from tiff_bytes import DEFLATE, page, tiff_bytes

from segdla.data.images import as_rgb, image_size, read_image, read_mask, read_palette, read_stored_mask
from segdla.errors import UserError

RANDOM = np.random.default_rng(0)
RGB16 = RANDOM.integers(0, 65536, (6, 8, 3), np.uint16)
GREY = RANDOM.integers(0, 256, (6, 8), np.uint8)
OVERVIEW, MASK = {254: 1}, {254: 4}  # NewSubfileType


@pytest.fixture
def tiff(tmp_path):
    """``tiff(*pages)`` writes a TIFF and returns its path."""

    def write(*pages, order="<"):
        path = tmp_path / "a.tif"
        path.write_bytes(tiff_bytes(*pages, order=order))
        return path

    return write


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [1, DEFLATE])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_samples_are_the_values_of_masks_and_greys_of_images(tiff, bits, photometric, compression, order):
    top = 2**bits - 1
    ids = (np.arange(54, dtype=np.uint8) * 5).reshape(6, 9) & top
    path = tiff(page(ids, bits, photometric, compression), order=order)
    mask = read_stored_mask(path)
    np.testing.assert_array_equal(mask.samples, ids)
    looks = (ids if photometric else top - ids) * (255 // top)
    np.testing.assert_array_equal(mask.colors[ids], np.dstack([looks] * 3))
    np.testing.assert_array_equal(read_image(path), np.dstack([looks] * 3))
    with Image.open(path) as opened:
        np.testing.assert_array_equal(as_rgb(opened), read_image(path))


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [12, 16])
def test_the_upper_eight_bits_of_wide_grey_are_kept(tiff, bits, photometric):
    wide = RANDOM.integers(0, 2**bits, (6, 8), np.uint16)
    path = tiff(page(wide, bits, photometric))
    if bits == 12 and photometric == 0:
        with pytest.raises(UserError, match=r"a\.tif is a TIFF of a kind that can't be read.*1 band of 12 bits"):
            read_mask(path)
        return
    np.testing.assert_array_equal(read_mask(path), wide)
    upper = (wide >> (bits - 8)).astype(np.uint8)
    np.testing.assert_array_equal(read_image(path), np.dstack([upper if photometric else 255 - upper] * 3))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [1, DEFLATE])
@pytest.mark.parametrize("apart", [False, True])
def test_colours_of_sixteen_bits_together_and_apart(tiff, apart, compression, order):
    path = tiff(page(RGB16, 16, 2, compression, apart), order=order)
    np.testing.assert_array_equal(read_image(path), RGB16 >> 8)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(as_rgb(opened), RGB16 >> 8)
    with pytest.raises(UserError, match=r"a\.tif holds colours of 16 bits a sample"):
        read_mask(path)


@pytest.mark.parametrize("kind", [0, 2])  # of the fourth band: unspecified, alpha
def test_sixteen_bits_apart_with_a_fourth_band(tiff, kind):
    samples = np.dstack([RGB16, RGB16[..., 0]])
    path = tiff(page(samples, 16, 2, apart=True, tags={338: (kind,)}))
    np.testing.assert_array_equal(read_image(path), RGB16 >> 8)


@pytest.mark.parametrize(
    ("samples", "bits", "number_format", "words"),
    [
        (np.zeros((6, 8, 4), np.uint8), 8, 1, "8 bits a sample, in 4 bands, none of which is named red, green or blue"),
        (np.zeros((6, 8, 5), np.uint16), 16, 1, "16 bits a sample, in 5 bands, none of which"),
        (np.zeros((6, 8, 12), np.uint8), 8, 1, "8 bits a sample, in 12 bands, none of which"),
        (np.zeros((6, 8, 2), np.uint16), 16, 1, "16 bits a sample, in 2 bands; images are"),
        (np.zeros((6, 8), np.int16), 16, 2, "16 bits a sample, with a sign, in 1 band"),
        (np.zeros((6, 8), np.int64), 64, 2, "64 bits a sample, with a sign, in 1 band"),
        (np.zeros((6, 8), np.float32), 32, 3, "32 bits a sample, floating point, in 1 band"),
        (np.zeros((6, 8), np.float64), 64, 3, "64 bits a sample, floating point, in 1 band"),
        (np.zeros((6, 8, 3), np.float32), 32, 3, "32 bits a sample, floating point, in 3 bands"),
        (np.zeros((6, 8), np.uint32), 32, 1, "32 bits a sample, in 1 band"),
    ],
)
@pytest.mark.parametrize("read", [read_image, read_mask, image_size])
@pytest.mark.parametrize("apart", [False, True])
def test_kinds_that_are_not_read_are_described(tiff, read, samples, bits, number_format, words, apart, caplog):
    photometric = 2 if samples.shape[2:] == (3,) else 1
    extra = {338: (0,) * (samples.shape[2] - 1)} if photometric == 1 and samples.ndim == 3 else {}
    path = tiff(page(samples, bits, photometric, DEFLATE, apart, number_format, extra))
    with pytest.raises(UserError, match=rf"a\.tif has {words}.*; convert it, such as with gdal_translate"):
        read(path)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]  # they go to stderr


def test_a_whole_file_that_pillow_does_not_know_is_no_broken_one(tiff):
    path = tiff(page(GREY, compression=34887))  # LERC
    with pytest.raises(UserError, match=r"a\.tif is a TIFF of a kind .* compression 34887.* as a PNG"):
        read_image(path)
    path = tiff(page(np.dstack([GREY, GREY]), apart=True, tags={338: (2,)}))
    with pytest.raises(UserError, match=r"a kind that can't be read, .*2 bands of 8 bits, planes apart"):
        read_image(path)


def test_colours_coarser_than_brightness_are_not_taken_for_every_pixel_s(tiff):
    path = tiff(page(RGB16.astype(np.uint8), photometric=6, tags={530: (2, 2)}))
    with pytest.raises(UserError, match=r"a\.tif is a TIFF of a kind .*YCbCr that is not compressed"):
        read_image(path)


def test_overviews_and_masks_of_transparency_are_no_pictures(tiff):
    half, inner = page(GREY[::2, ::2], tags=OVERVIEW), page(GREY % 2, bits=1, photometric=4, tags=MASK)
    path = tiff(page(GREY), half, inner, page(GREY[::4, ::4] % 2, bits=1, photometric=4, tags={254: 5}))
    np.testing.assert_array_equal(read_mask(path), GREY)
    np.testing.assert_array_equal(read_image(path)[..., 0], GREY)
    assert image_size(path) == (6, 8)


@pytest.mark.parametrize("read", [read_image, read_mask, image_size])
def test_several_pictures_are_counted(tiff, read):
    path = tiff(page(GREY), page(GREY[::2, ::2], tags=OVERVIEW), page(GREY, tags={254: 2}), page(GREY))
    with pytest.raises(UserError, match="holds 3 pictures; save the one that is meant by itself"):
        read(path)


def test_a_thumbnail_before_the_picture_is_passed_over(tiff):
    path = tiff(page(GREY[::2, ::2], tags=OVERVIEW), page(GREY))
    np.testing.assert_array_equal(read_mask(path), GREY)
    assert image_size(path) == (6, 8)
    np.testing.assert_array_equal(read_mask(tiff(page(GREY, tags=OVERVIEW))), GREY)  # the only one is the picture


def test_a_file_without_pages_is_no_image(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0" + bytes(40))
    with pytest.raises(UserError, match=r"a\.tif is not an image"):
        read_image(tmp_path / "a.tif")


def test_a_chain_of_pages_that_leads_back_ends(tiff):
    path = tiff(page(GREY))
    content = bytearray(path.read_bytes())
    entries = int.from_bytes(content[8:10], "little")
    content[10 + 12 * entries : 14 + 12 * entries] = (8).to_bytes(4, "little")
    path.write_bytes(content)
    np.testing.assert_array_equal(read_mask(path), GREY)


@pytest.mark.parametrize("wide", [False, True])
def test_colour_maps_of_eight_bits_are_read_like_those_of_sixteen(tiff, wide):
    colors = RANDOM.integers(0, 256, (256, 3))
    colormap = (colors * 257 if wide else colors).T.ravel()
    path = tiff(page(GREY, photometric=3, tags={320: tuple(colormap.tolist())}))
    mask = read_stored_mask(path)
    assert mask.has_palette
    np.testing.assert_array_equal(mask.samples, GREY)
    np.testing.assert_array_equal(mask.colors, colors)
    np.testing.assert_array_equal(read_palette(path), colors)
    np.testing.assert_array_equal(read_image(path), colors[GREY])


@pytest.mark.skipif((b"II", 1, (1,), 1, (8, 8), (1,)) not in OPEN_INFO, reason="this version of Pillow can't read it")
def test_grey_with_premultiplied_alpha(tiff):
    path = tiff(page(np.dstack([GREY, np.full_like(GREY, 255)]), tags={338: (1,)}))
    np.testing.assert_array_equal(read_mask(path), GREY)
    np.testing.assert_array_equal(read_image(path), np.dstack([GREY] * 3))
