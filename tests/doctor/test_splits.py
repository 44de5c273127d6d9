import numpy as np
import pytest
from support import write

from segdla.data.pairing import Naming
from segdla.doctor.splits import (
    Division,
    Folders,
    by_lists,
    divide,
    divide_by_lists,
    divide_by_sub_folders,
    draw_validation,
    find_splits,
)
from segdla.errors import UserError

ALIKE = np.full((1000, 2), 50)  # pixels by class, the same in each mask


def make(root, *names):
    for name in names:
        write(root / name, np.zeros((4, 4), np.uint8))


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


def test_splits_divide_no_group():
    groups = [np.arange(10, 18), np.array([30, 31])]
    for seed in range(20):
        train, val = divide(range(40), groups, ALIKE, 0.25, seed)
        assert sorted(train + val) == list(range(40))
        assert 5 <= len(val) <= 10
        for group in groups:
            assert set(group.tolist()) <= set(train) or set(group.tolist()) <= set(val)
    first, again, other = (divide(range(40), groups, ALIKE, 0.25, seed) for seed in (0, 0, 1))
    assert first == again != other


def test_some_of_the_images_are_divided():
    train, val = divide(range(20, 30), [np.array([3, 4, 21, 22]), np.array([7, 8])], ALIKE, 0.3, 0)
    assert sorted(train + val) == list(range(20, 30)) and len(val) == 3
    assert {21, 22} <= set(train) or {21, 22} <= set(val)


def test_a_split_keeps_the_shares_of_rare_objects():
    """In 300 masks, a fifth with an object of a size from a heavy tail; two more classes are in 24 and 12 masks."""
    random = np.random.default_rng(0)
    pixels = np.zeros((300, 4), int)
    pixels[:, 0] = 10_000
    pixels[::5, 1] = 50 + 300 * random.pareto(1.3, 60)
    pixels[random.choice(300, 24, replace=False), 2] = 500
    pixels[random.choice(300, 12, replace=False), 3] = 500
    groups = [np.arange(first, first + 4) for first in range(0, 80, 4)]
    for seed in range(4):
        train, val = divide(range(300), groups, pixels, 0.15, seed)
        shares = pixels[val].sum(0) / pixels.sum(0)
        np.testing.assert_allclose(shares, 0.15, atol=0.06)
        assert all(set(group.tolist()) <= set(train) or set(group.tolist()) <= set(val) for group in groups)
        assert (train, val) == divide(range(300), groups, pixels, 0.15, seed)


def test_a_class_of_one_image_is_to_train_on():
    pixels = np.full((20, 2), 50)
    pixels[:, 1] = 0
    pixels[7, 1] = 50
    assert all(7 in divide(range(20), [], pixels, 0.25, seed)[0] for seed in range(8))
    pixels[12, 1] = 50  # of two images, one is to train on and one to validate on
    assert all(len({7, 12} & set(divide(range(20), [], pixels, 0.25, seed)[1])) == 1 for seed in range(8))


def test_a_set_of_one_sequence_is_cut():
    assert divide(range(10), [np.arange(10)], ALIKE, 0.2, 0) == (list(range(8)), [8, 9])


@pytest.mark.parametrize(("number", "largest", "wanted"), [(100, 97, 15), (1000, 995, 150)])
def test_a_sequence_is_cut_too_where_little_lies_outside_of_it(number, largest, wanted):
    train, val = divide(range(number), [np.arange(largest)], ALIKE, 0.15, 0)
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

    def parts(*names):
        return by_lists(pairs, tmp_path / "i", [tmp_path / name for name in names])

    assert parts("a", "b") == [[0, 2], [1]]
    with pytest.raises(UserError, match=r"names '1', which is more than one .* give its path"):
        parts("a", "c")
    with pytest.raises(UserError, match=r"2\.png more than once"):
        parts("a", "d")
    with pytest.raises(UserError, match="names no image"):
        parts("a", "e")


def test_lists_of_names_in_another_unicode_form_and_with_blanks(tmp_path):
    """As a Mac writes them: an accent is a character of its own."""
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    pairs = [(tmp_path / f"{name}.png", tmp_path / "m") for name in (composed, "b", f"sub/{decomposed}1")]
    for name, lines in (("a", f"{decomposed}.png \t\r\n  \r\n"), ("b", f" b\nsub/{composed}1\n"), ("c", composed)):
        (tmp_path / name).write_bytes(lines.encode())
    assert by_lists(pairs, tmp_path, [tmp_path / "a", tmp_path / "b"]) == [[0], [1, 2]]
    both = [(tmp_path / f"{name}.png", tmp_path / "m") for name in (decomposed, composed)]
    assert by_lists(both, tmp_path, [tmp_path / "c"]) == [[1]]  # as it is written


def test_a_division_by_lists_has_a_split_for_each(tmp_path):
    pairs = [(tmp_path / f"{name}.png", tmp_path / "m") for name in "abc"]
    for name in "abc":
        (tmp_path / name).write_text(name, encoding="utf-8")
    division = divide_by_lists(pairs, tmp_path, [tmp_path / "b", tmp_path / "c"])
    assert division == Division({"train": [pairs[1]], "val": [pairs[2]]})


def test_a_division_by_sub_folders_leaves_out_a_test_split_without_masks(tmp_path):
    make(tmp_path, "i/train/1.png", "m/train/1.png", "i/val/2.png", "m/val/2.png", "i/test/3.png", "m/test/note.png")
    i, m, naming = tmp_path / "i", tmp_path / "m", Naming(mask_suffix="")
    pairs = [(i / name, m / name) for name in ("train/1.png", "val/2.png")]
    division = divide_by_sub_folders(Folders(i, m, naming), pairs)
    assert division.pairs == {"train": pairs[:1], "val": pairs[1:]}
    assert division.folders["val"] == Folders(i / "val", m / "val", naming)


def test_validation_pairs_are_drawn_from_the_training_pairs_only(tmp_path):
    pairs = [(tmp_path / f"{number}.png", tmp_path / "m") for number in range(12)]
    division = draw_validation(Division({"train": pairs[:8], "test": pairs[8:]}), pairs, [], ALIKE, 0.25, seed=0)
    assert sorted([*division.pairs["train"], *division.pairs["val"]]) == sorted(pairs[:8])
    assert len(division.pairs["val"]) == 2 and division.pairs["test"] == pairs[8:] and not division.folders
    assert division.remarks == ["6 images to train on and 2 to validate on, drawn with seed 0"]


def test_a_division_says_that_a_sequence_was_cut(tmp_path):
    pairs = [(tmp_path / f"{number}.png", tmp_path / "m") for number in range(10)]
    division = draw_validation(Division({}), pairs, [np.arange(10)], ALIKE, 0.2, seed=0)
    assert division.pairs == {"train": pairs[:8], "val": pairs[8:]}
    assert "had to be cut" in division.remarks[1]
