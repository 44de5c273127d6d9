"""The boundaries of an image's regions, along the edges of its pixels.

A region is pixels of one class that are joined by their sides; pixels that share a corner alone are not joined. A side
of a pixel is numbered 4 * pixel + 0 to 3: its top, right, bottom and left. Sides are walked clockwise as an image is
seen, with the region on the right hand: around it clockwise, and around a hole in it counter-clockwise.
"""

from typing import NamedTuple

import numpy as np

TOP, RIGHT, BOTTOM, LEFT = range(4)
_OUTSIDE = -1
_START_X, _START_Y = np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1])  # of a side, from its pixel's upper left corner


class Boundaries(NamedTuple):
    """Rings of sides, one after the other, each in the order of walking."""

    sides: np.ndarray  # (N,) int64
    bounds: np.ndarray  # (R+1,) int64, where the rings begin, and N
    ring: np.ndarray  # (N,) int64, the ring of each side
    turns: np.ndarray  # (N,) bool, whether a side has another direction than the one before it
    is_node: np.ndarray  # (N,) bool, whether it begins where three or four regions meet, or in a corner of the image
    pixels: np.ndarray  # (R,) int64, those inside a ring, negative of a hole
    starts: np.ndarray  # (N, 2) int64, (x, y) of the corners that the sides begin in

    def following(self, values: np.ndarray) -> np.ndarray:
        """Return the values (N,) of the sides that follow each side."""
        moved = np.concatenate([values[1:], values[:1]])
        moved[self.bounds[1:] - 1] = values[self.bounds[:-1]]
        return moved


def trace(class_ids: np.ndarray) -> Boundaries:
    """Walk around all regions of class ids (H,W)."""
    height, width = class_ids.shape
    framed = np.full((height + 2, width + 2), _OUTSIDE, np.int16)
    framed[1:-1, 1:-1] = class_ids
    sides, bounds = _walk(framed)
    pixel, side = sides >> 2, sides & 3
    y, x = np.divmod(pixel, width)
    ring = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    before = np.concatenate([side[-1:], side[:-1]])
    before[bounds[:-1]] = side[bounds[1:] - 1]
    x, y = x + _START_X[side], y + _START_Y[side]
    around = framed[y, x], framed[y, x + 1], framed[y + 1, x + 1], framed[y + 1, x]
    edges = sum((one != other).astype(np.int8) for one, other in zip(around, (*around[1:], around[0]), strict=True))
    is_corner = ((x == 0) | (x == width)) & ((y == 0) | (y == height))
    heights = np.where(side == TOP, -y, np.where(side == BOTTOM, y, 0))  # a column's bottoms less its tops
    pixels = np.add.reduceat(heights, bounds[:-1])
    return Boundaries(sides, bounds, ring, side != before, (edges > 2) | is_corner, pixels, np.stack([x, y], 1))


def _walk(framed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sides between pixels of different classes, ring by ring, and where the rings begin."""
    inner = framed[1:-1, 1:-1]
    height, width = inner.shape
    neighbours = framed[:-2, 1:-1], framed[1:-1, 2:], framed[2:, 1:-1], framed[1:-1, :-2]
    differs = np.stack([inner != other for other in neighbours], -1).ravel()
    sides = np.flatnonzero(differs)
    pixel, side = sides >> 2, sides & 3
    step = np.array([-width, 1, width, -1])  # to the pixel on the other side
    # At its end, the way goes right around the pixel itself, straight on to the next, or left around the one ahead.
    turned = 4 * pixel + (side + 1 & 3)
    beside = pixel + step[side + 1 & 3]
    ahead = beside + step[side]
    straight = np.where(differs[turned], 0, 4 * beside + side)
    left = 4 * ahead + (side - 1 & 3)
    following = np.where(differs[turned], turned, np.where(differs[straight], straight, left))
    place = np.empty(4 * height * width, np.int64)
    place[sides] = np.arange(len(sides))
    after = place[following].tolist()
    is_walked = bytearray(len(after))
    order: list[int] = []
    bounds = [0]
    for first in range(len(after)):
        if is_walked[first]:
            continue
        here = first
        while not is_walked[here]:
            is_walked[here] = 1
            order.append(here)
            here = after[here]
        bounds.append(len(order))
    return sides[order], np.array(bounds)
