"""The images and confusions that a report shows: the worst."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segdla.evaluation.image_counts import ImageCounts

_MOST_OF_A_CLASS = 4
_MOST_OF_CLASSES = 100  # pictures of all classes together


@dataclass(frozen=True)
class Confusion:
    """Pixels of a class that are predicted as another: their share of the class, and of all wrong pixels."""

    truth: int
    predicted: int
    pixels: int
    share: float
    share_of_errors: float


def worst_confusions(matrix: np.ndarray, most: int = 5) -> list[Confusion]:
    """Return the confusions that take the largest shares of their true class, from a matrix (C,C) of counts."""
    shares = row_shares(matrix)
    wrong = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    order = np.argsort(-np.where(wrong > 0, shares, 0), axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(matrix)) for place in order]
    return [
        Confusion(truth, predicted, int(wrong[truth, predicted]), float(shares[truth, predicted]), part)
        for truth, predicted in pairs
        if (part := float(wrong[truth, predicted] / max(1, wrong.sum()))) > 0
    ]


def row_shares(matrix: np.ndarray) -> np.ndarray:
    """Return the matrix with each row divided by its sum; zeros for a class that is nowhere."""
    return matrix / np.maximum(1, matrix.sum(1, keepdims=True))


def shown_classes(matrix: np.ndarray, most: int) -> list[int]:
    """Return the classes, at most so many, that have the most wrong pixels, in their own order."""
    wrong = matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal()
    return sorted(np.argsort(-wrong, kind="stable")[:most].tolist())


def worst_images(counts: ImageCounts, most: int) -> list[str]:
    """Return the names of the images of lowest mean IoU, the lowest first; those without a label are left out."""
    mean_iou = counts.mean_iou
    order = np.argsort(mean_iou, kind="stable")[:most]  # NaN comes last
    return [counts.names[place] for place in order if not np.isnan(mean_iou[place])]


def worst_images_of_classes(counts: ImageCounts) -> list[list[str]]:
    """Return, for each class, the names of the images with the most of its pixels missed or falsely found."""
    wrong = counts.truth + counts.predicted - 2 * counts.hits  # (N,C)
    most = max(1, min(_MOST_OF_A_CLASS, _MOST_OF_CLASSES // wrong.shape[1]))
    order = np.argsort(-wrong, axis=0, kind="stable")[:most]
    return [[counts.names[n] for n in order[:, c] if wrong[n, c] > 0] for c in range(wrong.shape[1])]


def wrong_share(counts: ImageCounts, place: int) -> float:
    """Return the share of an image's labelled pixels that are wrong; NaN if there are none."""
    labelled = int(counts.truth[place].sum())
    return (labelled - int(counts.hits[place].sum())) / labelled if labelled else float("nan")


def united(*lists: Sequence[str]) -> list[str]:
    """Return the names in any of the lists, once each."""
    return list(dict.fromkeys(name for names in lists for name in names))
