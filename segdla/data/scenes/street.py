"""Street scenes: a ground, its shadows, and things that stand on it, painted far to near; then a photograph of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import cv2
import numpy as np

from segdla.data.scenes.canvas import (
    BUILDING,
    FAR,
    LEAVES,
    PAVEMENT,
    ROAD,
    SKY,
    SUBPIXEL_BITS,
    TREE,
    WALLS,
    Canvas,
    Paint,
    blobs,
    new_canvas,
    noise,
    rectangles,
)
from segdla.data.scenes.houses import building
from segdla.data.scenes.things import bonnet, car, lamp, person, sign, tree


def _ribbon(canvas: Canvas, left: float, right: float, color: Paint, label: int) -> None:
    """Paint a strip of ground between two lateral positions, from the camera to the far end of the street."""
    depths = np.geomspace(canvas.near, FAR, 20)
    sides = [np.stack((np.full_like(depths, x), depths), axis=-1) for x in (left, right)]
    canvas.paint(canvas.flat(np.concatenate((sides[0], sides[1][::-1]))), color, label)


def _ground(canvas: Canvas, half_road: float, half_street: float) -> np.ndarray:
    """Paint pavement, road and its markings; return the road's colour."""
    rng = canvas.rng
    rows, columns = canvas.pixels.shape[:2]
    stone = canvas.pick(((176, 168, 156), (164, 156, 148), (186, 170, 152), (150, 148, 146)))
    asphalt = canvas.pick(((84, 84, 88), (96, 96, 98), (68, 70, 76), (78, 80, 86)), 6)
    paint = canvas.pick(((226, 226, 222), (200, 200, 196), (214, 190, 90)), 6)
    canvas.paint(rectangles(0, columns, canvas.horizon, rows), stone, PAVEMENT)
    joints = np.arange(canvas.near, 40, rng.uniform(1.0, 2.5))
    for left in (-half_street, half_road):
        right = left + half_street - half_road
        canvas.paint(canvas.flat(rectangles(left, right, joints, joints + 0.06)), 0.82 * stone, PAVEMENT)
    _ribbon(canvas, -half_road - 0.25, half_road + 0.25, np.minimum(1.15 * stone + 8, 250), PAVEMENT)
    _ribbon(canvas, -half_road, half_road, asphalt, ROAD)
    patches = blobs(rng, rng.uniform((-half_road, 4), (half_road, 40), (6, 2)), rng.uniform(0.2, 0.9, (6, 2)))
    patches[..., 0] = patches[..., 0].clip(-half_road, half_road)
    canvas.paint(canvas.flat(patches), rng.uniform(0.75, 1.2) * asphalt, ROAD)
    dash, gap = rng.uniform(2, 4), rng.uniform(2, 6)
    dashes = np.arange(canvas.near + rng.uniform(0, dash), 70, dash + gap)
    canvas.paint(canvas.flat(rectangles(-0.08, 0.08, dashes, dashes + dash)), paint, ROAD)
    if canvas.chance(0.4):
        for edge in (-half_road + 0.35, half_road - 0.35):
            _ribbon(canvas, edge - 0.06, edge + 0.06, paint, ROAD)
    return asphalt


def _crosswalk(canvas: Canvas, half_road: float, z: float) -> None:
    """Paint the stripes of a crosswalk that begins at a depth."""
    stripes = np.arange(-half_road + 0.3, half_road - 0.5, 1.0)
    paint = canvas.pick(((230, 230, 226), (205, 205, 200)), 5)
    canvas.paint(canvas.flat(rectangles(stripes, stripes + 0.5, z, z + 3.0)), paint, ROAD)


