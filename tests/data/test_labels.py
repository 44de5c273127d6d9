import numpy as np
import pytest
from PIL import Image

from segdla.data.images import read_stored_mask
from segdla.data.labels import ColorEncoding, IdEncoding, IdOrColorEncoding
from segdla.data.stored_mask import StoredMask
from segdla.errors import UserError


def stored(samples, dtype=np.uint8, palette=None, bits=8, lossy=""):
    """A mask as a file stores it: of RGB, of a palette, or of grey of so many bits."""
    samples = np.array(samples, dtype)
    if palette is not None:
        return StoredMask(samples, np.array(palette, np.uint8), has_palette=True)
    greys = np.linspace(0, 255, 2 ** min(bits, 8)).astype(np.uint8)
    return StoredMask(samples, np.stack([greys] * 3, 1), lossy=lossy)


def test_ids_through_a_table(tmp_path):
    encode = IdEncoding({7: 0, 11: 1, 0: 255})
    np.testing.assert_array_equal(encode(stored([[7, 11, 0]]), tmp_path), [[0, 1, 255]])


def test_ids_of_sixteen_bits(tmp_path):
    encode = IdEncoding({7: 0, 26001: 1, 65535: 255})
    np.testing.assert_array_equal(encode(stored([[7, 26001, 65535]], np.uint16), tmp_path), [[0, 1, 255]])
    with pytest.raises(UserError, match=r"label id 26000 \(1 pixels\)"):
        encode(stored([[26000]], np.uint16), tmp_path)


def test_unknown_ids_are_counted_and_named(tmp_path):
    mask = stored([[0, 1, 9, 9], [9, 0, 33, 0]])
    with pytest.raises(UserError, match=r"m\.png: label id 9 \(3 pixels\), 33 \(1 pixels\) .* 0\.\.1, 255"):
        IdEncoding({0: 0, 1: 1, 255: 255})(mask, tmp_path / "m.png")


def test_at_most_five_unknown_ids_are_named(tmp_path):
    with pytest.raises(UserError, match=r"4 \(1 pixels\) and 5 more is not"):
        IdEncoding({255: 255})(stored([range(10)]), tmp_path / "m.png")


def test_unknown_values_in_a_lossy_file_hint_at_its_losses_whatever_its_name(tmp_path):
    encode = IdOrColorEncoding(IdEncoding({0: 0}), ColorEncoding({(9, 9, 9): 0}, strict=True))
    for mask in (stored([[3]], lossy="JPEG"), stored([[[3, 0, 0]]], lossy="JPEG")):
        with pytest.raises(UserError, match="; JPEG alters values: store masks as PNG"):
            encode(mask, tmp_path / "m.png")
    with pytest.raises(UserError) as error:
        IdEncoding({0: 0})(stored([[3]]), tmp_path / "m.jpg")
    assert "JPEG alters" not in str(error.value)


def test_colours_in_place_of_ids(tmp_path):
    with pytest.raises(UserError, match=r"single-channel class ids; this one is 3-channel, 8-bit; .*data\.colors"):
        IdEncoding({0: 0})(stored(np.zeros((2, 2, 3))), tmp_path)


def test_colours_through_a_table(tmp_path):
    path = tmp_path / "m.png"
    Image.fromarray(np.array([[[128, 0, 64], [1, 2, 3], [0, 0, 255]]], np.uint8)).save(path)
    encode = ColorEncoding({(128, 0, 64): 0, (0, 0, 255): 1})
    np.testing.assert_array_equal(encode(read_stored_mask(path), path), [[0, 255, 1]])


def test_unlisted_colours_if_all_must_be_listed(tmp_path):
    mask = stored([[[9, 8, 7], [1, 2, 3], [9, 8, 7]]])
    with pytest.raises(UserError, match=r"m\.png: colour \[9, 8, 7\] \(2 pixels\), \[1, 2, 3\] \(1 pixels\) is none"):
        ColorEncoding({(0, 0, 0): 0}, strict=True)(mask, tmp_path / "m.png")


def test_ids_in_place_of_colours(tmp_path):
    with pytest.raises(UserError, match="RGB colours here; this one is single-channel, 16-bit"):
        ColorEncoding({(0, 0, 0): 0})(stored([[0]], np.uint16), tmp_path)


def test_a_data_set_may_hold_both(tmp_path):
    encode = IdOrColorEncoding(IdEncoding({0: 0, 1: 1}), ColorEncoding({(5, 5, 5): 0, (9, 0, 0): 1}, strict=True))
    np.testing.assert_array_equal(encode(stored([[1, 0]]), tmp_path), [[1, 0]])
    np.testing.assert_array_equal(encode(stored([[[9, 0, 0], [5, 5, 5]]]), tmp_path), [[1, 0]])


BLACK, RED, GREEN, WHITE, PINK, STRANGE = (0, 0, 0), (255, 0, 0), (0, 255, 0), (255,) * 3, (224, 224, 192), (1, 2, 3)


def either(colors, ids=(0, 1, 2), ignored_colors=()):
    """Ids and colours of the classes 0, 1, ...; the id 255 is ignored, and so are colours."""
    by_id = {label_id: label_id for label_id in ids} | {255: 255}
    by_color = {color: i for i, color in enumerate(colors)} | dict.fromkeys(ignored_colors, 255)
    return IdOrColorEncoding(IdEncoding(by_id), ColorEncoding(by_color, strict=True))


