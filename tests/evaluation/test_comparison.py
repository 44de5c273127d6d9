import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from segdla.errors import UserError
from segdla.evaluation.comparison import compare, comparison_table
from segdla.evaluation.image_counts import ImageCounts
from segdla.evaluation.scores import Scores

NAMES = tuple(f"image {index:02}" for index in range(20))


def scores(hits, names=NAMES, classes=("a", "b")):
    """Scores of images with 100 pixels of each of two classes, of which so many are right."""
    hits = np.asarray(hits, np.int64)
    truth = np.full_like(hits, 100)
    images = ImageCounts(names, names, hits, truth, truth)
    *iou, mean = images.scores().tolist()
    return Scores(mean, 0.5, 0.5, dict(zip(classes, iou, strict=True)), dict.fromkeys(classes, 0.5), images=images)


SPREAD = np.random.default_rng(0).integers(50, 80, (20, 2))


def test_a_gain_in_every_image_is_real_and_one_in_half_of_them_is_chance():
    everywhere = compare(scores(SPREAD), scores(SPREAD + 2))
    assert everywhere.is_real and everywhere.difference.low[-1] > 0
    by_turns = compare(scores(SPREAD), scores(SPREAD + np.where(np.arange(20) % 2, 7, -7)[:, None]))
    assert by_turns.is_real is False and by_turns.difference.low[-1] < 0 < by_turns.difference.high[-1]


def test_images_are_matched_by_name_and_the_one_that_moved_most_comes_first():
    moved = SPREAD.copy()
    moved[7] -= 40
    comparison = compare(scores(SPREAD), scores(moved[::-1], NAMES[::-1]))
    name, change = comparison.moved[0]
    assert name == "image 07"
    assert change == pytest.approx(np.mean(moved[7] / (200 - moved[7])) - np.mean(SPREAD[7] / (200 - SPREAD[7])))
    assert comparison.moved[1][1] == 0


def test_few_images_say_nothing():
    few = scores(SPREAD[:5], NAMES[:5])
    assert compare(few, few).is_real is None


def test_the_table_names_each_difference():
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(comparison_table(compare(scores(SPREAD), scores(SPREAD + (2, 0)))))
    rows = [line for line in console.export_text().splitlines() if " a " in line or " b " in line]
    assert "+" in rows[0] and "< 0.1 %" in rows[0]
    assert "+0.00 to +0.00" in rows[1] and "100.0 %" in rows[1]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (scores(SPREAD, classes=("a", "c")), "different classes: 'a', 'b', and 'a', 'c'"),
        (scores(SPREAD[1:], NAMES[1:]), "one has 'image 00' alone"),
        (replace(scores(SPREAD), images=None), "can't be compared; take what segdla.evaluate returns"),
    ],
)
def test_unlike_things_are_refused(other, message):
    with pytest.raises(UserError, match=message):
        compare(scores(SPREAD), other)


def test_labels_that_changed_are_named():
    images = scores(SPREAD).images
    truth = images.truth.copy()
    truth[3] += 1
    with pytest.raises(UserError, match="the labels of 'image 03' changed"):
        compare(scores(SPREAD), replace(scores(SPREAD), images=replace(images, truth=truth)))
