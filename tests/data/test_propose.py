import numpy as np
import pytest
from conftest import write
from PIL import Image

from segdla.data.propose import (
    Contents,
    by_lists,
    divide,
    examine,
    find_splits,
    name_labels,
)
from segdla.errors import UserError


def make(root, *names, mask=None):
    for name in names:
        write(root / name, np.zeros((4, 4), np.uint8) if mask is None else mask)
    return root


def test_folders_named_like_splits(tmp_path):
    make(
        tmp_path, "i/training/1.png", "i/val/2.png", "i/other/3.png", "m/training/1.png", "m/val/2.png", "m/other/3.png"
    )
    i, m = tmp_path / "i", tmp_path / "m"
    assert find_splits(i, m) == {"train": (i / "training", m / "training"), "val": (i / "val", m / "val")}
    assert find_splits(tmp_path / "i", tmp_path / "m" / "val") == {}


def test_splits_are_known_in_capitals_and_with_a_year(tmp_path):
    make(tmp_path, "i/Train/1.png", "m/Train/1.png", "i/TEST/2.png", "m/TEST/2.png")
    i, m = tmp_path / "i", tmp_path / "m"
    assert find_splits(i, m) == {"train": (i / "Train", m / "Train"), "test": (i / "TEST", m / "TEST")}
    make(tmp_path, "i/val2017/1.png", "m/val2017/1.png")
    assert find_splits(i, m)["val"] == (i / "val2017", m / "val2017")


def examined(root, *masks):
    for number, mask in enumerate(masks):
        noise = np.random.default_rng(number).integers(0, 256, (*mask.shape[:2], 3), np.uint8)
        make(root, f"i/{number}.png", mask=noise)
        make(root, f"m/{number}.png", mask=mask)
    return examine([(root / f"i/{n}.png", root / f"m/{n}.png") for n in range(len(masks))])


def test_what_masks_hold(tmp_path):
    contents = examined(tmp_path, np.array([[0, 1, 1, 255]], np.uint8), np.array([[0, 0, 3, 3]], np.uint8))
    assert not contents.colored
    assert contents.values == {0: 3, 1: 2, 3: 2, 255: 1}
    assert contents.size == (1, 4)


def test_colours_that_masks_hold(tmp_path):
    contents = examined(tmp_path, np.array([[[0, 0, 255], [0, 0, 0]]], np.uint8))  # BGR
    assert contents.colored and contents.values == {0: 1, 255 << 16: 1}


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ([np.zeros((2, 2), np.uint8)], r"hold one id alone, such as .*0\.png"),
        ([np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3), np.uint8)], r"0\.png holds ids but .*1\.png colours"),
    ],
)
def test_masks_that_are_no_classes(tmp_path, masks, message):
    with pytest.raises(UserError, match=message):
        examined(tmp_path, *masks)


def test_masks_blurred_by_jpeg_are_refused(tmp_path):
    make(tmp_path, "i/1.png", "m/1.JPG", mask=np.repeat(np.array([[0, 255]], np.uint8), 20, axis=0))
    with pytest.raises(UserError, match=r"1\.JPG is to be a mask but is a JPEG, .* the right way round\?"):
        examine([(tmp_path / "i/1.png", tmp_path / "m/1.JPG")])


def test_of_many_masks_the_one_with_too_many_values_is_named(tmp_path):
    sound, photo = np.array([[0, 1]], np.uint8), np.arange(100, dtype=np.uint8)[None]
    with pytest.raises(UserError, match=r"1\.png holds 100 different ids, the masks so far 100"):
        examined(tmp_path, sound, photo, sound)


def test_palettes_that_differ(tmp_path):
    """Such as those in which colours are numbered as they first appear in the picture."""
    red, green = (255, 0, 0), (0, 255, 0)
    make(tmp_path, "i.png", mask=np.zeros((1, 2, 3), np.uint8))
    for name, palette in (("a", (red, green)), ("b", (green, red)), ("c", (red, green, (9, 9, 9)))):
        mask = Image.fromarray(np.array([[0, 1]], np.uint8))
        mask.putpalette([value for color in palette for value in color])
        mask.save(tmp_path / f"{name}.png")
    pairs = {name: (tmp_path / "i.png", tmp_path / f"{name}.png") for name in "abc"}
    assert examine([pairs["a"], pairs["c"]]).values == {0: 2, 1: 2}  # what only one has no pixel has
    with pytest.raises(UserError, match=r"id 0 has the colour \(255, 0, 0\) in .*a\.png, but \(0, 255, 0\) in"):
        examine([pairs["a"], pairs["b"]])


def test_pairs_that_can_not_be_read_are_left_out(tmp_path):
    make(tmp_path, "a.png", "wide.png", mask=np.zeros((2, 3), np.uint8))
    make(tmp_path, "b.png", mask=np.array([[0, 1]], np.uint8))
    (tmp_path / "empty.png").touch()
    a, b, wide, empty = (tmp_path / f"{name}.png" for name in ("a", "b", "wide", "empty"))
    contents = examine([(a, wide), (b, b), (a, empty), (a, b)])
    assert contents.pairs == [(a, wide), (b, b)] and contents.values == {0: 7, 1: 1}
    assert "empty.png is not an image" in contents.problems[0] and "is 2x3" in contents.problems[1]
    with pytest.raises(UserError, match=r"no pair can be read: .*empty"):
        examine([(a, empty)])