def _light_ground(canvas: Canvas) -> None:
    """Lay all shadows and the fog on the ground, before anything stands on it."""
    top = int(canvas.horizon) + 1
    shade = np.full(canvas.pixels.shape[:2], 255, np.uint8)
    for outline in canvas.shadows:
        corners = np.rint(canvas.flat(outline) * 2**SUBPIXEL_BITS).astype(np.int32)
        cv2.fillPoly(shade, [corners], 255 * (1 - canvas.shadow_strength), cv2.LINE_8, SUBPIXEL_BITS)
    brightness = cv2.blur(shade[top:], (5, 5)).astype(np.float32)[..., None] / 255
    depths = canvas.focal * canvas.eye / (np.arange(top, len(canvas.pixels)) + 0.5 - canvas.horizon)
    clarity = np.exp(-canvas.density * depths).astype(np.float32)[:, None, None]
    share = (brightness * clarity)[..., 0]
    lit = canvas.pixels[top:] * cv2.merge((share, share, share, np.ones_like(share)))  # the label stays as it is
    lit += np.array([*canvas.haze, 0]).clip(0, 255).astype(np.float32) * (1 - clarity)
    canvas.pixels[top:] = lit


def _skyline(canvas: Canvas) -> None:
    """Paint roofs and tree tops beyond the end of the street."""
    rng = canvas.rng
    edges = np.linspace(-150, 150, 26)
    houses = rectangles(edges[:-1], edges[1:], 0.0, rng.uniform(3, 16, 25))
    color = canvas.pick(WALLS)
    for part in range(3):
        canvas.paint(canvas.upright(0, FAR, houses[part::3]), (0.8 + 0.15 * part) * color, BUILDING, FAR)
    centers = np.stack((rng.uniform(-100, 100, 14), rng.uniform(1, 5, 14)), axis=-1)
    for blob in blobs(rng, centers, rng.uniform(3, 8, (14, 1))):
        canvas.paint(canvas.upright(0, FAR, blob.clip((-200, -1), (200, 20))), canvas.pick(LEAVES), TREE, FAR)


@dataclass
class _Street:
    """A street whose ground is painted, and the things to draw on it, as (depth, function that draws it)."""

    canvas: Canvas
    half_road: float
    half_street: float
    asphalt: np.ndarray
    things: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def stand(
        self, draw: Callable[..., None], x: float, z: float, *details: float, reach: float, height: float
    ) -> None:
        """Plan something at a ground point; ``height`` and half width ``reach`` are its shadow's."""
        self.things.append((z, partial(draw, self.canvas, x, z, *details)))
        tip_x, tip_z = x + self.canvas.sun[0] * height, z + self.canvas.sun[1] * height
        self.canvas.shadows.append(
            np.array([(x - reach, z), (tip_x - reach, tip_z), (tip_x + reach, tip_z), (x + reach, z)])
        )

    def build(self, side: int) -> None:
        """Plan a row of houses, with a side street between some of them, and paint the side streets."""
        canvas, rng, wall = self.canvas, self.canvas.rng, side * self.half_street
        z, previous = canvas.near, 0.0
        while z < FAR:
            length, height, gap = rng.uniform(8, 20), rng.uniform(5, 17), canvas.chance(0.3) * rng.uniform(4, 9)
            if gap:
                kerb, end = side * np.array((self.half_road, 60))
                canvas.paint(canvas.flat(rectangles(kerb, end, z + 0.15 * gap, z + 0.85 * gap)), self.asphalt, ROAD)
            z += gap
            exposed = bool(gap) or height > previous
            house = partial(building, canvas, wall, z, z + length, height, canvas.chance(0.35), exposed)
            self.things.append((z + length, house))
            if side * canvas.sun[0] < 0:
                inner = side * (self.half_street - min(abs(canvas.sun[0]) * height, 4))
                canvas.shadows.append(rectangles(inner, wall, z, z + length))
            z, previous = z + length, height

    def furnish(self, side: int) -> None:
        """Plan trees, lamps and signs along the kerb, and people on the pavement."""
        rng = self.canvas.rng
        for z in np.arange(self.canvas.near + rng.uniform(1, 4), 17, rng.uniform(3.5, 6)):
            kind = rng.choice(4, p=(0.35, 0.2, 0.33, 0.12))
            x = side * (self.half_road + rng.uniform(0.5, 1.0))
            if kind == 0:
                self.stand(tree, x, z, reach=1.2, height=4.0)
            elif kind == 1:
                self.stand(lamp, x, z, reach=0.1, height=6.0)
            elif kind == 2:
                self.stand(sign, x, z, reach=0.1, height=2.8)
        for z in rng.uniform(5.5, 11, rng.integers(2, 5)):
            x = side * rng.uniform(self.half_road + 0.4, self.half_street - 0.4)
            self.stand(person, x, z, reach=0.25, height=1.7)

    def drive(self, side: int) -> None:
        """Plan a lane of cars, parked or driving, on one side of the road."""
        canvas, rng = self.canvas, self.canvas.rng
        parked = canvas.chance(0.6)
        lane = side * (self.half_road - 1.1 if parked else self.half_road / 2)
        z = canvas.near + rng.uniform(4, 14)
        while z < 32:
            turn = np.pi * canvas.chance(0.5 if parked else float(side * canvas.drift < 0))
            self.stand(car, lane + rng.normal(0, 0.15), z, turn + rng.normal(0, 0.05), reach=1.0, height=1.2)
            z += rng.uniform(5.5, 12) if parked else rng.uniform(9, 30)

    def cross(self) -> None:
        """Paint a crosswalk, and plan the people on it."""
        rng, z = self.canvas.rng, self.canvas.rng.uniform(8, 18)
        _crosswalk(self.canvas, self.half_road, z)
        for x in rng.uniform(-self.half_road, self.half_road, rng.integers(0, 3)):
            self.stand(person, x, z + 1.5, reach=0.25, height=1.7)


