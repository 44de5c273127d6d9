"""How often each class occurs, and the loss weights that two papers make of it."""

import os
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from segdla.data.dataset import Source
from segdla.errors import UserError


def count_pixels(
    source: Source,
    progress: Callable[[Collection[Future]], Iterable[Future]] = iter,
    left_out: Callable[[UserError], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of each class, and all pixels of the images in which it occurs: two int64 (C,).

    Reads every mask, in threads; ``progress`` wraps what is waited for, one item a mask. The UserError of one
    that can't be read is told to ``left_out``, or raised where there is none.
    """
    num_classes = len(source.classes)
    pixels, present = np.zeros((2, num_classes), np.int64)
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for counted in progress([pool.submit(_count, source, index) for index in range(len(source))]):
            try:
                counts = counted.result()
            except UserError as error:
                if left_out is None:
                    raise
                left_out(error)
                continue
            here = counts[:num_classes]
            pixels += here
            present += np.where(here > 0, counts.sum(), 0)
    finally:
        pool.shutdown(cancel_futures=True)
    return pixels, present


def _count(source: Source, index: int) -> np.ndarray:
    return np.bincount(source.target(index).ravel(), minlength=256)


def median_frequency_weights(pixels: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Median of the classes' frequencies over each one's own: float64 (C,), 0 for a class without pixels.

    A class's frequency is its ``pixels`` over ``present``, all pixels of the images in which it occurs (Eigen and
    Fergus, ICCV 2015).
    """
    weights = np.zeros(len(pixels))
    found = pixels > 0
    frequency = pixels[found] / present[found]
    if len(frequency):
        weights[found] = np.median(frequency) / frequency
    return weights


def enet_weights(pixels: np.ndarray) -> np.ndarray:
    """1 / ln(1.02 + share of the labelled pixels): float64 (C,), 0 for a class without pixels.

    Bounded, from 1.4 for the only class to 50 for one that hardly occurs (Paszke et al., ENet, 2016).
    """
    share = pixels / max(1, pixels.sum())
    return np.where(pixels > 0, 1 / np.log(1.02 + share), 0.0)
