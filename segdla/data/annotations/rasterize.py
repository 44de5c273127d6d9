"""From shapes to class ids, by one rule for all formats.

A pixel belongs to a polygon if its centre does, by the even-odd rule; a centre on an outline belongs to what lies right
of it or below. So polygons that share an edge share no pixel, and leave none out between them.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from segdla.data.annotations.shapes import Patch, Ring, Shape
from segdla.data.labels import IGNORE_INDEX

_Part = tuple[Ring, ...]


class Spans(NamedTuple):
    """Runs of pixels, as positions in an image's rows laid end to end."""

    starts: np.ndarray  # (N,) int64
    ends: np.ndarray  # (N,) int64, behind the last pixel


def draw(target: np.ndarray, shapes: Sequence[Shape], ids: Mapping[str, int], smaller_on_top: bool) -> None:
    """Draw shapes into a target (H,W) uint8 by the ids of their labels, each over those before it.

    With ``smaller_on_top``, the order is by falling area instead, and equal areas keep theirs. Crowds are ignored, and
    lie below all other shapes.
    """
    size = (target.shape[0], target.shape[1])
    spans = spans_of_parts([part for shape in shapes for part in shape.parts], size)
    bounds = np.cumsum([0, *(len(shape.parts) for shape in shapes)]).tolist()
    regions = [
        (spans[a:b], None if shape.mask is None else shape.mask(size))
        for shape, a, b in zip(shapes, bounds, bounds[1:], strict=False)
    ]
    order = sorted(range(len(shapes)), key=lambda i: -_area(*regions[i])) if smaller_on_top else range(len(shapes))
    row_by_row = target.reshape(-1).data  # writing a slice of a memoryview takes half as long as one of an array
    for i in sorted(order, key=lambda i: not shapes[i].is_crowd):
        train_id = IGNORE_INDEX if shapes[i].is_crowd else ids[shapes[i].label]
        of_parts, patch = regions[i]
        fill = memoryview(bytes([train_id]) * size[1])
        for part in of_parts:
            for start, end in zip(part.starts.tolist(), part.ends.tolist(), strict=True):
                row_by_row[start:end] = fill[: end - start]
        if patch is not None:
            height, width = patch.mask.shape
            view = target[patch.top : patch.top + height, patch.left : patch.left + width]
            np.copyto(view, np.uint8(train_id), where=patch.mask)


def spans_of_parts(parts: Sequence[_Part], size: tuple[int, int]) -> list[Spans]:
    """Return the pixels that each part covers of an image of (height, width).

    In each row, the outlines cross the line through the pixels' centres. These crossings are sorted; a part lies
    between the first and the second, the third and the fourth, and so on.
    """
    height, width = size
    if not parts:
        return []
    rings = [ring for part in parts for ring in part]
    start = np.concatenate(rings)
    end = np.concatenate([np.concatenate((ring[1:], ring[:1])) for ring in rings])
    part_of_edge = np.repeat(
        np.repeat(np.arange(len(parts)), [len(part) for part in parts]), [len(ring) for ring in rings]
    )
    is_rising = start[:, 1] > end[:, 1]  # an edge is met at the same places from either of its ends
    upper, lower = np.where(is_rising[:, None], end, start), np.where(is_rising[:, None], start, end)
    first, last = (np.ceil(ends[:, 1] - 0.5).clip(0, height).astype(np.int64) for ends in (upper, lower))
    count = last - first
    edge = np.repeat(np.arange(len(count)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count - first, count)
    run, rise = (lower - upper).T
    x = upper[edge, 0] + (row + 0.5 - upper[edge, 1]) * run[edge] / rise[edge]
    column = np.ceil(x - 0.5).clip(0, width).astype(np.int64)
    # One number orders the crossings by part, row and column.
    crossings = np.sort((part_of_edge[edge] * height + row) * (width + 1) + column)
    starts, lengths = crossings[::2], crossings[1::2] - crossings[::2]
    starts, lengths = starts[lengths > 0], lengths[lengths > 0]
    line = starts // (width + 1)
    part = line // height
    starts = starts - line - part * height * width  # without the column behind the last, and the parts before
    cuts = np.searchsorted(part, np.arange(len(parts) + 1)).tolist()
    return [Spans(starts[a:b], starts[a:b] + lengths[a:b]) for a, b in pairwise(cuts)]


def _area(spans: Sequence[Spans], patch: Patch | None) -> int:
    pixels = sum(int((part.ends - part.starts).sum()) for part in spans)
    return pixels + (0 if patch is None else int(np.count_nonzero(patch.mask)))
