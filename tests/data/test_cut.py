import random

import cv2
import numpy as np
import pytest

from segdla.data.cut import Cut
from segdla.data.labels import IGNORE_INDEX


def smooth(seed, height=240, width=300):
    return cv2.resize(np.random.default_rng(seed).integers(0, 256, (8, 10, 3), np.uint8), (width, height))


@pytest.mark.parametrize("seed", range(12))
def test_a_straight_cut_is_what_the_warp_gives(seed):
    draw, image = random.Random(seed), smooth(seed)
    scale = draw.uniform(0.6, 1.9)
    top, left = draw.randint(0, round(240 * scale) - 96), draw.randint(0, round(300 * scale) - 120)
    cut = Cut(96, 120, top, left, scale, angle=0.0, mirrored=seed % 2 == 0)
    warped = cv2.warpAffine(image, cut.matrix(), (120, 96), borderMode=cv2.BORDER_REFLECT_101)
    # It is moved by half a pixel at most, to begin at a whole one: a step of the image, which is some 8.
    difference = np.abs(cut(image).astype(int) - warped)
    assert difference.mean() < 2.5 and difference.max() < 14


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_straight_cut_around_a_smaller_image(mirrored):
    image, mask = smooth(0), smooth(1)[..., 0]
    cut = Cut(200, 220, top=-30, left=-41, scale=0.5, angle=0.0, mirrored=mirrored)
    placed = np.full((200, 220), IGNORE_INDEX, np.uint8)
    placed[30:150, 41:191] = cv2.resize(mask, (150, 120), interpolation=cv2.INTER_NEAREST_EXACT)
    np.testing.assert_array_equal(cut(mask), placed[:, ::-1] if mirrored else placed)
    warped = cv2.warpAffine(image, cut.matrix(), (220, 200), borderMode=cv2.BORDER_REFLECT_101)
    # Beyond the border it is what was scaled that is reflected, not the reflection that is scaled: half a pixel beside.
    difference = np.abs(cut(image).astype(int) - warped)
    assert difference.mean() < 2 and difference.max() < 14


@pytest.mark.parametrize("seed", range(24))
def test_a_turned_cut_is_what_the_warp_of_all_gives(seed):
    draw = random.Random(seed)
    height, width = draw.randint(3, 160), draw.randint(3, 160)  # smaller than the crop, larger, reflected many times
    image = smooth(seed, height, width)
    top, left = draw.randint(-80, 80), draw.randint(-80, 80)
    cut = Cut(96, 120, top, left, draw.uniform(0.4, 2), angle=draw.uniform(-4, 4), mirrored=seed % 2 == 0)
    warped = cv2.warpAffine(image, cut.matrix(), (120, 96), borderMode=cv2.BORDER_REFLECT_101)
    assert np.abs(cut(image).astype(int) - warped).max() <= 1
    mask = image[..., 0]
    ignored = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": IGNORE_INDEX}
    warped = cv2.warpAffine(mask, cut.matrix(), (120, 96), flags=cv2.INTER_NEAREST, **ignored)
    assert (cut(mask) != warped).mean() < 0.001  # ties of two neighbours
