"""Frequencies of the classes, and the loss weights that two papers make of them."""

from collections.abc import Callable

import numpy as np

from segdla.data.files_ahead import reading_ahead
from segdla.data.source import Source
from segdla.errors import UserError
from segdla.machine.remote.storage_errors import StorageError
from segdla.machine.threads import Progress, in_threads


def count_pixels(
    source: Source,
    progress: Progress = iter,
    left_out: Callable[[UserError], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Count the pixels of each class, and all pixels of the images in which it occurs: two int64 (C,).

    Reads every mask once, in threads; ``progress`` wraps the futures that are waited for, one a mask. ``left_out`` gets
    the UserError of a mask that can't be read; without it, the error is raised.
    """
    num_classes = len(source.classes)
    class_pixels, image_pixels = np.zeros((2, num_classes), np.int64)

    def count(index: int) -> np.ndarray:
        return np.bincount(source.target(index).ravel(), minlength=256)

    indexes = source.labelled_once()
    with in_threads(reading_ahead(count, source, indexes), indexes) as futures:
        for future in progress(futures):
            try:
                counts = future.result()
            except UserError as error:
                if left_out is None or isinstance(error, StorageError):
                    raise
                left_out(error)
                continue
            labelled = source.classes.pixels(counts)
            class_pixels += labelled
            image_pixels += np.where(labelled > 0, counts.sum(), 0)
    return class_pixels, image_pixels


def median_frequency_weights(class_pixels: np.ndarray, image_pixels: np.ndarray) -> np.ndarray:
    """Return the median of the classes' frequencies over each one's own: float64 (C,), 0 for a class without pixels.

    A class's frequency is its pixels over all pixels of the images in which it occurs (Eigen and Fergus, ICCV 2015).
    """
    weights = np.zeros(len(class_pixels))
    occurs = class_pixels > 0
    frequency = class_pixels[occurs] / image_pixels[occurs]
    if len(frequency):
        weights[occurs] = np.median(frequency) / frequency
    return weights


def enet_weights(class_pixels: np.ndarray) -> np.ndarray:
    """Return 1 / ln(1.02 + share of the labelled pixels): float64 (C,), 0 for a class without pixels.

    Bounded, from 1.4 for the only class to 50 for one that hardly occurs (Paszke et al., ENet, 2016).
    """
    share = class_pixels / max(1, class_pixels.sum())
    return np.where(class_pixels > 0, 1 / np.log(1.02 + share), 0.0)
