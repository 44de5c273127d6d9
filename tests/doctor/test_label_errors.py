from math import log, sqrt

import numpy as np
import pytest

from segdla.doctor.label_errors import Habits, find_regions, find_suspects, image_score

IGNORED = 255


def levels_of(class_ids, sure=0.9, num_classes=3):
    """Probabilities in bytes of a network that is so sure of the classes it sees, the others being equally likely."""
    other = (1 - sure) / (num_classes - 1)
    shares = np.where(np.arange(num_classes)[:, None, None] == class_ids, sure, other)
    return (255 * shares).round().astype(np.uint8)


def seen():
    """Classes (40,40) that a network sees: 0 above, 1 below."""
    class_ids = np.zeros((40, 40), np.uint8)
    class_ids[20:] = 1
    return class_ids


def regions_of(target, class_ids, sure=0.9):
    levels, habits = levels_of(class_ids, sure), Habits(3)
    habits.add(levels, target)
    return find_regions(levels, target, find_suspects(levels, target, habits.thresholds), habits.surprise)


def test_thresholds_are_the_mean_probability_of_a_class_where_it_is_labelled():
    habits = Habits(3)
    levels = np.array([[[100, 200, 9]], [[155, 55, 9]], [[0, 0, 9]]], np.uint8)  # (3,1,3)
    habits.add(levels, np.array([[0, 0, IGNORED]], np.uint8))
    habits.add(levels, np.array([[1, 0, IGNORED]], np.uint8))
    assert habits.thresholds.tolist() == [500 / 3, 155, (500 / 3 + 155) / 2]  # nothing is labelled as class 2
    assert habits.confusion.tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_surprise_is_the_product_of_both_logarithms():
    habits = Habits(2)
    habits.confusion[:] = [[89, 9], [0, 99]]  # one more of each is counted
    assert habits.surprise[0, 1] == pytest.approx(log(10 / 100) * log(10 / 110))
    assert habits.surprise[1, 0] == pytest.approx(log(1 / 101) * log(1 / 91))


def test_a_pixel_is_suspect_if_another_class_reaches_its_own_threshold():
    levels = np.array([[[120, 90, 20]], [[130, 160, 30]], [[5, 5, 205]]], np.uint8)
    target = np.array([[0, 0, IGNORED]], np.uint8)
    suspects = find_suspects(levels, target, np.array([100, 150, 200]))
    # the first: class 1 is likeliest, but short of 150; the last is ignored
    assert suspects.where.tolist() == [[False, True, False]]
    assert suspects.class_ids[0].tolist() == [0, 1, 2] and suspects.levels[0].tolist() == [120, 160, 205]


def test_a_region_that_is_labelled_as_something_else():
    target = seen()
    target[4:14, 5:25] = 2
    (region,) = regions_of(target, seen())
    assert region.box == (5, 4, 20, 10) and region.pixels == 200 and region.mask.shape == (10, 20) and region.mask.all()
    assert (region.given, region.suggested) == (2, 0)
    assert region.confidence == pytest.approx(0.9, abs=0.003) and region.doubt == pytest.approx(0.05, abs=0.003)
    surprise = log(201 / 203) * log(201 / 803)  # all 200 pixels of class 2 look like class 0, of which 802 do
    assert region.score == pytest.approx(surprise * log(230 / 13) * sqrt(200 / 1600), rel=1e-5)


def test_a_region_knows_its_pixels():
    target = seen()
    wrong = np.zeros(target.shape, bool)
    wrong[4:14, 5:9] = wrong[10:14, 5:25] = True  # an L
    target[wrong] = 2
    (region,) = regions_of(target, seen())
    left, top, width, height = region.box
    np.testing.assert_array_equal(region.mask, wrong[top : top + height, left : left + width])
    assert region.mask.sum() == region.pixels == wrong.sum()


def test_an_unusual_error_counts_more_than_a_usual_one():
    target = seen()
    target[2:12, 2:12] = 1  # alone
    target[25:35, 2:12] = target[25:35, 14:24] = target[25:35, 26:36] = 0  # often
    regions = regions_of(target, seen())
    assert [region.given for region in regions] == [1, 0, 0, 0]
    assert image_score(regions) == pytest.approx(sqrt(sum(region.score**2 for region in regions)))


def test_strips_along_outlines_and_ignored_pixels_are_no_regions():
    target = seen()
    target[19] = 1  # an outline that is a pixel off
    target[4:14, 5:25] = IGNORED
    assert regions_of(target, seen()) == []
    assert image_score([]) == 0
