"""Labels that belong elsewhere in their image: shifted, mirrored or turned, or with two classes exchanged.

Each is a test of one image's labels against what a trained network sees there. It is passed only by a change that
makes them agree much better, since a network is not always right either.
"""

from typing import NamedTuple

import cv2
import numpy as np

_COARSE = 96  # pixels of the longer side, on which all shifts are tried
_FARTHEST = 0.4  # of a side
_NEAR = (0, -1, 1, -2, 2)  # steps around the best shift so far, which stays if others are as good
_GAIN = 0.1  # of the pixels, that agree better
_AGREEING = 0.6  # of the pixels, at least, after the change
_EXCHANGED = 0.5  # of either class's pixels
_SMALLEST = 0.002  # of the image: a class of fewer pixels is not judged


class Shift(NamedTuple):
    """How far the labels lie from where they belong: ``down`` and ``right`` in pixels, negative for up and left.

    ``before`` and ``after`` are the shares of labelled pixels that agree with the network as they are and moved back.
    """

    down: int
    right: int
    before: float
    after: float


class Turn(NamedTuple):
    """What was done to the labels: ``mirrored``, ``upside down`` or ``turned by 180 degrees``; shares as in Shift."""

    name: str
    before: float
    after: float


TURNS = {"mirrored": (slice(None), slice(None, None, -1)), "upside down": (slice(None, None, -1), slice(None))}
TURNS["turned by 180 degrees"] = (slice(None, None, -1), slice(None, None, -1))


def agreement(target: np.ndarray, class_ids: np.ndarray, num_classes: int) -> float:
    """Return the share of labelled pixels whose class the network sees too; 0 if none is labelled."""
    labelled = target < num_classes
    return int(((target == class_ids) & labelled).sum()) / max(1, int(labelled.sum()))


def find_turn(target: np.ndarray, class_ids: np.ndarray, num_classes: int) -> Turn | None:
    """Return how the labels were mirrored or turned, if undoing that makes them agree much better."""
    before = agreement(target, class_ids, num_classes)
    shares = {name: agreement(target[turn], class_ids, num_classes) for name, turn in TURNS.items()}
    name = max(shares, key=shares.__getitem__)
    return Turn(name, before, shares[name]) if _is_much_better(before, shares[name]) else None


def find_shift(target: np.ndarray, class_ids: np.ndarray, num_classes: int) -> Shift | None:
    """Return how far the labels were shifted, if moving them back makes them agree much better.

    All shifts of up to two fifths of the image are tried at low resolution, by correlation; the best is then refined,
    pixel by pixel.
    """
    before = agreement(target, class_ids, num_classes)
    step = max(1, max(target.shape) // _COARSE)
    rows, columns = (slice(min(step, side) // 2, None, step) for side in target.shape)
    coarse = _best_coarse_shift(target[rows, columns], class_ids[rows, columns], num_classes)
    down, right = (step * shift for shift in coarse)
    after = _moved_back(target, class_ids, (down, right), num_classes)
    while step > 1 and _is_much_better(before, after):
        step = max(1, step // 2)
        near = [(down + y * step, right + x * step) for y in _NEAR for x in _NEAR]
        shares = {shift: _moved_back(target, class_ids, shift, num_classes) for shift in near}
        down, right = max(shares, key=shares.__getitem__)
        after = shares[down, right]
    return Shift(down, right, before, after) if (down or right) and _is_much_better(before, after) else None


def find_exchanged(target: np.ndarray, suggested: np.ndarray, num_classes: int) -> list[tuple[int, int]]:
    """Return the pairs of classes each of which mostly looks like the other; ``suggested`` (H,W) is 255 elsewhere."""
    places = (target < num_classes) & (suggested < num_classes)
    pairs = target[places].astype(np.intp) * num_classes + suggested[places]
    counts = np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    pixels = np.bincount(target.ravel(), minlength=256)[:num_classes]
    mostly = (counts > _EXCHANGED * pixels[:, None]) & (pixels[:, None] > _SMALLEST * target.size)
    first, second = np.nonzero(np.triu(mostly & mostly.T, 1))
    return list(zip(first.tolist(), second.tolist(), strict=True))


def _is_much_better(before: float, after: float) -> bool:
    return after >= before + _GAIN and after >= _AGREEING


def _moved_back(target: np.ndarray, class_ids: np.ndarray, shift: tuple[int, int], num_classes: int) -> float:
    """Return the agreement over the pixels that labels moved back and image have in common."""
    labels, seen = target, class_ids
    for axis, distance in enumerate(shift):
        length = target.shape[axis]
        here, there = (
            slice(max(0, distance), max(0, length + min(0, distance))),  # empty if nothing is in common
            slice(max(0, -distance), max(0, length - max(0, distance))),
        )
        labels, seen = (labels[here], seen[there]) if axis == 0 else (labels[:, here], seen[:, there])
    return agreement(labels, seen, num_classes)


def _best_coarse_shift(target: np.ndarray, class_ids: np.ndarray, num_classes: int) -> tuple[int, int]:
    """Return the shift (down, right) after which the labels agree best, over the pixels that both have."""
    height, width = target.shape
    size = [cv2.getOptimalDFTSize(2 * side) for side in (height, width)]

    def transformed(mask: np.ndarray) -> np.ndarray:
        return np.fft.rfft2(mask.astype(np.float32), size)

    product = sum(
        transformed(target == class_id) * transformed(class_ids == class_id).conj() for class_id in range(num_classes)
    )
    labelled = transformed(target < num_classes) * transformed(np.ones_like(target)).conj()
    hits, pixels = (np.fft.irfft2(values, size) for values in (product, labelled))
    rows, columns = (_shifts(side, length) for side, length in zip((height, width), size, strict=True))
    shares = hits[np.ix_(rows, columns)] / np.maximum(pixels[np.ix_(rows, columns)], 1)
    row, column = np.unravel_index(shares.argmax(), shares.shape)
    return int(rows[row]), int(columns[column])


def _shifts(side: int, length: int) -> np.ndarray:
    """Return the shifts to try along an axis; negative ones index the end of a cyclic correlation."""
    farthest = int(_FARTHEST * side)
    assert farthest + side <= length
    return np.arange(-farthest, farthest + 1)
