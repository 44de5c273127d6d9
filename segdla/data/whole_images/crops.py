"""Crops of images that are labelled as a whole: drawn at random for training, from the centre for evaluation."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from segdla.data.paste import Pair
from segdla.data.transforms import TrainingTransform, colored

_DRAWS = 10  # of a rectangle that may not fit into the image


class RandomResizedCrop(TrainingTransform):
    """Cut out a random rectangle, scale it to ``crop`` and change its colours (Szegedy et al., Inception, 2014).

    area, ratio: smallest and largest share of the image's area, and ratio of width to height, of the rectangle; it is
    drawn as torchvision draws it. The other parameters are ``TrainingTransform``'s.
    """

    def __init__(
        self,
        crop: tuple[int, int],
        area: tuple[float, float],
        ratio: tuple[float, float],
        flip: float,
        jitter: float,
        extra: Sequence[Mapping[str, Mapping[str, Any] | None]] = (),
    ):
        super().__init__(crop, (1, 1), 0, flip, jitter, extra=extra)
        self.area, self.ratio, self.flip = area, ratio, flip

    def __call__(self, image: np.ndarray, target: np.ndarray, seed: int) -> Pair:
        draw = random.Random(seed)
        top, left, height, width = self.rectangle((image.shape[0], image.shape[1]), draw)
        part = image[top : top + height, left : left + width]
        shrinks = height * width > self.crop[0] * self.crop[1]
        part = cv2.resize(part, self.crop[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        image = cv2.flip(part, 1) if draw.random() < self.flip else part
        if self.jitter:
            image = colored(image, *(draw.uniform(1 - self.jitter, 1 + self.jitter) for _ in range(3)))
        if self.extra is not None:
            image, _ = self._with_extra(self.extra, image, np.zeros(self.crop, np.uint8), seed)
        return image, target

    def rectangle(self, size: tuple[int, int], draw: random.Random) -> tuple[int, int, int, int]:
        """Return the (top, left, height, width) of a rectangle in an image of (height, width).

        If none of ten fits, it is the largest one in the centre whose ratio is allowed.
        """
        height, width = size
        low, high = map(math.log, self.ratio)
        for _ in range(_DRAWS):
            pixels, ratio = height * width * draw.uniform(*self.area), math.exp(draw.uniform(low, high))
            h, w = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
            if 0 < h <= height and 0 < w <= width:
                return draw.randint(0, height - h), draw.randint(0, width - w), h, w
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        h, w = max(1, min(height, round(width / ratio))), max(1, min(width, round(height * ratio)))
        return (height - h) // 2, (width - w) // 2, h, w


class CentreCrop:
    """Scale an image's shorter side to ``resize``, and cut ``crop`` out of its centre, as torchvision does."""

    def __init__(self, crop: tuple[int, int], resize: int, interpolation: str):
        self.crop, self.resize = crop, resize
        self.resample = Image.Resampling[interpolation.upper()]

    def __call__(self, image: np.ndarray, target: np.ndarray, seed: int = 0) -> Pair:
        height, width = image.shape[:2]
        shorter = min(height, width)
        rows, columns = (self.resize * side // shorter for side in (height, width))
        scaled = np.asarray(Image.fromarray(image).resize((columns, rows), self.resample))
        top, left = (round((side - part) / 2) for side, part in zip(scaled.shape[:2], self.crop, strict=True))
        return np.ascontiguousarray(scaled[top : top + self.crop[0], left : left + self.crop[1]]), target
