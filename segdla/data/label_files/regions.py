"""Regions of class ids as polygons with holes, and as polygons alone."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from segdla.data.label_files.boundaries import LEFT, RIGHT, Boundaries, trace
from segdla.data.label_files.outlines import EXACT, Points, outline
from segdla.data.labels import IGNORE_INDEX


class Region(NamedTuple):
    """Pixels of one class that are joined by their sides.

    Corners are (N,2) float64, (x, y) in pixels from the image's upper left corner; the last is joined to the first.
    """

    class_id: int
    outline: np.ndarray
    holes: tuple[np.ndarray, ...]
    pixels: int
    place: int  # of one of its pixels, row by row
    joined: np.ndarray
    """The outline with its holes as one polygon, by the even-odd rule: cuts of no width lead to the holes and back."""


class _Cut(NamedTuple):
    """The way from a hole to the ring left of it, which is its region's outline or another hole of it."""

    hole: int
    corner: int  # of the hole
    ring: int
    ring_corner: int


def polygons(class_ids: np.ndarray, tolerance: float = EXACT, leave: Collection[int] = ()) -> list[Region]:
    """Return the regions of class ids (H,W) uint8, but those of the ids to leave out.

    tolerance: in pixels. 0 keeps the pixels' corners; up to 0.5, outlines run between the centres of the same pixels.
    """
    boundaries = trace(class_ids)
    points = outline(boundaries, class_ids.shape[1], tolerance)
    first = np.searchsorted(points.ring, np.arange(len(boundaries.pixels) + 1))
    rings = [points.xy[a:b] for a, b in pairwise(first.tolist())]
    cuts = _cuts(boundaries, points, first, class_ids.shape[1])
    outer = np.arange(len(rings))
    for cut in cuts[::-1]:  # from left to right: the ring left of a hole is known before it
        outer[cut.hole] = outer[cut.ring]
    of_outer: dict[int, list[np.ndarray]] = defaultdict(list)
    for cut in cuts:
        of_outer[int(outer[cut.hole])].append(rings[cut.hole])
    joined = _joined(rings, cuts)
    pixels = np.bincount(outer, boundaries.pixels, len(rings)).astype(np.int64).tolist()
    places = boundaries.sides[boundaries.bounds[:-1]] >> 2
    ids = class_ids.ravel()[places].tolist()
    return [
        Region(ids[i], rings[i], tuple(of_outer.get(i, ())), pixels[i], int(places[i]), joined.get(i, rings[i]))
        for i in np.flatnonzero(boundaries.pixels > 0).tolist()
        if ids[i] not in leave
    ]


def without_small(class_ids: np.ndarray, least: int) -> np.ndarray:
    """Return class ids (H,W) in which regions of fewer than ``least`` pixels have the class of the nearest others.

    Regions that are ignored stay, and so does everything if all regions are small.
    """
    small = np.zeros(class_ids.shape, bool)
    for class_id in np.unique(class_ids).tolist() if least > 1 else ():
        if class_id == IGNORE_INDEX:
            continue
        mask = (class_ids == class_id).astype(np.uint8)
        _, numbers, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        is_small = stats[:, cv2.CC_STAT_AREA] < least
        is_small[0] = False  # the other classes
        small |= is_small[numbers]
    if small.all() or not small.any():
        return class_ids
    rows, columns = distance_transform_edt(small, return_distances=False, return_indices=True)
    return np.asarray(class_ids[rows, columns])


def _cuts(boundaries: Boundaries, points: Points, first: np.ndarray, width: int) -> list[_Cut]:
    """Return a cut for each hole, the rightmost hole first.

    From a hole's leftmost side the region goes left, along the row, to a side of another of its rings.
    """
    pixel, side = boundaries.sides >> 2, boundaries.sides & 3
    facing = np.flatnonzero((side == RIGHT) & (boundaries.pixels < 0)[boundaries.ring])
    facing = facing[np.lexsort((pixel[facing] % width, boundaries.ring[facing]))]
    ring, leftmost = np.unique(boundaries.ring[facing], return_index=True)
    own = facing[leftmost]
    lefts = np.flatnonzero(side == LEFT)
    lefts = lefts[np.argsort(pixel[lefts])]
    other = lefts[np.searchsorted(pixel[lefts], pixel[own], "right") - 1]
    corner, other_corner = (_corner_before(boundaries, points, first, sides) for sides in (own, other))
    order = np.argsort(-(pixel[own] % width), kind="stable")
    columns = (values[order].tolist() for values in (ring, corner, boundaries.ring[other], other_corner))
    return [_Cut(*values) for values in zip(*columns, strict=True)]


def _corner_before(boundaries: Boundaries, points: Points, first: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Return the last corner at or before each side, as a place in the side's ring."""
    order = np.argsort(points.side, kind="stable")
    ring = boundaries.ring[sides]
    place = np.searchsorted(points.side[order], sides, "right") - 1
    place = np.where(place < first[ring], first[ring + 1] - 1, place)  # before the first corner is the last
    return np.asarray(order[place] - first[ring])


def _joined(rings: Sequence[np.ndarray], cuts: Sequence[_Cut]) -> Mapping[int, np.ndarray]:
    """Return the rings that have holes, with these."""
    inserts: dict[int, list[tuple[int, np.ndarray]]] = defaultdict(list)
    for cut in cuts:
        polygon = _inserted(rings[cut.hole], inserts.pop(cut.hole, ()), cut.corner)
        inserts[cut.ring].append((cut.ring_corner, polygon))
    return {ring: _inserted(rings[ring], polygons, 0) for ring, polygons in inserts.items()}


def _inserted(ring: np.ndarray, polygons: Sequence[tuple[int, np.ndarray]], start: int) -> np.ndarray:
    """Return a ring from a corner on, with ways to other polygons, around them and back, each from a corner."""
    rolled = np.roll(ring, -start, 0)
    parts, begin = [], 0
    for place, polygon in sorted((((corner - start) % len(ring), one) for corner, one in polygons), key=lambda p: p[0]):
        parts += [rolled[begin : place + 1], polygon, polygon[:1]]
        begin = place
    return np.concatenate([*parts, rolled[begin:]])
