"""The canvas that a scene is painted on: its camera, its light, and the one way to paint a shape.

The world is in metres, x right, y up, z ahead. Colour and label share one four-channel canvas, and every shape is
filled into it once, so that an image and its mask can't disagree.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np
from numpy.typing import ArrayLike

from segdla.data.labels import Color

NAMES = ("sky", "building", "road", "pavement", "tree", "car", "person", "pole", "sign")
PALETTE = (
    (70, 130, 180), (70, 70, 70), (128, 64, 128), (244, 35, 232), (107, 142, 35),
    (0, 0, 142), (220, 20, 60), (153, 153, 153), (220, 220, 0),
)  # fmt: skip
SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, PERSON, POLE, SIGN = range(len(NAMES))
SUPERSAMPLING = 2  # street.py takes a vote over 2 x 2 labels
SUBPIXEL_BITS = 4
FAR = 48.0
# (probability, zenith, horizon, light on surfaces, strength of cast shadows, share of lit windows)
_WEATHERS = (
    (0.55, (80, 135, 210), (205, 218, 232), (1.05, 1.03, 1.0), 0.35, 0.0),
    (0.3, (160, 166, 174), (208, 210, 212), (0.9, 0.92, 0.94), 0.12, 0.1),
    (0.1, (78, 92, 150), (244, 178, 124), (0.9, 0.78, 0.7), 0.3, 0.25),
    (0.05, (16, 20, 40), (62, 54, 62), (0.5, 0.52, 0.62), 0.0, 0.45),
)
WALLS = (
    (150, 84, 66), (178, 112, 84), (214, 188, 140), (226, 208, 176), (150, 118, 92), (196, 160, 104),
    (128, 84, 66), (200, 140, 124), (170, 162, 150), (134, 150, 160), (160, 96, 84), (188, 128, 92),
)  # fmt: skip
PAINTS = (
    (236, 236, 234), (28, 28, 32), (160, 164, 168), (92, 96, 102), (168, 28, 30), (40, 72, 140),
    (88, 140, 190), (44, 84, 58), (214, 176, 40), (120, 92, 70),
)  # fmt: skip
PLATES = ((236, 236, 236), (190, 24, 32), (28, 74, 160), (24, 110, 74), (240, 196, 30), (140, 142, 144))
LEAVES = ((74, 104, 46), (98, 122, 50), (54, 88, 58), (84, 116, 60), (128, 120, 50), (150, 98, 44))

Paint = Sequence[float] | np.ndarray
"""Red, green and blue, 0..255."""


@dataclass
class Canvas:
    """A picture, the camera that sees it and the light that falls on it."""

    rng: np.random.Generator
    pixels: np.ndarray  # (rows, columns, 4) uint8: red, green, blue, label
    focal: float
    center: float
    horizon: float
    eye: float  # height of the camera above the road
    drift: float  # lateral position of the camera on the road
    bend: float  # sideways shift of the street at z metres: bend * z²
    light: list[float]
    haze: list[float]
    density: float
    sun: tuple[float, float]  # where the shadow of a one-metre stick ends, (x, z)
    shadow_strength: float
    lit_windows: float
    shadows: list[np.ndarray] = field(default_factory=list)

    @property
    def near(self) -> float:
        """Return the depth at which the ground enters the picture, less a margin."""
        return 0.8 * self.focal * self.eye / (self.pixels.shape[0] - self.horizon)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project world points (..., 3) to canvas coordinates (..., 2)."""
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        coordinates = np.empty((*z.shape, 2))
        coordinates[..., 0] = self.center + self.focal * (x - self.drift + self.bend * z * z) / z
        coordinates[..., 1] = self.horizon + self.focal * (self.eye - y) / z
        return coordinates

    def upright(self, x: float, z: float, outline: np.ndarray) -> np.ndarray:
        """Project an outline (..., 2) that faces the camera, in metres (right, up) from the ground point (x, z)."""
        scale = self.focal / z
        column = self.center + self.focal * (x - self.drift + self.bend * z * z) / z
        return outline * np.array((scale, -scale)) + np.array((column, self.horizon + self.focal * self.eye / z))

    def flat(self, outline: np.ndarray) -> np.ndarray:
        """Project an outline (..., 2) of points (x, z) on the ground."""
        points = np.zeros((*outline.shape[:-1], 3))
        points[..., 0], points[..., 2] = outline[..., 0], np.maximum(outline[..., 1], self.near)
        return self.project(points)

    def paint(self, polygons: np.ndarray, color: Paint, label: int, depth: float = 0.0, glows: bool = False) -> None:
        """Fill polygons (..., corners, 2) with a colour and a label; an even number of overlaps is a hole.

        Haze pales the colour with its ``depth`` in metres; a colour that ``glows`` needs no light.
        """
        corners = np.rint(polygons * 2**SUBPIXEL_BITS).astype(np.int32).reshape(-1, *polygons.shape[-2:])
        # A shape has few corners and a colour three numbers, with which Python is faster than arrays are.
        columns = corners[..., 0].ravel().tolist()
        if not columns or max(columns) < -16 or min(columns) > (self.pixels.shape[1] + 1) << SUBPIXEL_BITS:
            return
        clarity = math.exp(-self.density * depth)
        lit = color.tolist() if isinstance(color, np.ndarray) else color
        if not glows:
            lit = [part * light for part, light in zip(lit, self.light, strict=True)]
        shade = [part * clarity + haze * (1 - clarity) for part, haze in zip(lit, self.haze, strict=True)]
        cv2.fillPoly(self.pixels, list(corners), (*shade, label), cv2.LINE_8, SUBPIXEL_BITS)

    def pick(self, colors: Sequence[Color], spread: float = 12.0) -> np.ndarray:
        """Return one of the colours, slightly changed: with noise of standard deviation ``spread``."""
        return (colors[int(self.rng.integers(len(colors)))] + self.rng.normal(0, spread, 3)).clip(8, 250)

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.rng.random() < probability


