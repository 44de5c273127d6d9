import numpy as np
import pytest
from PIL import Image

from segdla.data.images import read_mask
from segdla.data.labels import ColorEncoding, IdEncoding, IdOrColorEncoding
from segdla.errors import UserError


def test_ids_through_a_table(tmp_path):
    encode = IdEncoding({7: 0, 11: 1, 0: 255})
    np.testing.assert_array_equal(encode(np.array([[7, 11, 0]], np.uint8), tmp_path), [[0, 1, 255]])


def test_ids_of_sixteen_bits(tmp_path):
    encode = IdEncoding({7: 0, 26001: 1, 65535: 255})
    np.testing.assert_array_equal(encode(np.array([[7, 26001, 65535]], np.uint16), tmp_path), [[0, 1, 255]])
    with pytest.raises(UserError, match=r"label id 26000 \(1 pixels\)"):
        encode(np.array([[26000]], np.uint16), tmp_path)


def test_unknown_ids_are_counted_and_named(tmp_path):
    mask = np.array([[0, 1, 9, 9], [9, 0, 33, 0]], np.uint8)
    with pytest.raises(UserError, match=r"m\.png: label id 9 \(3 pixels\), 33 \(1 pixels\) .* 0\.\.1, 255"):
        IdEncoding({0: 0, 1: 1, 255: 255})(mask, tmp_path / "m.png")


def test_many_unknown_ids_are_not_all_named(tmp_path):
    with pytest.raises(UserError, match=r"4 \(1 pixels\) and 5 more is not"):
        IdEncoding({255: 255})(np.arange(10, dtype=np.uint8)[None], tmp_path / "m.png")


def test_jpeg_masks_are_told_what_they_are(tmp_path):
    with pytest.raises(UserError, match="JPEG alters values"):
        IdEncoding({0: 0})(np.array([[3]], np.uint8), tmp_path / "m.jpg")


def test_colours_where_ids_are_expected(tmp_path):
    with pytest.raises(UserError, match=r"single-channel class ids; this one is 3-channel, 8-bit; .*data\.colors"):
        IdEncoding({0: 0})(np.zeros((2, 2, 3), np.uint8), tmp_path)


def test_colours_through_a_table(tmp_path):
    path = tmp_path / "m.png"
    Image.fromarray(np.array([[[128, 0, 64], [1, 2, 3], [0, 0, 255]]], np.uint8)).save(path)
    encode = ColorEncoding({(128, 0, 64): 0, (0, 0, 255): 1})
    np.testing.assert_array_equal(encode(read_mask(path), path), [[0, 255, 1]])


def test_unlisted_colours_where_all_must_be_listed(tmp_path):
    mask = np.array([[[9, 8, 7], [1, 2, 3], [9, 8, 7]]], np.uint8)
    with pytest.raises(UserError, match=r"m\.png: colour \[9, 8, 7\] \(2 pixels\), \[1, 2, 3\] \(1 pixels\) is none"):
        ColorEncoding({(0, 0, 0): 0}, strict=True)(mask, tmp_path / "m.png")


def test_ids_where_colours_are_expected(tmp_path):
    with pytest.raises(UserError, match="RGB colours here; this one is single-channel, 16-bit"):
        ColorEncoding({(0, 0, 0): 0})(np.zeros((2, 2), np.uint16), tmp_path)


def test_a_set_may_hold_both(tmp_path):
    encode = IdOrColorEncoding(IdEncoding({0: 0, 1: 1}), ColorEncoding({(5, 5, 5): 0, (9, 0, 0): 1}))
    np.testing.assert_array_equal(encode(np.array([[1, 0]], np.uint8), tmp_path), [[1, 0]])
    np.testing.assert_array_equal(encode(np.array([[[9, 0, 0], [5, 5, 5]]], np.uint8), tmp_path), [[1, 0]])


def test_encodings_of_one_key_encode_alike():
    assert IdEncoding({0: 0, 1: 1}).key == IdEncoding({1: 1, 0: 0}).key != IdEncoding({0: 1, 1: 0}).key
    assert ColorEncoding({(0, 0, 0): 0}).key != ColorEncoding({(0, 0, 0): 0}, strict=True).key
