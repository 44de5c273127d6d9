"""Classes told from the values that blurring leaves at their edges."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from segdla.data.labels import unpacked_color
from segdla.errors import UserError

_RARE = 0.03  # of the pixels; a value with more is a class
_INNER = 0.1  # of a value's pixels; if more of them lie among their like, it is a class
_MOST_EDGE = 0.25  # of the pixels; more are no edges
_WHITE = 255
_EVEN = 1  # levels that a step or a mixture may be off

_SQUARE = np.ones((3, 3), np.uint8)


def inner_pixels(mask: np.ndarray) -> np.ndarray:
    """Return where (H,W) a mask, (H,W) or (H,W,3), has the same value in a pixel and all pixels around it."""
    same = cv2.erode(mask, _SQUARE) == cv2.dilate(mask, _SQUARE)
    return same if mask.ndim == 2 else same.all(2)


def are_even_greys(values: Sequence[int]) -> bool:
    """Return whether values, in order, are greys from black to white in even steps, such as 0, 128 and 255."""
    steps = len(values) - 1
    if steps < 1 or (values[0], values[-1]) != (0, _WHITE):
        return False
    return all(abs(steps * value - _WHITE * i) <= steps * _EVEN for i, value in enumerate(values))


def require_no_blur(values: Mapping[int, int], inner: Mapping[int, int], are_greys: bool) -> None:
    """Raise UserError if some of the values are those of blurred edges.

    values: pixels of each grey, id or packed colour; inner: those of them that lie among their like. An edge's values
    are rare, hardly any of their pixels lie inside, and they are between those of two classes. They are told if they
    outnumber the classes, or if the classes are even greys and one is in the brighter half, where ids don't reach.
    """
    total = sum(values.values())
    rare = {
        value
        for value, pixels in values.items()
        if pixels < _RARE * total and inner.get(value, 0) < _INNER * pixels and not (are_greys and value in (0, _WHITE))
    }
    classes = sorted(values.keys() - rare)
    edges = {value for value in rare if _is_between(value, classes, are_greys)}
    share = sum(values[value] for value in edges) / total
    if share >= _MOST_EDGE:
        return
    if are_greys and are_even_greys(classes) and any(value > _WHITE // 2 for value in edges):
        are, remedy = ("black and white (0 and 255)", "of two values, thresholded at 128")
        if len(classes) > 2:
            are, remedy = f"of the greys {classes}", "of these alone, each pixel having the nearest"
        raise UserError(
            f"the masks are {are}, but for {100 * share:.2g} % of the pixels, of values between such as {max(edges)}: "
            f"blurred edges? Make PNGs {remedy}"
        )
    if len(edges) > len(classes):
        raise UserError(
            f"{len(edges)} of the masks' {len(values)} values are in {100 * share:.2g} % of the pixels, at edges of "
            "the others: blurred edges? Save the masks as PNGs, without smoothing, and resize them by the nearest "
            "neighbour alone; if they are classes, write the config by hand (docs/your_data.md)"
        )


def _is_between(value: int, classes: Sequence[int], are_greys: bool) -> bool:
    """Return whether a colour, or a grey, is a mixture of those of two classes."""
    colors = [(one,) if are_greys else unpacked_color(one) for one in (value, *classes)]
    point, ends = np.split(np.array(colors, float), [1])
    first, second = (ends[index] for index in np.triu_indices(len(ends), 1))
    way = second - first
    share = ((point - first) * way).sum(1) / np.maximum((way**2).sum(1), 1)
    off = np.abs(point - first - share[:, None] * way).max(1)
    return bool(((share > 0) & (share < 1) & (off <= _EVEN)).any())
