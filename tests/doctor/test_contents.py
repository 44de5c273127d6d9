import numpy as np
import pytest
from PIL import Image
from support import write

from segdla.doctor.contents import Contents, examine, name_labels
from segdla.doctor.image_facts import ImageSummary
from segdla.errors import UserError


def make(root, *names, mask=None):
    for name in names:
        write(root / name, np.zeros((4, 4), np.uint8) if mask is None else mask)
    return root


def examined(root, *masks):
    for number, mask in enumerate(masks):
        noise = np.random.default_rng(number).integers(0, 256, (*mask.shape[:2], 3), np.uint8)
        write(root / f"i/{number}.png", noise)
        write(root / f"m/{number}.png", mask)
    return examine([(root / f"i/{n}.png", root / f"m/{n}.png") for n in range(len(masks))])


def test_what_masks_hold(tmp_path):
    contents = examined(tmp_path, np.array([[0, 1, 1, 255]], np.uint8), np.array([[0, 0, 3, 3]], np.uint8))
    assert not contents.colored
    assert contents.values == {0: 3, 1: 2, 3: 2, 255: 1}
    assert contents.images.size == (1, 4)


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


@pytest.mark.parametrize(("saved", "name"), [("1.jpg", "1.png"), ("1.png", "1.jpg")])
def test_a_jpeg_is_told_by_its_content(tmp_path, saved, name):
    make(tmp_path, "i/1.png", f"m/{saved}", mask=np.repeat(np.array([[0, 1]], np.uint8), 20, axis=0))
    mask = (tmp_path / "m" / saved).rename(tmp_path / "m" / name)
    if saved == "1.png":
        assert examine([(tmp_path / "i/1.png", mask)]).values == {0: 20, 1: 20}
    else:
        with pytest.raises(UserError, match=r"1\.png is to be a mask but is a JPEG"):
            examine([(tmp_path / "i/1.png", mask)])


def test_of_many_masks_the_one_with_too_many_values_is_named(tmp_path):
    sound, photo = np.array([[0, 1]], np.uint8), np.arange(100, dtype=np.uint8)[None]
    with pytest.raises(UserError, match=r"1\.png holds 100 different ids, the masks so far 100"):
        examined(tmp_path, sound, photo, sound)


def test_palettes_that_differ(tmp_path):
    """As when colours are numbered in the order in which they appear in a picture."""
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
    return name_labels(Contents([], [], colored, dict.fromkeys(values, 1), ImageSummary((8, 8), [], [], [])))


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
    few = {0: 700, 254: 5, 255: 295}
    with pytest.raises(UserError, match=r"but for 0\.5 % of the pixels, of values between such as 254"):
        name_labels(Contents([], [], False, few, ImageSummary((8, 8), [], [], [])))
    thin = {0: 850, 255: 50} | dict.fromkeys(range(100, 200), 1)  # lines are half edge
    with pytest.raises(UserError, match=r"but for 10 % of the pixels, of values between such as 199"):
        name_labels(Contents([], [], False, thin, ImageSummary((8, 8), [], [], [])))
    in_three_channels = {value << 16 | value << 8 | value: pixels for value, pixels in few.items()}
    with pytest.raises(UserError, match="blurred edges"):
        name_labels(Contents([], [], True, in_three_channels, ImageSummary((8, 8), [], [], [])))


def test_labels_of_colours():
    named = labels(0, 128 << 16 | 64, colored=True)
    assert named.colors == [(0, 0, 0), (128, 0, 64)] and named.classes == ["background", "color_128_0_64"]


def test_one_class_and_what_is_unlabelled_is_too_little():
    with pytest.raises(UserError, match="no two classes"):
        labels(1, 255)


def disc(radius, size=64):
    rows, columns = np.mgrid[:size, :size] - size // 2
    return rows**2 + columns**2 < radius**2


def test_a_middle_value_with_pixels_of_its_own_is_a_class(tmp_path):
    """As in a set of CT slices: 128, in 1 % of the pixels, is the tumour."""
    mask = np.zeros((64, 64), np.uint8)
    mask[:12] = 255
    mask[disc(4)] = 128
    contents = examined(tmp_path, mask)
    assert contents.values[128] < 0.03 * mask.size and contents.inner[128] > 0.1 * contents.values[128]
    labels = name_labels(contents)
    assert labels.label_map == {0: "class_0", 128: "class_128", 255: "class_255"} and labels.ignore == []
    assert labels.remark.startswith("255 is taken for a class, as the ids [0, 128, 255] are even steps of grey; if it")


def test_255_in_most_of_the_pixels_is_a_class(tmp_path):
    """As in REFUGE, where the background is 255, the disc of the optic nerve 128 and its cup 0."""
    mask = np.full((64, 64), 255, np.uint8)
    mask[disc(16)], mask[disc(8)] = 120, 0
    labels = name_labels(examined(tmp_path, mask))
    assert list(labels.label_map) == [0, 120, 255] and labels.ignore == []
    assert labels.remark.startswith("255 is taken for a class, as 81 % of the pixels have it; if it is what is unlabel")


def test_255_in_fewer_is_for_what_is_unlabelled(tmp_path):
    mask = np.where(disc(16), 1, 0).astype(np.uint8)
    mask[:20] = 255
    labels = name_labels(examined(tmp_path, mask))
    assert (labels.classes, labels.ignore, labels.remark) == (["class_0", "class_1"], [255], "")
