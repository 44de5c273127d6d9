"""The things on a street: trees, cars, people, poles and signs, each drawn at its ground point (x, z)."""

import numpy as np

from segdla.data.labels import IGNORE_INDEX
from segdla.data.scenes.canvas import (
    CAR,
    LEAVES,
    PAINTS,
    PERSON,
    PLATES,
    POLE,
    SIGN,
    SUPERSAMPLING,
    TREE,
    Canvas,
    Paint,
    blobs,
    limb,
    rectangles,
    regular,
)

_CLOTHES = (
    (30, 32, 38), (42, 62, 132), (190, 30, 40), (230, 224, 212), (226, 150, 30),
    (30, 110, 140), (236, 196, 40), (90, 40, 120), (196, 70, 140),
)  # fmt: skip
_SKINS = ((236, 194, 164), (198, 146, 110), (140, 94, 66), (92, 60, 44))

_Extent = tuple[float, float, float]


def tree(canvas: Canvas, x: float, z: float) -> None:
    """Draw a tree."""
    rng = canvas.rng
    trunk, crown = rng.uniform(1.8, 3.0), rng.uniform(1.0, 1.9)
    lean, width = rng.normal(0, 0.2), rng.uniform(0.18, 0.4)
    top = (lean, trunk + crown)
    bark = canvas.pick(((86, 66, 50), (70, 62, 56), (104, 94, 84)), 8)
    canvas.paint(canvas.upright(x, z, limb((0, 0), top, width)), bark, TREE, z)
    for fork in (-1, 1):
        branch = limb((lean / 2, trunk * 0.9), (fork * crown * 0.6, trunk + crown), width / 2)
        canvas.paint(canvas.upright(x, z, branch), bark, TREE, z)
    leaves, count = canvas.pick(LEAVES), 22
    for shade, rise in ((0.62, 0.0), (0.85, 0.12), (1.1, 0.3)):
        angles, reach = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.random(count)) * crown
        centers = np.stack((np.cos(angles), 1.15 * np.sin(angles)), axis=-1) * reach[:, None]
        centers += (lean, trunk + crown * (1.0 + rise))
        clumps = blobs(rng, centers, crown * rng.uniform(0.24, 0.44, (count, 1)))
        canvas.paint(canvas.upright(x, z, clumps), shade * leaves, TREE, z)


def _box(size: _Extent, shift: float, lift: float, inset: _Extent) -> np.ndarray:
    """Return the faces (5, 4, 3) of a box: rear, right, front, left, top.

    Its ``size`` is (width, height, length), ``shift`` moves it ahead and ``lift`` off the ground; ``inset`` narrows its
    top at (sides, rear, front).
    """
    width, height, length = size[0] / 2, size[1], size[2] / 2
    side, rear, front = inset
    lower = np.array([(-width, 0, -length), (width, 0, -length), (width, 0, length), (-width, 0, length)])
    upper = lower + [(side, height, rear), (-side, height, rear), (-side, height, -front), (side, height, -front)]
    walls = [(lower[i], lower[(i + 1) % 4], upper[(i + 1) % 4], upper[i]) for i in range(4)]
    return np.array([*walls, upper]) + (0, lift, shift)


def _patch(faces: np.ndarray, left: float, right: float, low: float, high: float) -> np.ndarray:
    """Return parts (..., 4, 3) of faces (..., 4, 3); the bounds are shares of a face."""
    u, v = np.array((left, right, right, left))[:, None], np.array((low, low, high, high))[:, None]
    a, b, c, d = (faces[..., i, None, :] for i in range(4))
    return (a * (1 - u) + b * u) * (1 - v) + (d * (1 - u) + c * u) * v


def _lamps(face: np.ndarray) -> np.ndarray:
    """Return the two lamps (2, 4, 3) on a face (4, 3)."""
    return np.stack((_patch(face, 0.03, 0.2, 0.5, 0.85), _patch(face, 0.8, 0.97, 0.5, 0.85)))