def _street(canvas: Canvas) -> _Street:
    """Paint the ground, and plan the things that stand on it."""
    half_road, pavement = canvas.rng.uniform(3.2, 5.2), canvas.rng.uniform(2.2, 4.5)
    asphalt = _ground(canvas, half_road, half_road + pavement)
    street = _Street(canvas, half_road, half_road + pavement, asphalt)
    for side in (-1, 1):
        street.build(side)
        street.furnish(side)
        street.drive(side)
    if canvas.chance(0.35):
        street.cross()
    return street


def _develop(canvas: Canvas, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Develop the canvas into a photograph, with textures, lens and sensor, and its mask."""
    rng = canvas.rng
    labels = canvas.pixels[..., 3]
    a, b, c, d = labels[::2, ::2], labels[::2, 1::2], labels[1::2, ::2], labels[1::2, 1::2]
    mask = np.where((b == c) | (b == d), b, np.where(c == d, c, a))  # the most frequent of the four
    image = cv2.resize(canvas.pixels, (width, height), interpolation=cv2.INTER_AREA)[..., :3].astype(np.float32)
    fine, coarse = rng.uniform(0.01, 0.05, 256).astype(np.float32), rng.uniform(0.02, 0.08, 256).astype(np.float32)
    fine[SKY], coarse[SKY], fine[TREE] = 0, 0, rng.uniform(0.05, 0.16)
    texture = 1 + fine[mask] * noise(rng, height, width, width // 2) + coarse[mask] * noise(rng, height, width, 24)
    rows, columns = np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32)
    vignette = 1 - rng.uniform(0, 0.22) * (rows[:, None] ** 2 + columns**2) / 2
    image *= (texture * vignette)[..., None]
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.1, 0.75))
    photo = blurred + rng.uniform(1, 5) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(photo), 0, 255).astype(np.uint8), mask


def draw_scene(index: int, *, seed: int = 0, height: int = 192, width: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Draw scene number ``index`` of the endless data set ``seed``; the same arguments give the same bytes.

    Returns an RGB image (H,W,3) and its mask (H,W) of positions in ``NAMES``, both uint8. The bonnet of the camera's
    own car is ``IGNORE_INDEX``.
    """
    canvas = new_canvas(np.random.default_rng((seed, index)), height, width)
    street = _street(canvas)
    _light_ground(canvas)
    _skyline(canvas)
    for _, draw in sorted(street.things, key=lambda thing: -thing[0]):
        draw()
    if canvas.chance(0.35):
        bonnet(canvas)
    return _develop(canvas, height, width)
