import numpy as np
import pytest
from PIL import Image
from support import write

from segdla.data.cache import entry_keys
from segdla.data.folder import distinct_colors, folder
from segdla.data.images import read_stored_mask
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


def test_ids_in_three_channels_are_read_as_greys_and_drawn_in_colours(root):
    for name in ("a", "b"):
        write(root / "masks" / f"{name}.png", np.array([[[0, 0, 0], [1, 1, 1]]] * 4, np.uint8))
    source = folder(root, ("road", "car"), images="images", masks="masks", colors=((0, 0, 0), (1, 1, 1)))
    np.testing.assert_array_equal(source.encode(read_stored_mask(root / "masks" / "a.png"), root)[0], [0, 1])
    assert source.classes.palette == distinct_colors(2)


def test_ids_that_are_no_class(root):
    with pytest.raises(UserError, match=r"a\.png: label id 7 \(4 pixels\)"):
        folder(root, ("road", "car"), images="images", masks="masks").read(0)


def test_problems_and_unused_masks_are_handed_on(root):
    (root / "masks" / "b.png").rename(root / "masks" / "c.png")
    source = folder(root, ("road", "car"), images="images", masks="masks")
    assert len(source) == 1 and "no mask for" in source.problems[0] and source.unused == [root / "masks" / "c.png"]


def test_ids_through_a_label_map(root):
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


@pytest.mark.parametrize("form", ["palette.png", "palette.tif", "palette.bmp", "palette.gif", "rgb.png", "grey.png",
                                  "grey.tif", "grey.bmp", "bit.png", "bit.tif", "bit.bmp", "bit.gif"])  # fmt: skip
def test_colours_in_each_form_that_files_store_them(root, form):
    """White is class 0 and black 1, so ids, samples and colours are told apart."""
    white, black = (255, 255, 255), (0, 0, 0)
    truth = np.array([[0, 1, 1, 0]] * 4)
    greys = Image.fromarray(np.where(truth, 0, 255).astype(np.uint8))
    kind, _, suffix = form.partition(".")
    if kind == "palette":
        mask = Image.fromarray((1 - truth).astype(np.uint8), mode="P")
        mask.putpalette([*black, *white])
    else:
        mask = greys.convert({"rgb": "RGB", "grey": "L", "bit": "1"}[kind])
    for name in ("a", "b"):
        (root / "masks" / f"{name}.png").unlink()
    mask.save(root / "masks" / f"a.{suffix}")
    greys.convert("RGB").save(root / "masks" / "b.png")
    source = folder(root, ("paper", "ink"), images="images", masks="masks", colors=(white, black))
    for index in range(2):
        np.testing.assert_array_equal(source.read(index)[1], truth)


def test_paths_in_the_home_folder(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root))
    assert len(folder("~", ("road", "car"), images="images", masks="~/masks")) == 2
    (root / "train.txt").write_text("~/images/b.jpg masks/b.png\n", encoding="utf-8")
    assert folder("/nowhere", ("road", "car"), list_file="~/train.txt").problems
    assert len(folder("~/", ("road", "car"), list_file="train.txt")) == 1
    with pytest.raises(UserError, match="holds a NUL byte"):
        folder(root, ("road", "car"), images="images\0", masks="masks")


def test_two_classes_of_one_colour_are_refused(root):
    with pytest.raises(UserError, match=r"two classes have the colour \[9, 0, 0\] \(data.colors\); give each its own"):
        folder(root, ("a", "b", "c"), images="images", masks="masks", colors=((9, 0, 0), (1, 1, 1), (9, 0, 0)))


def test_colours_are_distinct():
    colors = distinct_colors(60)
    assert len(set(colors)) == 60
    neighbours = np.abs(np.diff(np.array(colors, int), axis=0)).sum(1)
    assert neighbours.min() > 100


def test_a_range_of_samples_is_applied_in_every_reading(root):
    (root / "images" / "a.jpg").unlink()
    write(root / "images" / "a.png", np.full((4, 4), 2048, np.uint16))
    options = {"images": "images", "masks": "masks", "ignore": (7, 255)}
    plain, scaled = (folder(root, ("road", "car"), **options, sample_range=r) for r in (None, (0, 4095)))
    assert plain.read(0)[0].max() == 8 and scaled.read(0)[0].max() == 128 == scaled.joined(scaled).read(0)[0].max()
    assert entry_keys(plain)[0] != entry_keys(scaled)[0]  # a cache must not mix them up
