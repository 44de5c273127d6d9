"""Outlines of regions: the corners of their boundaries, or fewer within a tolerance.

Neighbours share a boundary, and it is simplified once for both: it is cut where three regions meet, and each piece goes
through the middles of the pixels' sides. So outlines leave nothing out between regions, and overlap nowhere.
"""

from typing import NamedTuple

import numpy as np

from segdla.data.label_files.boundaries import Boundaries

EXACT = 0.5
"""The largest tolerance, in pixels, at which an outline keeps every pixel's centre on its side."""
_BELOW_HALF = 0.499  # of a pixel: an outline through a centre would leave open whose it is
_LAST = np.iinfo(np.int64).max
_MIDDLE_X, _MIDDLE_Y = np.array([1, 2, 1, 0]), np.array([0, 1, 2, 1])  # of a side, from its pixel, in half pixels


class Points(NamedTuple):
    """Corners of all outlines, ring by ring."""

    xy: np.ndarray  # (M, 2) float64
    ring: np.ndarray  # (M,) int64
    side: np.ndarray  # (M,) int64, the place in ``Boundaries`` of the side that they lie on


class _Line(NamedTuple):
    """The points of closed lines, each of which ends with its first point again; coordinates are in half pixels."""

    x: np.ndarray
    y: np.ndarray
    key: np.ndarray  # differs between places, and is the same for both regions at a place
    is_node: np.ndarray
    is_end: np.ndarray  # of a piece
    is_upright: np.ndarray  # on an upright side, not a level one
    ring: np.ndarray
    side: np.ndarray


def outline(boundaries: Boundaries, width: int, tolerance: float) -> Points:
    """Return the corners of all rings, simplified to a tolerance in pixels; 0 keeps the pixels' own corners.

    Up to ``EXACT``, a line passes each side of a pixel within the tolerance of its middle, along the way between the
    centres of the two pixels that meet there, and so between these. Above, it passes each middle within the tolerance;
    what would make a region vanish is simplified up to ``EXACT``.
    """
    if tolerance == 0:
        kept = np.flatnonzero(boundaries.turns)
        return Points(boundaries.starts[kept].astype(np.float64), boundaries.ring[kept], kept)
    line = _line(boundaries, width)
    keep = _simplify(line, tolerance)
    if tolerance > EXACT:
        keep = np.where(_is_of_vanished(line, keep, boundaries.pixels), _simplify(line, EXACT), keep)
    keep[:-1] &= line.ring[:-1] == line.ring[1:]  # without the first point again
    keep[-1:] = False
    return Points(np.stack([line.x[keep], line.y[keep]], 1) / 2, line.ring[keep], line.side[keep])


def _line(boundaries: Boundaries, width: int) -> _Line:
    """Return the lines through nodes and the middles of sides, without middles inside straight runs.

    A line begins in a node or, without one, at the point of the lowest key.
    """
    node, turns = boundaries.is_node, boundaries.turns
    pixel, side = boundaries.sides >> 2, boundaries.sides & 3
    y, x = np.divmod(pixel, width)
    has_middle = turns | node | boundaries.following(turns) | boundaries.following(node)
    is_taken = np.stack([node, has_middle], 1).ravel()
    xs = np.stack([2 * boundaries.starts[:, 0], 2 * x + _MIDDLE_X[side]], 1).ravel()[is_taken]
    ys = np.stack([2 * boundaries.starts[:, 1], 2 * y + _MIDDLE_Y[side]], 1).ravel()[is_taken]
    is_node = np.stack([node, np.zeros_like(node)], 1).ravel()[is_taken]
    places = np.repeat(np.arange(len(side)), 2)[is_taken]
    ring = boundaries.ring[places]
    key = ys * (2 * width + 1) + xs
    count = np.bincount(ring)
    first = np.cumsum(count) - count
    rank = np.where(is_node, key - _LAST, key)
    lowest = np.flatnonzero(rank == np.minimum.reduceat(rank, first)[ring])
    begin = lowest[np.unique(ring[lowest], return_index=True)[1]] - first
    whole = np.repeat(np.arange(len(count)), count + 1)
    step = np.arange(len(whole)) - np.repeat(np.cumsum(count + 1) - count - 1, count + 1)
    order = first[whole] + (step + begin[whole]) % count[whole]
    is_end = is_node[order] | (step == 0) | (step == count[whole])
    of_order = places[order]
    return _Line(xs[order], ys[order], key[order], is_node[order], is_end, side[of_order] % 2 == 1, whole, of_order)


