"""More out of few images: parts of one pasted over another."""

import random
from collections.abc import Callable

import cv2
import numpy as np

from segdla.data.dataset import IGNORE_INDEX

Pair = tuple[np.ndarray, np.ndarray]  # an image (H,W,3) and its target (H,W)


class Paste:
    """``paste(pair, another, seed)``: with some probability, half of another crop's classes are pasted over this one.

    ClassMix (Olsson et al., WACV 2021), with true labels; what is ignored there is not pasted. ``another`` gives the
    crop of the training image at a place in 0..1. The pair is changed in place, and returned.
    """

    def __init__(self, probability: float):
        self.probability = probability

    def __call__(self, pair: Pair, another: Callable[[float], Pair], seed: int) -> Pair:
        draw = random.Random(seed)
        if draw.random() >= self.probability:
            return pair
        image, target = another(draw.random())
        classes = np.flatnonzero(np.bincount(target.ravel(), minlength=256)[:IGNORE_INDEX]).tolist()
        chosen = np.zeros(256, np.uint8)
        chosen[draw.sample(classes, (len(classes) + 1) // 2)] = 1
        mask = cv2.LUT(target, chosen)
        return cv2.copyTo(image, mask, pair[0]), cv2.copyTo(target, mask, pair[1])
