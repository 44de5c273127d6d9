import numpy as np
import pytest

from segdla.data.images import read_image, read_mask
from segdla.errors import UserError
from segdla.visualize import (
    beside,
    colorize,
    contact_sheet,
    legend,
    overlay,
    sample_grid,
    with_legend,
    write_curves,
    write_image,
    write_palette,
)

PALETTE = ((10, 20, 30), (200, 0, 0))
IDS = np.array([[0, 1, 255]], np.uint8)


def test_colours_by_id_and_black_for_others():
    assert colorize(IDS, PALETTE).tolist() == [[[10, 20, 30], [200, 0, 0], [0, 0, 0]]]


def test_the_longest_name_can_be_written(tmp_path):
    path = tmp_path / ("ü" * 125 + "x.png")  # 255 bytes
    write_image(path, IDS)
    assert read_mask(path).shape == IDS.shape and list(tmp_path.iterdir()) == [path]


def test_overlay_is_the_mean():
    image = np.full((1, 3, 3), 100, np.uint8)
    np.testing.assert_array_equal(overlay(image, colorize(IDS, PALETTE))[0, 1], [150, 50, 50])


def test_legend_shows_every_colour():
    picture = legend(("road", "a class with a long name"), PALETTE)
    for color in PALETTE:
        assert (picture == color).all(-1).sum() > 100


def test_names_are_drawn_in_their_letters():
    names = "ö", "ж", "λ", "?"
    words = legend(names, PALETTE[:1] * 4)[4:-4, 44:]
    assert len({row.tobytes() for row in np.split(words, len(names))}) == len(names)


def test_beside_pads_with_white():
    picture = beside(np.zeros((4, 2, 3), np.uint8), np.zeros((1, 3, 3), np.uint8))
    assert picture.shape == (4, 5, 3)
    assert (picture[1:, 2:] == 255).all()


def test_grid_of_a_strip():
    ids = np.zeros((1, 2000), np.uint8)
    assert sample_grid([(np.zeros((1, 2000, 3), np.uint8), ids, ids)], ("a",), PALETTE[:1]).shape[1] > 3 * 512


def test_grid_holds_image_truth_and_prediction():
    image = np.full((30, 40, 3), 77, np.uint8)
    ids = np.zeros((30, 40), np.uint8)
    grid = sample_grid([(image, ids, ids + 1), (image[:20], ids[:20], ids[:20])], ("a", "b"), PALETTE)
    assert grid[0, 0].tolist() == [77, 77, 77]
    assert grid[0, 40].tolist() == [10, 20, 30]
    assert grid[0, 80].tolist() == [200, 0, 0]


def test_written_images_are_read_back(tmp_path):
    colors = colorize(IDS, PALETTE)
    write_image(tmp_path / "new" / "color.png", colors)
    write_image(tmp_path / "new" / "ids.png", IDS)
    np.testing.assert_array_equal(read_image(tmp_path / "new" / "color.png"), colors)
    np.testing.assert_array_equal(read_mask(tmp_path / "new" / "ids.png"), IDS)


@pytest.mark.parametrize("count", [2, 3, 11, 19, 200])
def test_palette_images_are_ids_and_colours_at_once(tmp_path, count):
    palette = tuple((i, 255 - i, 7 * i % 256) for i in range(count))
    ids = np.arange(count, dtype=np.uint8).repeat(3)[None].repeat(5, axis=0)
    write_palette(tmp_path / "new" / "a.png", ids, palette)
    np.testing.assert_array_equal(read_mask(tmp_path / "new" / "a.png"), ids)
    np.testing.assert_array_equal(read_image(tmp_path / "new" / "a.png"), colorize(ids, palette))


def test_a_legend_inside_where_there_is_room():
    picture = np.zeros((480, 640, 3), np.uint8)
    drawn = with_legend(picture, ("a", "b"), PALETTE)
    assert drawn.shape == picture.shape and (drawn[:400] == 0).all() and (drawn[-4:, :4] > 100).all()
    assert (picture == 0).all()  # the one given is as it was
    for small in (picture[:100], picture[:, :60]):
        assert with_legend(small, ("a", "b"), PALETTE) is small


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    def full(path, content):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_palette(tmp_path / "a.png", IDS % 2, PALETTE)
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        write_image(tmp_path / "file" / "ids.png", IDS)


def test_curves_are_a_picture(tmp_path):
    records = [{"step": s, "loss": 1 / s, "lr": 0.1} for s in range(1, 5)] + [{"step": 4, "mean_iou": 0.3}]
    write_curves(tmp_path / "curves.png", records)
    assert read_image(tmp_path / "curves.png").shape[1] > 600


def test_contact_sheets_show_ignored_pixels_as_they_are():
    image = np.full((10, 20, 3), 100, np.uint8)
    target = np.full((10, 20), 1, np.uint8)
    target[:, 10:] = 255
    sheet = contact_sheet([("a", image, target)] * 3, ("x", "y"), PALETTE, columns=2, width=40)
    assert sheet.shape[0] == 2 * (18 + 20)
    np.testing.assert_array_equal(sheet[30, 5], [150, 50, 50])  # half the image, half the class's red
    np.testing.assert_array_equal(sheet[30, 35], [100, 100, 100])
    assert (sheet[-1, 44:84] == 255).all()  # no fourth picture
