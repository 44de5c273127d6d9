import numpy as np
import pytest

from segdla.data.class_weights import count_pixels, enet_weights, median_frequency_weights
from segdla.data.source import Classes, Source
from segdla.errors import UserError


class ThreeMasks(Source):
    """Masks of 8, 4 and 4 pixels; class 2 never occurs."""

    classes = Classes(("a", "b", "never"), ((0, 0, 0),) * 3)
    masks = ([[0, 0, 0, 0], [0, 0, 1, 255]], [[0, 0], [0, 255]], [[255, 255], [255, 255]])

    def __len__(self):
        return 3

    def name(self, index):
        return str(index)

    def read(self, index):
        raise AssertionError("only masks are counted")

    def target(self, index):
        return np.array(self.masks[index], np.uint8)


def test_pixels_and_the_images_they_are_in():
    pixels, present = count_pixels(ThreeMasks())
    np.testing.assert_array_equal(pixels, [9, 1, 0])
    np.testing.assert_array_equal(present, [12, 8, 0])  # a is in the first two, b in the first
    assert pixels.dtype == present.dtype == np.int64


def test_progress_sees_every_mask():
    futures = []
    count_pixels(ThreeMasks(), lambda items: (futures.append(item) or item for item in items))
    assert len(futures) == 3


class OneBroken(ThreeMasks):
    def target(self, index):
        if index == 1:
            raise UserError("mask 1 is broken")
        return super().target(index)


def test_a_broken_mask_is_an_error_or_left_out_and_reported():
    with pytest.raises(UserError, match="mask 1 is broken"):
        count_pixels(OneBroken())
    errors = []
    pixels, present = count_pixels(OneBroken(), left_out=errors.append)
    assert [str(error) for error in errors] == ["mask 1 is broken"]
    np.testing.assert_array_equal(pixels, [6, 1, 0])
    np.testing.assert_array_equal(present, [8, 8, 0])


def test_median_frequency_by_hand():
    # Frequencies 9/12 and 1/8, their median 7/16.
    weights = median_frequency_weights(np.array([9, 1, 0]), np.array([12, 8, 0]))
    np.testing.assert_allclose(weights, [7 / 12, 7 / 2, 0])


def test_enet_by_hand():
    weights = enet_weights(np.array([9, 1, 0]))
    np.testing.assert_allclose(weights, [1 / np.log(1.92), 1 / np.log(1.12), 0])


@pytest.mark.parametrize("weights", [median_frequency_weights, lambda pixels, present: enet_weights(pixels)])
def test_a_set_without_a_labelled_pixel_weighs_nothing(weights):
    np.testing.assert_array_equal(weights(np.zeros(3, np.int64), np.zeros(3, np.int64)), np.zeros(3))