def new_canvas(rng: np.random.Generator, height: int, width: int) -> Canvas:
    """Return a canvas with a random camera, weather and sky for a picture of (height, width)."""
    _, zenith, horizon_color, light, shadow_strength, lit_windows = _WEATHERS[
        rng.choice(len(_WEATHERS), p=[weather[0] for weather in _WEATHERS])
    ]
    rows, columns = height * SUPERSAMPLING, width * SUPERSAMPLING
    haze = np.array(horizon_color) + rng.normal(0, 8, 3)
    canvas = Canvas(
        rng=rng,
        pixels=np.zeros((rows, columns, 4), np.uint8),
        focal=rng.uniform(0.8, 1.05) * np.sqrt(rows * columns),
        center=columns * rng.uniform(0.38, 0.62),
        horizon=rows * rng.uniform(0.38, 0.5),
        eye=rng.uniform(1.8, 2.6),
        drift=rng.choice((-1, 1)) * rng.uniform(0.8, 2.2),
        bend=rng.choice((0.0, rng.uniform(-0.004, 0.004))),
        light=(np.array(light) * rng.normal(1, 0.05) * rng.normal(1, 0.03, 3)).tolist(),
        haze=haze.tolist(),
        density=rng.choice((0.002, 0.005, rng.uniform(0.01, 0.02)), p=(0.5, 0.4, 0.1)),
        sun=(rng.choice((-1, 1)) * rng.uniform(0.3, 1.4), rng.uniform(-0.5, 1.0)),
        shadow_strength=shadow_strength * rng.uniform(0.7, 1.2),
        lit_windows=lit_windows,
    )
    _sky(canvas, np.array(zenith) + rng.normal(0, 10, 3), haze)
    return canvas


def noise(rng: np.random.Generator, rows: int, columns: int, cells: int) -> np.ndarray:
    """Return smooth noise (rows, columns) float32 around zero, with about ``cells`` bumps across."""
    small = rng.standard_normal((max(2, cells * rows // columns), cells), dtype=np.float32)
    return cv2.resize(small, (columns, rows), interpolation=cv2.INTER_LINEAR)


def _sky(canvas: Canvas, zenith: np.ndarray, haze: np.ndarray) -> None:
    fall = np.linspace(0, 1.9, 48)[:, None, None].clip(0, 1)
    clouds = noise(canvas.rng, 48, 64, 5) + 0.7 * noise(canvas.rng, 48, 64, 13) + canvas.rng.uniform(-1.2, 0.6)
    cover = canvas.rng.uniform(0.3, 0.9) * np.clip(clouds, 0, 1)[..., None]
    clear = zenith * (1 - fall) + haze * fall
    sky = clear * (1 - cover) + (0.35 * haze + 0.65 * haze.max()) * cover
    rows, columns = canvas.pixels.shape[:2]
    sky = np.dstack((np.clip(sky, 0, 255), np.full((48, 64), SKY))).astype(np.uint8)
    cv2.resize(sky, (columns, rows), dst=canvas.pixels)


def blobs(rng: np.random.Generator, centers: np.ndarray, radii: np.ndarray, corners: int = 9) -> np.ndarray:
    """Return irregular round outlines (blobs, corners, 2) about centers (blobs, 2) with radii (blobs, 1 or 2)."""
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.uniform(0, 1, (len(centers), 1))
    reach = rng.uniform(0.7, 1.15, angles.shape)[..., None] * radii[:, None]
    return centers[:, None] + reach * np.stack((np.cos(angles), np.sin(angles)), axis=-1)


def regular(corners: int, radius: float = 1.0, turn: float = 0.5) -> np.ndarray:
    """Return a regular polygon (corners, 2); turned by half a step it stands on an edge."""
    return radius * _regular(corners, turn)


@cache
def _regular(corners: int, turn: float) -> np.ndarray:
    angles = (np.arange(corners) + turn) * 2 * np.pi / corners - np.pi / 2
    return np.stack((np.cos(angles), np.sin(angles)), axis=-1)


def limb(start: tuple[float, float], end: tuple[float, float], width: float) -> np.ndarray:
    """Return the outline (4, 2) of a straight bar."""
    (x, y), (right, up) = start, (end[0] - start[0], end[1] - start[1])
    length = math.hypot(right, up)
    a, b = -up / length * width / 2, right / length * width / 2
    return np.array(((x + a, y + b), (x - a, y - b), (end[0] - a, end[1] - b), (end[0] + a, end[1] + b)))


def rectangles(left: ArrayLike, right: ArrayLike, low: ArrayLike, high: ArrayLike) -> np.ndarray:
    """Return the outlines (..., 4, 2) of axis-aligned rectangles."""
    outlines = np.empty((*np.broadcast(left, right, low, high).shape, 4, 2))
    outlines[..., 0, 0] = outlines[..., 3, 0] = left
    outlines[..., 1, 0] = outlines[..., 2, 0] = right
    outlines[..., 0, 1] = outlines[..., 1, 1] = low
    outlines[..., 2, 1] = outlines[..., 3, 1] = high
    return outlines
