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


_Region = tuple[Sequence[Spans], Patch | None]


def draw(target: np.ndarray, shapes: Sequence[Shape], ids: Mapping[str, int], smaller_on_top: bool) -> None:
    """Draw shapes into a target (H,W) uint8 by the ids of their labels, each over those before it.

    With ``smaller_on_top``, the order is by falling area instead, and equal areas keep theirs. Crowds are ignored, and
    lie below all other shapes.
    """
    regions = _regions(shapes, (target.shape[0], target.shape[1]))
    order = sorted(range(len(shapes)), key=lambda i: -_area(*regions[i])) if smaller_on_top else range(len(shapes))
    for i in sorted(order, key=lambda i: not shapes[i].is_crowd):
        _fill(target, regions[i], IGNORE_INDEX if shapes[i].is_crowd else ids[shapes[i].label])


def unite(target: np.ndarray, shapes: Sequence[Shape], sets: Mapping[str, int]) -> None:
    """Add shapes to the sets of classes in a target (H,W) uint8: to a pixel of several shapes, all of their classes.

    ``sets`` has the bit of each label. Crowds and labels that are ignored set all bits, so that their pixels are
    ignored whatever else is there.
    """
    values = [IGNORE_INDEX if shape.is_crowd else sets[shape.label] for shape in shapes]
    regions = _regions(shapes, (target.shape[0], target.shape[1]))
    for value in dict.fromkeys(values):
        plane = np.zeros_like(target)
        for region, own in zip(regions, values, strict=True):
            if own == value:
                _fill(plane, region, value)
        target |= plane


def _regions(shapes: Sequence[Shape], size: tuple[int, int]) -> list[_Region]:
    """Return the pixels of each shape in an image of (height, width)."""
    spans = spans_of_parts([part for shape in shapes for part in shape.parts], size)
    bounds = np.cumsum([0, *(len(shape.parts) for shape in shapes)]).tolist()
    return [
        (spans[a:b], None if shape.mask is None else shape.mask(size))
        for shape, a, b in zip(shapes, bounds, bounds[1:], strict=False)
    ]


def _fill(target: np.ndarray, region: _Region, value: int) -> None:
    """Write a value into a region of a target (H,W) uint8."""
    of_parts, patch = region
    row_by_row = target.reshape(-1).data  # writing a slice of a memoryview takes half as long as one of an array
    fill = memoryview(bytes([value]) * target.shape[1])
    for part in of_parts:
        for start, end in zip(part.starts.tolist(), part.ends.tolist(), strict=True):
            row_by_row[start:end] = fill[: end - start]
    if patch is not None:
        height, width = patch.mask.shape
        view = target[patch.top : patch.top + height, patch.left : patch.left + width]
        np.copyto(view, np.uint8(value), where=patch.mask)


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
