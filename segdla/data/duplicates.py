"""Images that are the same, or nearly: what tells them is small, and compared all with all."""

from collections.abc import Iterator

import cv2
import numpy as np

_SIDE = 16
_NEAR = 0.85  # of CamVid, neighbouring frames are above 0.89 and frames of two drives below 0.61
_ROWS = 1024  # compared at once with all


def fingerprint(image: np.ndarray) -> np.ndarray:
    """The directions of an image's (H,W,3) coarse gradients, a vector of length 1; 0 for an image without any.

    The dot product of two is their similarity: brightness, contrast, size and compression hardly change it.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE + 1, _SIDE + 1), interpolation=cv2.INTER_AREA).astype(np.float32)
    gradients = np.stack([small[:-1, 1:] - small[:-1, :-1], small[1:, :-1] - small[:-1, :-1]]).ravel()
    length = np.linalg.norm(gradients)
    return gradients / length if length > 0 else gradients


def near_groups(fingerprints: np.ndarray) -> list[np.ndarray]:
    """Groups of indices in which each is a near duplicate of another. Fingerprints are (N,D)."""
    group = np.arange(len(fingerprints))
    for first, similarity in _similarities(fingerprints):
        for row, near in enumerate(similarity > _NEAR):
            joined = np.unique(np.append(group[near], group[first + row]))
            if len(joined) > 1:
                group[np.isin(group, joined)] = joined[0]
    return [np.flatnonzero(group == label) for label in np.flatnonzero(np.bincount(group, minlength=1) > 1)]


def nearest_before(fingerprints: np.ndarray, part: np.ndarray) -> list[tuple[int, int, float]]:
    """(index, nearest index, similarity) of those that have a near duplicate in an earlier part; ``part`` is (N,)."""
    found = []
    for first, similarity in _similarities(fingerprints):
        rows = np.arange(first, first + len(similarity))
        similarity = np.where(part[None, :] < part[rows, None], similarity, -1)
        nearest = similarity.argmax(1)
        for row in np.flatnonzero(similarity.max(1) > _NEAR):
            found.append((int(rows[row]), int(nearest[row]), float(similarity[row, nearest[row]])))
    return found


def _similarities(fingerprints: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of rows of the matrix of all similarities, 0 on its diagonal, each with its first row's number."""
    for first in range(0, len(fingerprints), _ROWS):
        block = fingerprints[first : first + _ROWS] @ fingerprints.T
        block[np.arange(len(block)), first + np.arange(len(block))] = 0
        yield first, block