def _simplify(line: _Line, tolerance: float) -> np.ndarray:
    """Return which points to keep (M,), by the algorithm of Douglas and Peucker, in all pieces at once.

    Both regions at a piece keep the same points, for nothing depends on the direction: distances are of whole numbers,
    and of equal ones the point of the lower key counts.
    """
    keep = line.is_end.copy()
    ends = np.flatnonzero(keep)
    from_, to = ends[:-1], ends[1:]
    while True:
        inside = to - from_ - 1
        is_open = (inside > 0) & (line.ring[from_] == line.ring[to])
        from_, to, inside = from_[is_open], to[is_open], inside[is_open]
        if not len(from_):
            return keep
        first = np.cumsum(inside) - inside
        chord = np.repeat(np.arange(len(inside)), inside)
        point = np.arange(len(chord)) - np.repeat(first - from_ - 1, inside)
        squares = _excess(line, from_[chord], to[chord], point, tolerance)
        farthest = np.maximum.reduceat(squares, first)
        is_split = farthest >= 0
        is_far = (squares == farthest[chord]) & is_split[chord]
        key = np.where(is_far, line.key[point], _LAST)
        split = point[is_far & (key == np.minimum.reduceat(key, first)[chord])]
        keep[split] = True
        from_, to = np.concatenate([from_[is_split], split]), np.concatenate([split, to[is_split]])


def _excess(line: _Line, from_: np.ndarray, to: np.ndarray, point: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the squared distances of points from chords, and -1 of those within the tolerance."""
    dx, dy = line.x[to] - line.x[from_], line.y[to] - line.y[from_]
    x, y = line.x[point] - line.x[from_], line.y[point] - line.y[from_]  # from the one end
    x2, y2 = x - dx, y - dy  # and from the other
    cross = np.abs(x * dy - y * dx)
    along, length = x * dx + y * dy, dx * dx + dy * dy
    squares = np.where(along <= 0, x * x + y * y, x2 * x2 + y2 * y2).astype(np.float64)
    is_beside = (along > 0) & (along < length)
    squares[is_beside] = cross[is_beside] ** 2 / length[is_beside]
    if tolerance > EXACT:
        return np.where(squares <= (2 * tolerance) ** 2, -1.0, squares)
    # The chord has to meet the line between the two centres: level across an upright side, upright across a level one.
    meets = np.where(line.is_upright[point], y * y2, x * x2) <= 0
    rise = np.abs(np.where(line.is_upright[point], dy, dx))
    is_on = (cross == 0) & (x * x2 + y * y2 <= 0)
    return np.where(is_on | (meets & (cross <= 2 * min(tolerance, _BELOW_HALF) * rise)), -1.0, squares)


def _is_of_vanished(line: _Line, keep: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return which points (M,) are of pieces around regions or holes that lose more than half of their area."""
    x, y, ring = line.x[keep], line.y[keep], line.ring[keep]
    crosses = np.append((x[:-1] * y[1:] - x[1:] * y[:-1]) * (ring[:-1] == ring[1:]), 0)
    area = np.bincount(ring, crosses, len(pixels)) / 8  # of triangles in half pixels
    is_lost = area * np.sign(pixels) < np.abs(pixels) / 2
    piece = np.cumsum(line.is_end) - 1
    begins = np.flatnonzero(line.is_end)
    key = np.minimum.reduceat(np.where(line.is_node, _LAST, line.key), begins)  # the same for both regions
    return np.asarray(np.isin(key, key[is_lost[line.ring[begins]]])[piece] & (key[piece] < _LAST))
