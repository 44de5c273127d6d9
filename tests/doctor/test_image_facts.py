import numpy as np
import pytest
from support import photo

from segdla.doctor.image_facts import look_at_image, sum_up


def test_a_sum_by_hand():
    black, striped = np.zeros((2, 4, 3), np.uint8), np.zeros((6, 10, 3), np.uint8)
    striped[::2] = 255
    summary = sum_up([look_at_image(black), look_at_image(striped)])
    assert summary.size == (4, 7)
    assert summary.mean == [0.25] * 3  # each image counts the same: a half of a half
    assert summary.std == pytest.approx([(0.25 - 0.25**2) ** 0.5] * 3, abs=1e-4)


def test_a_constant_set_has_a_std_to_divide_by():
    assert sum_up([look_at_image(np.full((2, 2, 3), 7, np.uint8))]).std == [0.01] * 3


def test_near_duplicates_are_a_group():
    images = [photo(40, 56, number) for number in (0, 1)]
    darker = (images[0] * 0.9).astype(np.uint8)
    (group,) = sum_up([look_at_image(image) for image in (*images, darker)]).groups
    assert group.tolist() == [0, 2]
