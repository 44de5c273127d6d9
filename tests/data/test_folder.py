import numpy as np
import pytest
from conftest import write

from segdla.data.folder import distinct_colors, folder
from segdla.data.images import read_mask
from segdla.errors import UserError


@pytest.fixture
def root(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "images" / f"{name}.jpg", np.zeros((4, 4, 3)))
        write(tmp_path / "masks" / f"{name}.png", np.array([[0, 1, 7, 255]] * 4, np.uint8))
    return tmp_path


def test_two_directories(root):
    source = folder(root, ("road", "car"), images="images", masks="masks", ignore=(7, 255))
    assert len(source) == 2
    np.testing.assert_array_equal(source.read(0)[1][0], [0, 1, 255, 255])


def test_a_list_file(root):
    (root / "train.txt").write_text("images/b.jpg masks/b.png\n", encoding="utf-8")
    source = folder(root, ("road", "car"), list_file="train.txt")
    assert [source.name(i) for i in range(len(source))] == ["b"]


def test_greys_are_read_and_drawn_in_colours(root):
    """Ids stored in three channels."""
    for name in ("a", "b"):
        write(root / "masks" / f"{name}.png", np.array([[[0, 0, 0], [1, 1, 1]]] * 4, np.uint8))
    source = folder(root, ("road", "car"), images="images", masks="masks", colors=((0, 0, 0), (1, 1, 1)))
    np.testing.assert_array_equal(source.encode(read_mask(root / "masks" / "a.png"), root)[0], [0, 1])
    assert source.classes.palette == distinct_colors(2)


def test_ids_that_are_no_class(root):
    with pytest.raises(UserError, match=r"a\.png: label id 7 \(4 pixels\)"):
        folder(root, ("road", "car"), images="images", masks="masks").read(0)


def test_what_could_not_be_paired_is_told(root):
    (root / "masks" / "b.png").rename(root / "masks" / "c.png")
    source = folder(root, ("road", "car"), images="images", masks="masks")
    assert len(source) == 1 and "no mask for" in source.problems[0] and source.unused == [root / "masks" / "c.png"]


def test_ids_by_a_map(root):
    source = folder(
        root, ("road", "car"), images="images", masks="masks", label_map={0: "car", 1: "road", 7: "road", 255: "car"}
    )
    np.testing.assert_array_equal(source.read(0)[1][0], [1, 0, 0, 1])  # 255 is a class: it is not ignored


def test_colour_masks(root):
    colors = np.array([[[255, 0, 0], [0, 0, 9], [255, 255, 255], [0, 0, 9]]] * 4, np.uint8)
    write(root / "masks" / "a.png", colors[..., ::-1])
    source = folder(
        root, ("road", "car"), images="images", masks="masks", colors=((0, 0, 9), (255, 0, 0)),
        ignore=(7, 255), ignore_colors=((255, 255, 255),),
    )  # fmt: skip
    np.testing.assert_array_equal(source.read(0)[1][0], [1, 0, 255, 0])
    np.testing.assert_array_equal(source.read(1)[1][0], [0, 1, 255, 255])  # still ids
    assert source.classes.palette == ((0, 0, 9), (255, 0, 0))


def test_colours_are_distinct():
    colors = distinct_colors(60)
    assert len(set(colors)) == 60
    neighbours = np.abs(np.diff(np.array(colors, int), axis=0)).sum(1)
    assert neighbours.min() > 100
