import numpy as np
import pytest

from segdla.data.image_writer import write_image, write_palette
from segdla.data.images import read_image, read_mask, read_palette
from segdla.errors import UserError

IDS = np.array([[0, 1, 255]], np.uint8)
COLORS = np.array([[[10, 20, 30], [200, 0, 0], [0, 0, 0]]], np.uint8)


def test_written_images_are_read_back(tmp_path):
    write_image(tmp_path / "new" / "color.png", COLORS)
    write_image(tmp_path / "new" / "ids.png", IDS)
    np.testing.assert_array_equal(read_image(tmp_path / "new" / "color.png"), COLORS)
    np.testing.assert_array_equal(read_mask(tmp_path / "new" / "ids.png"), IDS)


@pytest.mark.parametrize("count", [2, 3, 11, 19, 200])
def test_palette_images_are_ids_and_colours_at_once(tmp_path, count):
    palette = tuple((i, 255 - i, 7 * i % 256) for i in range(count))
    ids = np.arange(count, dtype=np.uint8).repeat(3)[None].repeat(5, axis=0)
    write_palette(tmp_path / "new" / "a.png", ids, palette)
    np.testing.assert_array_equal(read_mask(tmp_path / "new" / "a.png"), ids)
    np.testing.assert_array_equal(read_image(tmp_path / "new" / "a.png"), np.array(palette, np.uint8)[ids])
    assert read_palette(tmp_path / "new" / "a.png")[:count].tolist() == [list(color) for color in palette]


def test_the_longest_name_can_be_written(tmp_path):
    path = tmp_path / ("ü" * 125 + "x.png")  # 255 bytes
    write_image(path, IDS)
    assert read_mask(path).shape == IDS.shape and list(tmp_path.iterdir()) == [path]


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    def full(path, mode):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.open", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_palette(tmp_path / "a.png", IDS % 2, COLORS[0].tolist())
    assert not list(tmp_path.iterdir())


def test_paths_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        write_image(tmp_path / "file" / "ids.png", IDS)
