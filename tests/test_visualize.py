import numpy as np
import pytest
from matplotlib.figure import Figure

from segdla.data.labels import IGNORE_INDEX
from segdla.visualize import (
    beside,
    colorize,
    contact_sheet,
    curves,
    draw_curves,
    legend,
    overlay,
    sample_grid,
    tint,
    tinted_classes,
    with_legend,
)

PALETTE = ((10, 20, 30), (200, 0, 0))
IDS = np.array([[0, 1, 255]], np.uint8)


def test_colours_by_id_and_black_for_others():
    assert colorize(IDS, PALETTE).tolist() == [[[10, 20, 30], [200, 0, 0], [0, 0, 0]]]


def test_overlay_is_the_mean():
    image = np.full((1, 3, 3), 100, np.uint8)
    np.testing.assert_array_equal(overlay(image, colorize(IDS, PALETTE))[0, 1], [150, 50, 50])


@pytest.mark.parametrize(
    ("name", "is_neutral"),
    [
        ("background", True), ("_background_", True), ("-Background ", True), ("BG", True), ("void", True),
        ("unlabelled", True), ("unlabeled", True), ("background car", False), ("road", False), ("", False),
    ],
)  # fmt: skip
def test_the_background_is_not_tinted(name, is_neutral):
    image = np.full((1, 3, 3), 100, np.uint8)
    picture = tint(image, np.array([[0, 1, 255]], np.uint8), (name, "car"), ((255, 0, 0), PALETTE[1]))
    assert picture.tolist() == [[[100] * 3 if is_neutral else [178, 50, 50], [150, 50, 50], [100] * 3]]
    assert image.min() == 100


def test_the_legend_of_an_overlay_leaves_out_what_is_not_tinted():
    assert tinted_classes(("bg", "car"), PALETTE) == (["car"], [PALETTE[1]])
    assert tinted_classes(("bg", "void"), PALETTE) == (["bg", "void"], list(PALETTE))


def test_legend_shows_every_colour():
    picture = legend(("road", "a class with a long name"), PALETTE)
    for color in PALETTE:
        assert (picture == color).all(-1).sum() > 100


def test_names_are_drawn_in_their_letters():
    names = "ö", "ж", "λ", "?"
    words = legend(names, PALETTE[:1] * 4)[4:-4, 44:]
    assert len({row.tobytes() for row in np.split(words, len(names))}) == len(names)


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("a\udcff", r"a\udcff"), ("a\nb", r"a\nb"), ("\0", r"\x00"), ("\a", r"\x07"), ("\x1b[31m", r"\x1b[31m"),
        ("\u202eab", r"\u202eab"), ("a" * 999, "a" * 51 + "..." + "a" * 26), ("a\u2028b", r"a\u2028b"),
    ],
)  # fmt: skip
def test_names_that_are_no_text_are_drawn_escaped_and_shortened(name, drawn):
    np.testing.assert_array_equal(legend((name,), PALETTE[:1]), legend((drawn,), PALETTE[:1]))


def test_names_in_letters_that_no_font_has_differ():
    names = "\U000f0001", "\U000f0002"  # for private use
    one, two = (legend((name,), PALETTE[:1]) for name in names)
    assert one.shape != two.shape or (one != two).any()


def test_of_long_names_of_pictures_the_end_is_drawn():
    image, target = np.zeros((10, 20, 3), np.uint8), np.zeros((10, 20), np.uint8)
    sheets = [contact_sheet([("z" * 60 + end, image, target)], ("x",), PALETTE[:1]) for end in ("a", "b")]
    assert (sheets[0][:18, 260:] != sheets[1][:18, 260:]).any()


def test_beside_pads_with_white():
    picture = beside(np.zeros((4, 2, 3), np.uint8), np.zeros((1, 3, 3), np.uint8))
    assert picture.shape == (4, 5, 3)
    assert (picture[1:, 2:] == 255).all()


def test_grid_of_a_strip():
    ids = np.zeros((1, 2000), np.uint8)
    grid = sample_grid([(np.zeros((1, 2000, 3), np.uint8), ids, ids)], ("a",), PALETTE[:1], IGNORE_INDEX)
    assert grid.shape[1] > 3 * 512


def test_grid_holds_image_truth_and_prediction():
    image = np.full((30, 40, 3), 77, np.uint8)
    ids = np.zeros((30, 40), np.uint8)
    grid = sample_grid([(image, ids, ids + 1), (image[:20], ids[:20], ids[:20])], ("a", "b"), PALETTE, IGNORE_INDEX)
    assert grid[0, 0].tolist() == [77, 77, 77]
    assert grid[0, 40].tolist() == [10, 20, 30]
    assert grid[0, 80].tolist() == [200, 0, 0]


def test_a_prediction_is_dark_where_the_truth_is_ignored():
    image, ids = np.zeros((30, 40, 3), np.uint8), np.ones((30, 40), np.uint8)
    target = ids.copy()
    target[15:] = 7
    grid = sample_grid([(image, target, ids)], ("a", "b"), PALETTE, ignore_index=7)
    assert grid[0, 80].tolist() == [200, 0, 0] and grid[20, 80].tolist() == [66, 0, 0]


def test_contact_sheets_do_not_tint_the_background():
    image, target = np.full((10, 20, 3), 100, np.uint8), np.zeros((10, 20), np.uint8)
    sheet = contact_sheet([("a", image, target)], ("background", "y"), PALETTE, width=40)
    assert (sheet[20:36, :40] == 100).all() and not (sheet[:, 44:] == PALETTE[0]).all(-1).any()


def test_a_legend_inside_where_there_is_room():
    picture = np.zeros((480, 640, 3), np.uint8)
    copy = with_legend(picture, ("a", "b"), PALETTE)
    assert copy.shape == picture.shape and (copy[:400] == 0).all() and (copy[-4:, :4] > 100).all()
    assert (picture == 0).all()
    for small in (picture[:100], picture[:, :60]):
        assert with_legend(small, ("a", "b"), PALETTE) is small


def test_curves_are_drawn_for_what_was_recorded():
    records = [{"step": s, "loss": 1 / s, "lr": 0.1} for s in range(1, 5)] + [{"step": 4, "mean_iou": 0.3}]
    picture = curves(records)
    assert picture.dtype == np.uint8 and picture.shape == (374, 1320, 3)
    for part, empty in zip(np.split(picture, 3, axis=1), np.split(curves([]), 3, axis=1), strict=True):
        blue = (31, 119, 180)  # matplotlib's tab:blue
        assert (part == blue).all(-1).any() and not (empty == blue).all(-1).any()


def test_curves_show_miou_in_percent_and_few_points():
    figure = Figure()
    draw_curves(figure, [{"step": step, "mean_iou": 0.3 if step else None} for step in range(5000)])
    axis = figure.axes[2]
    unlabelled, *values = axis.lines[0].get_ydata()
    assert axis.get_title() == "mIoU %" and np.isnan(unlabelled) and set(values) == {30.0} and len(values) < 700


def test_contact_sheets_show_ignored_pixels_as_they_are():
    image = np.full((10, 20, 3), 100, np.uint8)
    target = np.full((10, 20), 1, np.uint8)
    target[:, 10:] = 255
    sheet = contact_sheet([("a", image, target)] * 3, ("x", "y"), PALETTE, columns=2, width=40)
    assert sheet.shape[0] == 2 * (18 + 20)
    np.testing.assert_array_equal(sheet[30, 5], [150, 50, 50])  # half the image, half the class's red
    np.testing.assert_array_equal(sheet[30, 35], [100, 100, 100])
    assert (sheet[-1, 44:84] == 255).all()  # no fourth picture