@pytest.mark.parametrize(
    ("palette", "samples", "expected"),
    [
        ([GREEN, BLACK, RED], [0, 1, 2], [2, 0, 1]),  # in another order
        ([BLACK, RED, GREEN], [0, 1, 2], [0, 1, 2]),
        ([RED], [0, 0], [1, 1]),  # what a program leaves of the palette
        ([WHITE, RED], [0, 1], [255, 1]),  # an ignored colour
        ([BLACK, RED, GREEN] + [BLACK] * 252 + [PINK], [0, 1, 2, 255], [0, 1, 2, 255]),  # VOC: 255 is a border
        ([STRANGE, PINK, (7, 7, 7)], [0, 1, 2], [0, 1, 2]),  # its colours mean nothing
        ([BLACK, PINK, STRANGE], [0, 1], [0, 1]),  # those that mean something agree
    ],
)
def test_a_palette_s_colours_are_looked_up_or_mean_nothing(tmp_path, palette, samples, expected):
    encode = either((BLACK, RED, GREEN), ignored_colors=(WHITE,))
    np.testing.assert_array_equal(encode(stored([samples], palette=palette), tmp_path), [expected])


@pytest.mark.parametrize(
    ("palette", "samples", "words"),
    [
        ([GREEN, STRANGE, RED], [0, 1, 2], r"colour \[1, 2, 3\] \(1 pixels\) of its palette is none of the classes'"),
        ([STRANGE, RED], [0, 1], r"colour \[1, 2, 3\] .*in grey"),  # 1 is red by chance: it may be of any order
        ([STRANGE], [0], r"colour \[1, 2, 3\]"),
        ([BLACK, GREEN, RED, STRANGE], [0, 3], r"colour \[1, 2, 3\]"),  # 3 is no id, and 1 is not green
        ([BLACK, RED], [0, 5], r"colour none \(1 pixels\)"),  # a damaged file
    ],
)
def test_a_palette_with_unknown_colours_is_no_list_of_ids(tmp_path, palette, samples, words):
    with pytest.raises(UserError, match=rf"m\.png: {words}"):
        either((BLACK, RED, GREEN))(stored([samples], palette=palette), tmp_path / "m.png")


@pytest.mark.parametrize(
    ("colors", "samples", "bits", "expected"),
    [
        ((BLACK, WHITE), [0, 255], 8, [0, 1]),  # white is a class, not the ignored id
        ((WHITE, BLACK), [0, 255], 8, [1, 0]),
        ((BLACK, WHITE), [0, 1], 1, [0, 1]),  # of one bit, 1 is white
        ((WHITE, BLACK), [0, 1], 1, [1, 0]),
        ((BLACK, (85,) * 3, (170,) * 3, WHITE), [0, 1, 2, 3], 2, [0, 1, 2, 3]),
        ((WHITE, (170,) * 3, (85,) * 3, BLACK), [0, 1, 2, 3], 2, [3, 2, 1, 0]),
        ((BLACK, RED, GREEN), [0, 1, 2], 8, [0, 1, 2]),  # ids, whose greys are no colours
        ((BLACK, RED, GREEN), [0, 1, 255], 8, [0, 1, 255]),
        ((BLACK, RED), [0, 1], 1, [0, 1]),
        (((0, 0, 0), (1, 1, 1)), [0, 1, 255], 8, [0, 1, 255]),  # ids and greys alike
        ((BLACK, WHITE), [0, 255], 16, [0, 1]),
    ],
)
def test_greys_are_colours_if_all_are_of_classes_and_else_ids(tmp_path, colors, samples, bits, expected):
    mask = stored([samples], np.uint16 if bits == 16 else np.uint8, bits=bits)
    np.testing.assert_array_equal(either(colors, range(len(colors)))(mask, tmp_path), [expected])


@pytest.mark.parametrize(
    ("colors", "samples", "words"),
    [
        (
            (BLACK, WHITE),
            [0, 1, 255],
            r"grey 0 \(1 pixels\), 255 \(1 pixels\) is a class's colour .*1 \(1 pixels\) only a",
        ),
        ((WHITE, BLACK), [0, 1], r"grey 0 \(1 pixels\) is a class's colour"),
        (
            (BLACK, WHITE),
            [0, 7],
            r"grey 7 \(1 pixels\) is neither a class's colour \(data\.colors\) nor a label id \(0\.\.1, 255",
        ),
    ],
)
def test_greys_that_may_be_either_are_answered(tmp_path, colors, samples, words):
    with pytest.raises(UserError, match=rf"m\.png: {words}"):
        either(colors, (0, 1))(stored([samples]), tmp_path / "m.png")


def test_colours_of_a_published_set_are_looked_up_in_palettes_and_greys(tmp_path):
    encode = ColorEncoding({BLACK: 0, RED: 1, (128,) * 3: 2})
    np.testing.assert_array_equal(encode(stored([[0, 1, 2]], palette=[RED, STRANGE, BLACK]), tmp_path), [[1, 255, 0]])
    np.testing.assert_array_equal(encode(stored([[128, 7]]), tmp_path), [[2, 255]])
    with pytest.raises(UserError, match="RGB colours here; this one is single-channel, 8-bit"):
        encode(stored([[1, 2]]), tmp_path)  # perhaps ids


def test_encodings_that_differ_have_different_keys():
    assert IdEncoding({0: 0, 1: 1}).key == IdEncoding({1: 1, 0: 0}).key != IdEncoding({0: 1, 1: 0}).key
    assert ColorEncoding({(0, 0, 0): 0}).key != ColorEncoding({(0, 0, 0): 0}, strict=True).key