def labels(*values, colored=False):
    return name_labels(Contents([], [], colored, dict.fromkeys(values, 1), (8, 8), [], [], []))


def test_labels_of_ids_in_order():
    assert labels(0, 1, 2, 255).classes == ["class_0", "class_1", "class_2"]
    assert labels(0, 1, 2, 255).label_map is None and labels(0, 1, 2, 255).ignore == [255]
    assert labels(0, 1).ignore is None


def test_labels_of_ids_with_gaps():
    assert labels(7, 26).label_map == {7: "class_7", 26: "class_26"}


def test_binary_masks_have_a_background_and_an_object():
    assert labels(0, 255).label_map == {0: "background", 255: "object"} and labels(0, 255).ignore == []


def test_black_and_white_masks_with_blurred_edges_are_refused():
    """Else the object, 255, would be taken for what is unlabelled."""
    few, many = {0: 700, 254: 5, 255: 295}, {0: 600, 128: 100, 255: 300}
    contents = [Contents([], [], False, values, (8, 8), [], [], []) for values in (few, many)]
    with pytest.raises(UserError, match=r"but for 0\.5 % of the pixels, of values between such as 254"):
        name_labels(contents[0])
    thin = {0: 850, 255: 50} | dict.fromkeys(range(100, 200), 1)  # lines are half edge
    with pytest.raises(UserError, match=r"but for 10 % of the pixels, of values between such as 199"):
        name_labels(Contents([], [], False, thin, (8, 8), [], [], []))
    in_three_channels = {value << 16 | value << 8 | value: pixels for value, pixels in few.items()}
    with pytest.raises(UserError, match="blurred edges"):
        name_labels(Contents([], [], True, in_three_channels, (8, 8), [], [], []))
    assert name_labels(contents[1]).classes == ["class_0", "class_128"]


def test_labels_of_colours():
    named = labels(0, 128 << 16 | 64, colored=True)
    assert named.colors == [(0, 0, 0), (128, 0, 64)] and named.classes == ["background", "color_128_0_64"]


def test_one_class_and_what_is_unlabelled_is_too_little():
    with pytest.raises(UserError, match="no two classes"):
        labels(1, 255)


def test_splits_divide_no_group():
    groups = [np.arange(10, 18), np.array([30, 31])]
    for seed in range(20):
        train, val = divide(range(40), groups, 0.25, seed)
        assert sorted(train + val) == list(range(40))
        assert 5 <= len(val) <= 10
        for group in groups:
            assert set(group.tolist()) <= set(train) or set(group.tolist()) <= set(val)
    first, again, other = (divide(range(40), groups, 0.25, seed) for seed in (0, 0, 1))
    assert first == again != other


def test_some_of_the_images_are_divided():
    train, val = divide(range(20, 30), [np.array([3, 4, 21, 22]), np.array([7, 8])], 0.3, 0)
    assert sorted(train + val) == list(range(20, 30)) and len(val) == 3
    assert {21, 22} <= set(train) or {21, 22} <= set(val)


def test_a_set_of_one_sequence_is_cut():
    assert divide(range(10), [np.arange(10)], 0.2, 0) == (list(range(8)), [8, 9])


@pytest.mark.parametrize(("number", "largest", "wanted"), [(100, 97, 15), (1000, 995, 150)])
def test_a_sequence_is_cut_too_where_little_lies_outside_of_it(number, largest, wanted):
    train, val = divide(range(number), [np.arange(largest)], 0.15, 0)
    assert len(val) == wanted and sorted(train + val) == list(range(number))


def test_a_list_may_tell_images_apart_by_their_paths(tmp_path):
    pairs = [(tmp_path / name, tmp_path / "m") for name in ("a.png", "b/a.png")]
    for name, lines in (("one", "a.png\n"), ("two", "b/a.png\n")):
        (tmp_path / name).write_text(lines, encoding="utf-8-sig")  # as Windows' editors save it
    assert by_lists(pairs, tmp_path, [tmp_path / "one", tmp_path / "two"]) == [[0], [1]]


def test_lists_of_names(tmp_path):
    pairs = [(tmp_path / "i" / name, tmp_path / "m") for name in ("x/1.png", "y/1.png", "y/2.png")]
    for name, lines in (("a", "x/1\n2.png\n"), ("b", "y/1.png\n"), ("c", "1\n"), ("d", "2\n"), ("e", "")):
        (tmp_path / name).write_text(lines, encoding="utf-8")

    def chosen(*names):
        return by_lists(pairs, tmp_path / "i", [tmp_path / name for name in names])

    assert chosen("a", "b") == [[0, 2], [1]]
    with pytest.raises(UserError, match=r"names '1', which is more than one .* give its path"):
        chosen("a", "c")
    with pytest.raises(UserError, match=r"2\.png more than once"):
        chosen("a", "d")
    with pytest.raises(UserError, match="names no image"):
        chosen("a", "e")
