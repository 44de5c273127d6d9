"""Label errors: regions where a trained network is confidently elsewhere than the labels.

This is confident learning (Northcutt et al., JAIR 2021; for masks Lad and Mueller, 2023), streamed: a class's threshold
is the network's mean probability of it over the pixels that are labelled so, and a pixel whose probability of another
class reaches that class's threshold is suspect. Probabilities come as bytes (C,H,W), in steps of 1/255: what is kept
of an image are its regions, never its probabilities.
"""

import zlib
from math import hypot, sqrt
from typing import NamedTuple

import cv2
import numpy as np

_LOG = np.log(np.maximum(np.arange(256), 1) / 255).astype(np.float32)
_NONE = 255
_THIN = 0.003  # of the diagonal: strips along outlines as narrow as that to either side are no regions


class SuspectRegion(NamedTuple):
    """A connected region that is labelled as one class and looks like another; ``box`` is (left, top, width, height).

    ``given`` is the class that most of its pixels are labelled as. ``confidence`` is the mean probability of the class
    that it looks like, ``doubt`` that of the classes it is labelled as. ``score`` ranks regions of all images.
    ``packed`` holds the pixels inside of the box, compressed, since thousands of regions are kept.
    """

    box: tuple[int, int, int, int]
    given: int
    suggested: int
    pixels: int
    confidence: float
    doubt: float
    score: float
    packed: bytes

    @property
    def mask(self) -> np.ndarray:
        """Which pixels of the box (height,width) belong to the region."""
        width, height = self.box[2:]
        bits = np.frombuffer(zlib.decompress(self.packed), np.uint8)
        return np.unpackbits(bits, count=width * height).reshape(height, width).astype(bool)


def packed(mask: np.ndarray) -> bytes:
    """Return a mask (H,W) as a region keeps it."""
    return zlib.compress(np.packbits(mask).tobytes(), 1)


class Suspects(NamedTuple):
    """The suspect pixels of an image: where they are, the class that each looks like, and its probability in bytes."""

    where: np.ndarray  # (H,W) bool
    class_ids: np.ndarray  # (H,W) uint8
    levels: np.ndarray  # (H,W) uint8


class Habits:
    """The network's habits on a set of images: how sure it is of each class, and the classes that it confuses."""

    def __init__(self, num_classes: int):
        self.num_classes = num_classes
        self.sums = np.zeros(num_classes)
        self.confusion = np.zeros((num_classes, num_classes), np.int64)  # rows are the labels

    def add(self, levels: np.ndarray, target: np.ndarray) -> None:
        """Take in an image's probabilities (C,H,W), in bytes, and its labels (H,W)."""
        classes = self.num_classes
        labelled = target < classes
        labels = target[labelled].astype(np.intp)
        self.sums += np.bincount(labels, own_levels(levels, target)[labelled], classes)
        pairs = labels * classes + levels.argmax(0)[labelled]
        self.confusion += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    @property
    def thresholds(self) -> np.ndarray:
        """The mean probability (C) of each class where it is labelled, in bytes; of one that is nowhere, the mean."""
        pixels = self.confusion.sum(1)
        means = self.sums / np.maximum(pixels, 1)
        return np.where(pixels > 0, means, means[pixels > 0].mean() if pixels.any() else _NONE)

    @property
    def surprise(self) -> np.ndarray:
        """How unusual it is (C,C) that the network calls a class as another: by both shares, on the scale of logs.

        A street network calls much pavement road, and no car sky: there, the label is the likelier error.
        """
        counts = self.confusion + 1.0
        of_truth, of_predicted = (counts / counts.sum(axis, keepdims=True) for axis in (1, 0))
        return (np.log(of_truth) * np.log(of_predicted)).astype(np.float32)


def own_levels(levels: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the probability (H,W), in bytes, of the class that each pixel is labelled as; 0 where it is ignored."""
    own = np.zeros(target.shape, np.uint8)
    for class_id, plane in enumerate(levels):
        cv2.copyTo(plane, (target == class_id).view(np.uint8), own)
    return own


def find_suspects(levels: np.ndarray, target: np.ndarray, thresholds: np.ndarray) -> Suspects:
    """Return the pixels whose most probable class, of those that reach their thresholds, is not the labelled one."""
    best = np.zeros(target.shape, np.uint8)
    class_ids = np.full(target.shape, _NONE, np.uint8)
    for class_id, (plane, threshold) in enumerate(zip(levels, thresholds, strict=True)):
        better = ((plane >= threshold) & (plane > best)).view(np.uint8)
        cv2.copyTo(plane, better, best)
        cv2.copyTo(np.full_like(plane, class_id), better, class_ids)
    return Suspects((target < len(levels)) & (class_ids != _NONE) & (class_ids != target), class_ids, best)


def find_regions(
    levels: np.ndarray, target: np.ndarray, suspects: Suspects, surprise: np.ndarray
) -> list[SuspectRegion]:
    """Return the connected regions of suspect pixels that look like one class, by falling score.

    A region's score is its side, as a share of the image's, times the mean strength of its pixels: the logarithm by
    which the class that a pixel looks like is more probable than the labelled one, times the ``surprise`` of the pair.
    """
    height, width = target.shape
    own = own_levels(levels, target)
    side = 2 * max(1, round(_THIN * hypot(height, width))) + 1
    regions = []
    for class_id in np.unique(suspects.class_ids[suspects.where]).tolist():
        mask = (suspects.where & (suspects.class_ids == class_id)).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        if count == 1:
            continue
        inside = np.nonzero(mask)
        of_region, given = labels[inside], target[inside]
        confidence, doubt = suspects.levels[inside], own[inside]
        strength = np.maximum(_LOG[confidence] - _LOG[doubt], 0) * surprise[given, class_id]
        sums = [np.bincount(of_region, values, count) for values in (strength, confidence, doubt)]
        votes = np.bincount(of_region * 256 + given, minlength=256 * count).reshape(count, 256)
        for region in range(1, count):
            left, top, wide, high, pixels = stats[region].tolist()
            total, sure, own_sum = (float(values[region]) for values in sums)
            score = total / pixels * sqrt(pixels / target.size)
            share = sure / 255 / pixels, own_sum / 255 / pixels
            inner = packed(labels[top : top + high, left : left + wide] == region)
            classes = int(votes[region].argmax()), class_id
            regions.append(SuspectRegion((left, top, wide, high), *classes, pixels, *share, score, inner))
    return sorted(regions, key=lambda region: -region.score)


def image_score(regions: list[SuspectRegion]) -> float:
    """Return an image's score: the root of the sum of its regions' squares, so that a large error is not outvoted."""
    return sqrt(sum(region.score**2 for region in regions))
