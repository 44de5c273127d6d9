"""Get more out of few images: paste parts of one over another."""

import random
from collections.abc import Callable

import cv2
import numpy as np

from segdla.data.labels import UNLABELLED

Pair = tuple[np.ndarray, np.ndarray]
"""An image (H,W,3) and its target (H,W), both uint8."""


class Paste:
    """Paste half of another crop's classes over a crop, with some probability.

    This is ClassMix (Olsson et al., WACV 2021) with true labels. Pixels that are ignored or unlabelled in the other
    crop are not pasted.
    """

    def __init__(self, probability: float):
        self.probability = probability

    def __call__(self, pair: Pair, another: Callable[[float], Pair], seed: int) -> Pair:
        """Change a crop in place and return it; ``another`` gives the crop of the training image at a place in 0..1."""
        draw = random.Random(seed)
        if draw.random() >= self.probability:
            return pair
        image, target = another(draw.random())
        classes = np.flatnonzero(np.bincount(target.ravel(), minlength=256)[:UNLABELLED]).tolist()
        is_pasted = np.zeros(256, np.uint8)
        is_pasted[draw.sample(classes, (len(classes) + 1) // 2)] = 1
        mask = cv2.LUT(target, is_pasted)
        return cv2.copyTo(image, mask, pair[0]), cv2.copyTo(target, mask, pair[1])