def car(canvas: Canvas, x: float, z: float, heading: float) -> None:
    """Draw a car with its middle at (x, z); with ``heading`` 0 it drives away from the camera."""
    rng = canvas.rng
    color, glass = canvas.pick(PAINTS, 8), canvas.pick(((30, 34, 40), (60, 72, 84), (110, 130, 148)), 6)
    if canvas.chance(0.2):  # a van
        body, cabin = _box((1.95, 0.9, 4.8), 0, 0.28, (0, 0, 0)), _box((1.95, 1.0, 4.6), -0.1, 1.18, (0.1, 0.05, 0.6))
    else:
        body, cabin = (
            _box((1.8, 0.6, 4.2), 0, 0.28, (0.05, 0.05, 0.15)),
            _box((1.65, 0.58, 2.9), -0.3, 0.86, (0.2, rng.uniform(0.2, 0.6), 0.7)),
        )
    ends = _box((1.7, 0.3, 4.0), 0, 0, (0, 0, 0))[[0, 2]]
    hubs = np.array([(0.9 * side, 0.33, along) for side in (-1, 1) for along in (-1.3, 1.3)])
    rim = regular(10)
    wheels = hubs[:, None] + np.stack((0 * rim[:, 0], 0.34 * rim[:, 1], 0.34 * rim[:, 0]), axis=-1)
    wheels[:2, :, 2] *= -1
    lamps_on = canvas.lit_windows > 0.2 or canvas.chance(0.2)
    side_shade = 1.05 if x * canvas.sun[0] > 0 else 0.8
    parts = (
        (np.concatenate((_patch(ends, 0, 0.15, 0, 1), _patch(ends, 0.85, 1, 0, 1))), (24, 24, 26), False),
        (body[[0, 2]], 0.9 * color, False),
        (body[[1, 3]], side_shade * color, False),
        (np.stack((body[4], cabin[4])), 1.12 * color, False),
        (cabin[:4], side_shade * 0.95 * color, False),
        (_patch(cabin[:4], 0.07, 0.93, 0.08, 0.9), glass, False),
        (wheels, (26, 26, 28), False),
        (hubs[:, None] + 0.5 * (wheels - hubs[:, None]), (150, 150, 152), False),
        (_patch(body[0], 0.34, 0.66, 0.3, 0.55), (224, 224, 214), False),
        (_lamps(body[0]), (190, 26, 24), lamps_on),
        (_lamps(body[2]), (250, 246, 220), lamps_on),
    )
    turn = np.array([(np.cos(heading), 0, -np.sin(heading)), (0, 1, 0), (np.sin(heading), 0, np.cos(heading))])
    for corners in (4, 10):  # wheels last; faces of as many corners are projected together
        group = [part for part in parts if part[0].shape[-2] == corners]
        faces = np.concatenate([part[0].reshape(-1, corners, 3) for part in group])
        looks = [part[1:] for part in group for _ in range(part[0].size // (3 * corners))]
        outlines = canvas.project(faces @ turn + (x, 0, z))
        right, down = outlines[..., 0], outlines[..., 1]
        following = np.roll(outlines, -1, axis=1)
        areas = (right * following[..., 1] - down * following[..., 0]).sum(axis=1)
        for index in np.flatnonzero(areas < 0):  # the faces turned to the camera
            shade, glows = looks[index]
            canvas.paint(outlines[index], shade, CAR, z, glows)


def person(canvas: Canvas, x: float, z: float) -> None:
    """Draw a walking person."""
    rng = canvas.rng
    size = rng.uniform(1.55, 1.9) if canvas.chance(0.85) else rng.uniform(1.0, 1.35)
    stride, facing, girth = rng.uniform(0.02, 0.14), rng.choice((-1, 1)), rng.uniform(0.2, 0.3)
    coat, trousers, skin = canvas.pick(_CLOTHES), canvas.pick(_CLOTHES), canvas.pick(_SKINS, 6)

    def fill(outline: np.ndarray, color: Paint) -> None:
        canvas.paint(canvas.upright(x, z, outline * (facing * size, size)), color, PERSON, z)

    for foot in (-stride, stride):
        fill(limb((foot / 5, 0.5), (foot, 0.02), 0.095), trousers)
        fill(limb((foot - 0.04, 0.015), (foot + 0.08, 0.015), 0.04), (34, 30, 30))
    swing = 0.8 * stride
    fill(limb((girth * 0.42, 0.8), (girth * 0.42 + swing, 0.47), 0.065), 0.85 * coat)
    hem = rng.uniform(0.3, 0.47)
    torso = [(-0.38 * girth, 0.84), (0.38 * girth, 0.84), (0.52 * girth, 0.7), (0.5 * girth, hem), (-0.5 * girth, hem)]
    fill(np.array(torso), coat)
    fill(limb((-girth * 0.42, 0.8), (-girth * 0.42 - swing, 0.47), 0.065), 0.9 * coat)
    fill((0.01, 0.92) + regular(8, 0.068) * (0.85, 1.1), skin)
    fill((-0.008, 0.95) + regular(8, 0.06) * (1, 0.8), canvas.pick(((40, 30, 26), (120, 86, 50), (170, 168, 164)), 6))
    if canvas.chance(0.3):
        fill(limb((-0.4 * girth, 0.78), (-0.5 * girth, 0.52), 0.14), canvas.pick(PAINTS))


def _post(canvas: Canvas, x: float, z: float, height: float, width: float) -> np.ndarray:
    """Draw a vertical pole, never so thin that it would be lost; return its colour."""
    metal = canvas.pick(((92, 94, 96), (60, 64, 62), (74, 78, 80)), 8)
    width = max(width, 3.6 * SUPERSAMPLING * z / canvas.focal)
    canvas.paint(canvas.upright(x, z, limb((0, 0), (0, height), width)), metal, POLE, z)
    light = canvas.upright(x, z, limb((-width / 4, 0), (-width / 4, height), width / 3))
    canvas.paint(light, np.minimum(1.3 * metal, 250), POLE, z)
    return metal


def lamp(canvas: Canvas, x: float, z: float) -> None:
    """Draw a street lamp."""
    height, reach, width = canvas.rng.uniform(5, 8), -np.sign(x) * canvas.rng.uniform(1.0, 2.5), 0.2
    metal = _post(canvas, x, z, height, width)
    thick = max(0.16, 3 * SUPERSAMPLING * z / canvas.focal)
    canvas.paint(canvas.upright(x, z, limb((0, height - 0.1), (reach, height + 0.4), thick)), metal, POLE, z)
    head = canvas.upright(x, z, limb((0.8 * reach, height + 0.3), (1.3 * reach, height + 0.35), 2 * thick))
    night = canvas.lit_windows > 0.2
    canvas.paint(head, (255, 236, 180) if night else 0.8 * metal, POLE, z, glows=night)


def sign(canvas: Canvas, x: float, z: float) -> None:
    """Draw a traffic sign on its pole."""
    rng = canvas.rng
    radius, top = rng.uniform(0.75, 1.05), rng.uniform(2.4, 3.2)
    _post(canvas, x, z, top + radius, 0.24)
    board = rng.uniform(0.8, 1.6), rng.uniform(0.5, 0.9)
    shapes = (
        regular(14, radius), regular(3, 1.25 * radius), regular(3, 1.25 * radius, 0), regular(8, radius, 0.5),
        regular(4, 1.2 * radius), regular(4, 1.2 * radius, 0), rectangles(-board[0], board[0], -board[1], board[1]),
    )  # fmt: skip
    shape = shapes[rng.integers(len(shapes))]
    rim, face, ink = canvas.pick(PLATES), canvas.pick(PLATES), canvas.pick(PLATES)
    bar = limb((-0.4 * radius, 0), (0.4 * radius, rng.normal(0, 0.2)), 0.3 * radius)
    for outline, color in ((shape, rim), (0.78 * shape, face), (bar, ink)):
        canvas.paint(canvas.upright(x, z, (0, top) + outline), color, SIGN, z)


def bonnet(canvas: Canvas) -> None:
    """Draw the bonnet of the camera's own car at the lower edge, which is ignored."""
    rows, columns = canvas.pixels.shape[:2]
    across = np.linspace(-1, 1, 15)
    rise = canvas.rng.uniform(0.05, 0.12) * (1 - 0.6 * across**4 - 0.2 * across**2)
    edge = np.stack((columns * (0.5 + 0.56 * across), rows * (1 - rise)), axis=-1)
    color = canvas.pick(PAINTS)
    canvas.paint(
        np.concatenate((edge, [(columns * 1.06, rows * 1.1), (-columns * 0.06, rows * 1.1)])), color, IGNORE_INDEX
    )
    canvas.paint(np.concatenate((edge, edge[::-1] + (0, 0.015 * rows))), np.minimum(1.3 * color, 250), IGNORE_INDEX)
