import cv2
import numpy as np
import pytest
from PIL import Image

from segdla.data.dataset import (
    ColorEncoding,
    IdEncoding,
    PairSource,
    list_images,
    pair_by_stem,
    read_image,
    read_list,
    read_mask,
)
from segdla.data.scenes import Scenes
from segdla.errors import UserError


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def test_images_are_read_as_rgb(tmp_path):
    red = np.zeros((4, 5, 3), np.uint8)
    red[..., 0] = 200
    np.testing.assert_array_equal(read_image(save(tmp_path / "ré d.png", red)), red)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_unreadable_image_is_named(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.png"):
        read_image(path)


def test_missing_image_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.png: No such file"):
        read_image(tmp_path / "none.png")


def test_palette_masks_give_their_indices(tmp_path):
    ids = np.array([[0, 1], [2, 1]], np.uint8)
    image = Image.fromarray(ids, mode="P")
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0])
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), ids)


def test_one_bit_masks_give_zeros_and_ones(tmp_path):
    ids = np.array([[0, 1], [1, 1]], bool)
    Image.fromarray(ids).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), ids.astype(np.uint8))


def test_ids_through_a_table(tmp_path):
    encode = IdEncoding({7: 0, 11: 1, 0: 255})
    np.testing.assert_array_equal(encode(np.array([[7, 11, 0]], np.uint8), tmp_path), [[0, 1, 255]])


def test_unknown_ids_are_counted_and_named(tmp_path):
    mask = np.array([[0, 1, 9, 9], [9, 0, 33, 0]], np.uint8)
    with pytest.raises(UserError, match=r"m\.png: label id 9 \(3 pixels\), 33 \(1 pixels\) .* 0\.\.1, 255"):
        IdEncoding({0: 0, 1: 1, 255: 255})(mask, tmp_path / "m.png")


@pytest.mark.parametrize("mask", [np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint16)])
def test_masks_that_are_no_ids(tmp_path, mask):
    with pytest.raises(UserError, match="single-channel, 8-bit class ids"):
        IdEncoding({0: 0})(mask, tmp_path)


def test_colours_through_a_table(tmp_path):
    path = save(tmp_path / "m.png", np.array([[[128, 0, 64], [1, 2, 3], [0, 0, 255]]], np.uint8))
    encode = ColorEncoding({(128, 0, 64): 0, (0, 0, 255): 1})
    np.testing.assert_array_equal(encode(read_mask(path), path), [[0, 255, 1]])


def test_sizes_must_agree(tmp_path):
    image = save(tmp_path / "i.png", np.zeros((4, 6, 3), np.uint8))
    mask = save(tmp_path / "m.png", np.zeros((4, 5), np.uint8))
    with pytest.raises(UserError, match=r"i\.png is 4x6 .*m\.png is 4x5"):
        PairSource([(image, mask)], Scenes.classes, IdEncoding({0: 0})).read(0)


def test_pairs_by_stem_whatever_the_extension(tmp_path):
    images = [tmp_path / "a.jpg", tmp_path / "b.png"]
    masks = [tmp_path / "b_L.png", tmp_path / "a_L.tif", tmp_path / "other.png"]
    assert pair_by_stem(images, masks, suffix="_L") == [(images[0], masks[1]), (images[1], masks[0])]


def test_an_image_without_mask_and_one_with_two(tmp_path):
    with pytest.raises(UserError, match=r"no mask for .*b\.png"):
        pair_by_stem([tmp_path / "b.png"], [tmp_path / "a.png"])
    with pytest.raises(UserError, match=r"2 masks for .*a\.jpg"):
        pair_by_stem([tmp_path / "a.jpg"], [tmp_path / "a.png", tmp_path / "a.bmp"])


def test_folders_without_images(tmp_path):
    with pytest.raises(UserError, match="no directory"):
        list_images(tmp_path / "none")
    with pytest.raises(UserError, match="no images in"):
        list_images(tmp_path)


def test_lists(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("a.png b.png;\n\nc.png d.png\n", encoding="utf-8")
    assert read_list(path) == [("a.png", "b.png"), ("c.png", "d.png")]
    path.write_text("with space.png\tb.png\n", encoding="utf-8")
    assert read_list(path) == [("with space.png", "b.png")]
    path.write_text("a.png b.png\nlonely.png\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"line 2: 'lonely.png'"):
        read_list(path)
    path.write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="names no images"):
        read_list(path)


def test_exif_orientation_is_applied(tmp_path):
    image = Image.fromarray(np.zeros((10, 20, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (20, 10, 3)
    assert cv2.imread(str(tmp_path / "turned.jpg")).shape == (20, 10, 3)
