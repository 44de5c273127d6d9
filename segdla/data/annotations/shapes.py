"""Labels of one image in the form that all formats are turned into: shapes, and the ids that they are drawn over.

Coordinates are in pixels, x to the right and y down, from the upper left corner of the image: the centre of its first
pixel is at (0.5, 0.5).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from segdla.errors import UserError, quoted

_FARTHEST = 1e7  # a coordinate, in pixels
_CORNERS = 90  # of an ellipse

Ring = np.ndarray
"""The corners (N,2) float64 of a closed outline, as (x, y); the last is joined to the first."""


class Patch(NamedTuple):
    """A mask of a rectangle of an image."""

    top: int
    left: int
    mask: np.ndarray  # (H,W) bool


@dataclass(frozen=True)
class Shape:
    """A region of one label: what any of the ``parts`` covers, and the mask.

    A part is an outline with its holes: what lies in an odd number of its rings is in it. ``mask`` gives the patch that
    is covered for an image of (height, width), and is decoded when it is asked for: masks of many images take memory.
    """

    label: str
    parts: tuple[tuple[Ring, ...], ...] = ()
    mask: Callable[[tuple[int, int]], Patch] | None = None
    is_crowd: bool = False  # many objects in one outline: its pixels are ignored, wherever no other shape is
    refusal: str = ""  # of a box: why it is refused, unless its label is ignored


@dataclass(frozen=True)
class Drawing:
    """The labels of one image: shapes in the order in which they are drawn, over ids or over nothing."""

    shapes: Sequence[Shape] = ()
    ground: np.ndarray | None = None  # (H,W) uint8, positions in the format's classes, UNLABELLED or IGNORE_INDEX
    size: tuple[int, int] | None = None  # (height, width) of the image by its labels, if they say


def ring(corners: object, where: str) -> Ring:
    """Return a list of [x, y] as the corners of an outline.

    Raises UserError, which begins with ``where``, if it has fewer than three corners or isn't of numbers.
    """
    try:
        points = np.asarray(corners, np.float64)
    except (ValueError, TypeError, OverflowError):
        points = np.full((3, 1), math.nan)
    if points.size and (points.ndim != 2 or points.shape[1] != 2):
        raise UserError(f"{where} is {quoted(corners, 60)}, not a list of corners [x, y]; mend it, or remove the shape")
    if len(points) < 3:
        raise UserError(f"{where} has {len(points)} corners, and a polygon has three or more; mend it, or remove it")
    if not (np.abs(points) < _FARTHEST).all():  # NaN too
        corner = quoted(_strangest(points))
        raise UserError(f"{where} has a corner at {corner}, which is far outside any image; mend or remove it")
    return points


def box(label: str, corners: object, where: str, refusal: str) -> Shape:
    """Return what holds an object and what is around it, from its corners [x, y]; it is ignored, like a crowd."""
    return Shape(label, ((ring(corners, where),),), is_crowd=True, refusal=f"{where} {refusal}")


def upright(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    """Return the corners of an upright box."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def ellipse(center: Sequence[float] | np.ndarray, radii: Sequence[float] | np.ndarray, angle: float = 0.0) -> Ring:
    """Return an ellipse as a polygon of 90 corners; the angle, in radians, turns it clockwise."""
    turns = np.arange(_CORNERS) * 2 * np.pi / _CORNERS
    x, y = np.cos(turns) * radii[0], np.sin(turns) * radii[1]
    points = np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], 1)
    return ring(points + center, "an ellipse")


def _strangest(points: np.ndarray) -> list[float]:
    corner: list[float] = points[np.argmax(~(np.abs(points) < _FARTHEST).all(1))].tolist()
    return corner
