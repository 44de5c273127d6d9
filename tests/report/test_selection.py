import numpy as np

from segdla.evaluation.image_counts import ImageCounts
from segdla.report.selection import (
    shown_classes,
    united,
    worst_confusions,
    worst_images,
    worst_images_of_classes,
    wrong_share,
)

MATRIX = np.array([[69, 31, 0], [10, 990, 0], [0, 0, 0]])
COUNTS = ImageCounts(
    ("good", "bad", "empty", "fair"),
    ("g",) * 4,
    hits=np.array([[9, 9], [1, 0], [0, 0], [5, 0]]),
    truth=np.array([[9, 9], [9, 1], [0, 0], [8, 0]]),
    predicted=np.array([[9, 9], [2, 8], [0, 0], [5, 3]]),
)


def test_the_worst_confusions_take_most_of_their_class():
    first, second = worst_confusions(MATRIX)  # and none of the class that is nowhere
    assert (first.truth, first.predicted, first.pixels, first.share) == (0, 1, 31, 0.31)
    assert (second.truth, second.predicted, second.share) == (1, 0, 0.01)
    assert first.share_of_errors + second.share_of_errors == 1
    assert worst_confusions(np.diag([3, 4])) == []


def test_the_classes_with_the_most_wrong_pixels_are_shown_in_their_order():
    matrix = np.diag([5, 5, 5, 5])
    matrix[3, 1] = 2
    matrix[2, 0] = 1
    assert shown_classes(matrix, 2) == [1, 3]
    assert shown_classes(matrix, 9) == [0, 1, 2, 3]


def test_the_worst_images_come_first():
    assert worst_images(COUNTS, 2) == ["bad", "fair"]
    assert worst_images(COUNTS, 9) == ["bad", "fair", "good"]  # nothing is labelled in the other


def test_the_worst_images_of_a_class_have_most_of_its_pixels_wrong():
    assert worst_images_of_classes(COUNTS) == [["bad", "fair"], ["bad", "fair"]]  # 9 and 3, 9 and 3


def test_the_share_of_wrong_pixels_is_of_the_labelled():
    assert wrong_share(COUNTS, 1) == 0.9 and np.isnan(wrong_share(COUNTS, 2))


def test_names_in_several_lists_come_once():
    assert united(["b", "a"], [], ["a", "c"]) == ["b", "a", "c"]
