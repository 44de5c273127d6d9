"""Houses along a street: their walls, windows, doors and roofs."""

from collections.abc import Iterator

import numpy as np

from segdla.data.scenes.canvas import BUILDING, PAINTS, PLATES, WALLS, Canvas, Paint, rectangles

_Point = tuple[float, float]  # x, z


def _facade(canvas: Canvas, start: _Point, stop: _Point, height: float, wall: np.ndarray, glass: np.ndarray) -> None:
    """Paint a wall with windows and a ground floor between two ground points (x, z)."""
    foot, end = np.array(start), np.array(stop)
    length, depth = float(np.linalg.norm(end - foot)), (foot[1] + end[1]) / 2
    parts = list(_parts_of_facade(canvas, length, depth, height, wall, glass))
    outlines = np.concatenate([shapes.reshape(-1, 4, 2) for shapes, _, _ in parts])  # projected together
    points = np.empty((*outlines.shape[:-1], 3))
    points[..., ::2] = foot + outlines[..., :1] / length * (end - foot)
    points[..., 1] = outlines[..., 1]
    polygons = canvas.project(points)
    first = 0
    for shapes, color, glows in parts:
        last = first + shapes.size // 8
        canvas.paint(polygons[first:last], color, BUILDING, depth, glows)
        first = last


def _parts_of_facade(
    canvas: Canvas, length: float, depth: float, height: float, wall: np.ndarray, glass: np.ndarray
) -> Iterator[tuple[np.ndarray, Paint, bool]]:
    """Yield what is painted on a wall, in order: rectangles (..., 4, 2) in metres, their colour, and if they glow."""
    rng = canvas.rng
    yield rectangles(0, length, 0, height), wall, False
    yield rectangles(0, length, height - 0.5, height), rng.uniform(0.7, 1.2) * wall, False
    pitch, storey = rng.uniform(2.2, 3.6), rng.uniform(2.8, 3.4)
    left, low = np.meshgrid(np.arange(0.7, length - 1.4, pitch), np.arange(3.6, height - 2, storey))
    left, low, width, tall = left.ravel(), low.ravel(), pitch * rng.uniform(0.4, 0.65), storey * rng.uniform(0.45, 0.7)
    if left.size:
        frames = rectangles(left - 0.12, left + width + 0.12, low - 0.2, low + tall + 0.1)
        yield frames, rng.uniform(0.75, 1.3) * wall, False
        lit = rng.random(left.size) < canvas.lit_windows
        windows = rectangles(left, left + width, low, low + tall)
        yield windows[~lit], glass, False
        yield windows[lit], (246, 214, 140), True
    if depth > 60 or length < 3:
        return
    doors = np.arange(rng.uniform(0.4, 1.5), length - 1.4, rng.uniform(2.4, 5))
    if canvas.chance(0.5):
        panes = rectangles(doors, np.minimum(doors + 2.0, length), 0.5, 2.5)
        yield panes, glass, canvas.chance(canvas.lit_windows)
        yield rectangles(0.2, length - 0.2, 2.7, 3.3), canvas.pick(PAINTS), False
    else:
        yield rectangles(doors, doors + 1.1, 0, 2.2), canvas.pick(WALLS), False
    posters = rng.uniform(0, length - 1, rng.integers(0, 3))
    for left, low in zip(posters, rng.uniform(1.2, 3.5, posters.size), strict=True):
        yield rectangles(left, left + 0.8, low, low + 1.0), canvas.pick(PLATES), False
        yield rectangles(left + 0.15, left + 0.65, low + 0.2, low + 0.8), canvas.pick(PLATES), False


def building(canvas: Canvas, x: float, near: float, far: float, height: float, gabled: bool, exposed: bool) -> None:
    """Draw a house whose wall along the street is at ``x``; if it is ``exposed``, its near side can be seen too."""
    side = np.sign(x)
    wall, glass = canvas.pick(WALLS), canvas.pick(((52, 60, 72), (84, 104, 128), (36, 38, 42)))
    back, ridge = x + 12 * side, (x + 6 * side, height + 4)
    sunny = 1.0 if side * canvas.sun[0] > 0 else 1 - 0.6 * canvas.shadow_strength
    if gabled:
        roof = [(x, height, near), (x, height, far), (*ridge, far), (*ridge, near)]
        canvas.paint(canvas.project(np.array(roof)), canvas.pick(((120, 62, 50), (74, 72, 76))), BUILDING, near)
    if exposed:
        _facade(canvas, (x, near), (back, near), height, 0.85 * wall, glass)
        if gabled:
            gable = [(x, height, near), (back, height, near), (*ridge, near)]
            canvas.paint(canvas.project(np.array(gable)), 0.85 * wall, BUILDING, near)
    _facade(canvas, (x, near), (x, far), height, sunny * wall, glass)
