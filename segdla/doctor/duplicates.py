"""Near duplicates: images reduced to short fingerprints, which are compared all with all."""

from collections.abc import Iterator

import cv2
import numpy as np

NEARLY_SURE = 0.85
"""Similarity above which two images are one picture, such as two files of it or two frames of a standing camera."""
_NEAR = 0.6
# Measured: images that have nothing but a frame in common are below 0.56 (20 to 40 drawn eyes), 0.43 (drawn scans) and
# 0.34 (CamVid's streets of different drives). The same image compressed, at half the size, darker or of another gamma
# is above 0.89, and with 2 % cut off above 0.65.
_SIDE = 16
_LEAST_DIFFERENT = 0.1  # share of a fingerprint that is never taken for what all images have in common
_ROWS = 1024  # compared at once with all


def fingerprint(image: np.ndarray) -> np.ndarray:
    """Return an image's (H,W,3) coarse gradients, by their square roots: a vector of length 1, or 0 if it has none.

    Brightness, contrast, size and compression hardly change it. The square root keeps a few strong edges, such as the
    border of a microscope's field, from outweighing all others.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE + 1, _SIDE + 1), interpolation=cv2.INTER_AREA).astype(np.float32)
    gradients = np.stack([small[:-1, 1:] - small[:-1, :-1], small[1:, :-1] - small[:-1, :-1]]).ravel()
    return _unit(np.sign(gradients) * np.sqrt(np.abs(gradients)))


def deviations(fingerprints: np.ndarray) -> np.ndarray:
    """Return unit vectors (N,D) of that in which each fingerprint of a set differs from the set's mean.

    The dot product of two is the similarity of their images. If all images are nearly the same, a tenth of them counts
    as a difference, so that they stay similar. Fingerprints of 0 stay 0.
    """
    is_image = fingerprints.any(1, keepdims=True)
    number = int(is_image.sum())
    if number < 2:
        return fingerprints
    mean = fingerprints.sum(0) / number
    alike = float((number * mean @ mean - 1) / (number - 1))  # the mean similarity of two fingerprints
    lacking = _LEAST_DIFFERENT - (1 - alike)
    kept = np.sqrt(lacking / alike) if lacking > 0 else 0.0
    return _unit((fingerprints - (1 - kept) * mean) * is_image)


def near_groups(vectors: np.ndarray) -> list[np.ndarray]:
    """Return groups of indices in which each is a near duplicate of another. ``vectors`` (N,D) are ``deviations``."""
    group = np.arange(len(vectors))
    for first, similarity in _similarities(vectors):
        for row, near in enumerate(similarity > _NEAR):
            labels = np.unique(np.append(group[near], group[first + row]))
            if len(labels) > 1:
                group[np.isin(group, labels)] = labels[0]
    return [np.flatnonzero(group == label) for label in np.flatnonzero(np.bincount(group, minlength=1) > 1)]


def nearest_before(vectors: np.ndarray, part: np.ndarray) -> list[tuple[int, int, float]]:
    """Return (index, nearest index, similarity) of images that have a near duplicate in an earlier part.

    ``vectors`` (N,D) are ``deviations``; ``part`` (N,) numbers the part that each image is in.
    """
    nearest_ones = []
    for first, similarity in _similarities(vectors):
        rows = np.arange(first, first + len(similarity))
        similarity = np.where(part[None, :] < part[rows, None], similarity, -1)
        nearest = similarity.argmax(1)
        for row in np.flatnonzero(similarity.max(1) > _NEAR):
            nearest_ones.append((int(rows[row]), int(nearest[row]), float(similarity[row, nearest[row]])))
    return nearest_ones


def _similarities(vectors: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield blocks of rows of the matrix of all similarities, 0 on its diagonal, each with its first row's number."""
    for first in range(0, len(vectors), _ROWS):
        block = vectors[first : first + _ROWS] @ vectors.T
        block[np.arange(len(block)), first + np.arange(len(block))] = 0
        yield first, block


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (...,D) of length 1; those of nearly no length as 0."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length > 1e-4, vectors / np.maximum(length, 1e-4), 0).astype(np.float32)
