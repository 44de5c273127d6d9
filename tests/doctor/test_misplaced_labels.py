import numpy as np
import pytest

from segdla.data.scenes import Scenes
from segdla.doctor.misplaced_labels import agreement, find_exchanged, find_shift, find_turn

SCENES = Scenes("train", 3, (120, 200))
CLASSES = len(Scenes.classes)


def moved(target, down, right, fill=255):
    result = np.full_like(target, fill)
    rows, columns = np.mgrid[: target.shape[0], : target.shape[1]]
    inside = (rows - down >= 0) & (rows - down < target.shape[0]) & (columns - right >= 0)
    inside &= columns - right < target.shape[1]
    result[inside] = target[(rows - down)[inside], (columns - right)[inside]]
    return result


@pytest.mark.parametrize("shift", [(0, -37), (25, 0), (-21, 43)], ids=str)
@pytest.mark.parametrize("index", range(len(SCENES)))
def test_a_shift_is_found_to_the_pixel(index, shift):
    seen = SCENES.target(index)
    found = find_shift(moved(seen, *shift), seen, CLASSES)
    assert (found.down, found.right) == shift and found.after == 1 and found.before < 0.9


def test_labels_in_place_are_not_moved():
    seen = SCENES.target(0)
    blurred = np.where(np.random.default_rng(0).random(seen.shape) < 0.2, 0, seen)
    assert find_shift(seen, seen, CLASSES) is None and find_shift(blurred, seen, CLASSES) is None
    assert find_shift(moved(seen, 0, 1), seen, CLASSES) is None  # which is no more than an outline
    assert find_shift(np.full_like(seen, 255), seen, CLASSES) is None


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (3, 200)], ids=str)
def test_images_of_any_size(size):
    noise = np.random.default_rng(0).integers(0, 3, size).astype(np.uint8)
    assert find_shift(noise, noise, 3) is None and find_turn(noise, noise, 3) is None


@pytest.mark.parametrize("size", [(6, 1000), (1000, 6), (1, 200), (2, 500)], ids=str)
def test_a_shift_along_a_strip(size):
    along = np.random.default_rng(0).integers(0, 4, 25).repeat(max(size) // 25)
    seen = np.broadcast_to(along if size[1] > size[0] else along[:, None], size).astype(np.uint8)
    shift = (0, 30) if size[1] > size[0] else (30, 0)
    found = find_shift(moved(seen, *shift), seen, 4)
    assert (found.down, found.right) == shift and found.after == 1


@pytest.mark.parametrize(
    ("name", "turn"), [("mirrored", np.fliplr), ("upside down", np.flipud), ("turned by 180 degrees", np.rot90)]
)
def test_turned_labels(name, turn):
    seen = np.kron(np.array([[0, 1, 1], [2, 0, 3]], np.uint8), np.ones((8, 8), np.uint8))
    labels = np.rot90(seen, 2) if turn is np.rot90 else turn(seen)
    found = find_turn(labels, seen, 4)
    assert found.name == name and found.after == 1
    assert find_turn(seen, seen, 4) is None


def test_agreement_is_of_labelled_pixels():
    assert agreement(np.array([0, 1, 255, 1]), np.array([0, 1, 1, 0]), 2) == pytest.approx(2 / 3)
    assert agreement(np.array([255]), np.array([0]), 2) == 0


def test_exchanged_classes_look_like_each_other():
    target = np.repeat([0, 1, 2], 100).reshape(15, 20).astype(np.uint8)
    suggested = np.full_like(target, 255)
    suggested[target == 0], suggested[target == 2] = 2, 0
    assert find_exchanged(target, suggested, 3) == [(0, 2)]
    suggested[target == 2] = 1  # one way alone
    assert find_exchanged(target, suggested, 3) == []
