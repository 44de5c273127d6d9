"""Facts about images: what the doctor compares and sums up of each, so that the images need not stay in memory."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from segdla.doctor.duplicates import deviations, fingerprint, near_groups


class ImageFacts(NamedTuple):
    """The facts of one image."""

    size: tuple[int, int]  # (height, width)
    mean: np.ndarray  # (3,) RGB, of 255
    std: np.ndarray  # (3,), alike
    fingerprint: np.ndarray

    @property
    def square(self) -> np.ndarray:
        """The mean (3,) of the squares."""
        return self.std**2 + self.mean**2


class ImageSummary(NamedTuple):
    """The images that a config is drafted from, summed up; each counts the same."""

    size: tuple[int, int]  # medians of height and width
    mean: list[float]  # RGB, of images scaled to 0..1
    std: list[float]
    groups: list[np.ndarray]  # indices of images that are near duplicates


def look_at_image(image: np.ndarray) -> ImageFacts:
    """Return the facts of an image (H,W,3) uint8."""
    mean, std = (np.ravel(moments) for moments in cv2.meanStdDev(image))
    return ImageFacts((image.shape[0], image.shape[1]), mean, std, fingerprint(image))


def sum_up(images: Sequence[ImageFacts]) -> ImageSummary:
    """Sum up images, of which there is at least one."""
    mean = np.array([image.mean for image in images]).mean(0)
    std = np.sqrt(np.array([image.square for image in images]).mean(0) - mean**2)
    height, width = np.median([image.size for image in images], 0).astype(int).tolist()
    return ImageSummary(
        size=(height, width),
        mean=(mean / 255).round(4).tolist(),
        std=(std / 255).clip(0.01).round(4).tolist(),
        groups=near_groups(deviations(np.array([image.fingerprint for image in images]))),
    )
