from collections import Counter

import cv2
import numpy as np
import pytest

from segdla.data.labels import packed_colors
from segdla.doctor.blur import are_even_greys, inner_pixels, require_no_blur
from segdla.errors import UserError


def blobs(*colors, size=96):
    """A mask of as many values as there are colours, in large round shapes."""
    noise = np.random.default_rng(0).random((size, size)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 8)
    ranks = noise.ravel().argsort().argsort().reshape(noise.shape) * len(colors) // noise.size
    return np.array(colors, np.uint8)[ranks]


def require(mask, are_greys=True):
    ids = packed_colors(mask) if mask.ndim == 3 else mask
    require_no_blur(Counter(ids.ravel().tolist()), Counter(ids[inner_pixels(mask)].tolist()), are_greys)


def blurred(mask):
    """A mask that was resized as photos are."""
    return cv2.resize(mask, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def test_inner_pixels_have_their_like_around_them():
    mask = np.zeros((5, 6), np.uint8)
    mask[:, 3:] = 1
    expected = np.ones((5, 6), bool)
    expected[:, 2:4] = False
    np.testing.assert_array_equal(inner_pixels(mask), expected)
    np.testing.assert_array_equal(inner_pixels(np.dstack([mask, 0 * mask, mask])), expected)
    np.testing.assert_array_equal(inner_pixels(mask.astype(np.uint16) * 1000), expected)


@pytest.mark.parametrize(
    ("values", "are_even"),
    [((0, 255), True), ((0, 127, 255), True), ((0, 128, 255), True), ((0, 85, 170, 255), True), ((0, 1, 255), False),
     ((1, 255), False), ((255,), False), ((0, 126, 255), False), ((0, 64, 128, 191, 255), True), ((0, 1, 2), False)],
)  # fmt: skip
def test_even_greys(values, are_even):
    assert are_even_greys(values) == are_even


@pytest.mark.parametrize("colors", [(0, 255), (0, 128, 255), (0, 1, 2, 255), (3, 90, 200)])
def test_masks_of_sharp_edges_pass(colors):
    require(blobs(*colors))


@pytest.mark.parametrize(
    ("colors", "words"),
    [
        ((0, 255), r"the masks are black and white \(0 and 255\), but for .* thresholded at 128"),
        ((0, 128, 255), r"the masks are of the greys \[0, 128, 255\], but for .* each pixel having the nearest"),
        ((10, 90, 250), r"of the masks' \d+ values are in .* at edges of the others: blurred edges\?"),
    ],
)
def test_masks_of_blurred_edges_do_not(colors, words):
    with pytest.raises(UserError, match=words):
        require(blurred(blobs(*colors)))


def test_blended_colours_do_not_either():
    mask = blobs((0, 0, 0), (200, 0, 0), (0, 0, 180))
    require(mask, are_greys=False)
    with pytest.raises(
        UserError, match=r"at edges of the others: blurred edges\? Save the masks as PNGs, without smoo"
    ):
        require(blurred(mask), are_greys=False)


def test_a_few_thin_classes_are_no_edges():
    mask = blobs(0, 1, 2)
    for number in range(3):
        mask[10 * number + 20, :] = 3 + number
    require(mask)
    mask[50] = np.arange(96) % 5 + 10  # more than there are classes, but none is between two of them
    require(mask)
