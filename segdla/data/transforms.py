"""Augmentation: one cut that touches only the crop's pixels, one matrix for the colours, then albumentations."""

import difflib
import inspect
import math
import os
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

# Importing albumentations asks the network for news of it unless told not to; nothing here may need a network.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A

from segdla.data.dataset import IGNORE_INDEX
from segdla.errors import UserError

_LOOKED_AT = 1 << 17  # pixels of a mask, when looking for rare classes: a millisecond
_LUMA = np.array([0.299, 0.587, 0.114])  # what grey is made of


class Cut(NamedTuple):
    """A crop of (height, width) that begins at (top, left) of an array magnified by ``scale``.

    It is turned about its centre by ``angle``, in radians, and then mirrored.
    """

    height: int
    width: int
    top: int
    left: int
    scale: float
    angle: float
    mirrored: bool

    def __call__(self, array: np.ndarray) -> np.ndarray:
        """The crop of an image (H,W,3), reflected beyond its border, or of a mask (H,W), ignored there."""
        return self._turned(array) if self.angle else self._straight(array)

    def matrix(self) -> np.ndarray:
        """(2, 3): from the array's pixels (x, y) to the crop's."""
        cos, sin = self.scale * math.cos(self.angle), self.scale * math.sin(self.angle)
        mirror = -1 if self.mirrored else 1
        linear = np.array([[mirror * cos, mirror * -sin], [sin, cos]])
        # From pixel centres to pixel centres: both lie half a pixel inside the pixels' corners.
        source_center = np.array([self.left + self.width / 2, self.top + self.height / 2]) / self.scale - 0.5
        crop_center = np.array([self.width, self.height]) / 2 - 0.5
        return np.hstack([linear, (crop_center - linear @ source_center)[:, None]])

    def _straight(self, array: np.ndarray) -> np.ndarray:
        """By resizing whole pixels: up to half a pixel beside what the matrix says, at a quarter of the time."""
        rows, height, above, below = _stretch(self.top, self.height, self.scale, array.shape[0])
        columns, width, before, after = _stretch(self.left, self.width, self.scale, array.shape[1])
        interpolation = cv2.INTER_NEAREST_EXACT if array.ndim == 2 else cv2.INTER_LINEAR
        crop = cv2.resize(array[rows, columns], (width, height), interpolation=interpolation)
        if above or below or before or after:
            crop = cv2.copyMakeBorder(crop, above, below, before, after, _border(array), value=IGNORE_INDEX)
        return cv2.flip(crop, 1) if self.mirrored else crop

    def _turned(self, array: np.ndarray) -> np.ndarray:
        matrix, size = self.matrix(), (self.width, self.height)
        corners = np.array([[0, 0, 1], [self.width, 0, 1], [0, self.height, 1], [self.width, self.height, 1]])
        reached = corners @ cv2.invertAffineTransform(matrix).T
        low, high = np.floor(reached.min(0)).astype(int) - 2, np.ceil(reached.max(0)).astype(int) + 3
        columns, rows = map(_reflected, low, high, array.shape[1::-1])
        window = array[rows, columns]
        matrix[:, 2] += matrix[:, :2] @ (columns.start, rows.start)
        if array.ndim == 2:
            return cv2.warpAffine(
                window, matrix, size, flags=cv2.INTER_NEAREST, borderMode=_border(array), borderValue=IGNORE_INDEX
            )
        window = cv2.cvtColor(window, cv2.COLOR_RGB2RGBA)  # four channels take a third of the time
        crop = cv2.warpAffine(window, matrix, size, flags=cv2.INTER_LINEAR, borderMode=_border(array))
        return cv2.cvtColor(crop, cv2.COLOR_RGBA2RGB)


def _border(array: np.ndarray) -> int:
    return cv2.BORDER_CONSTANT if array.ndim == 2 else cv2.BORDER_REFLECT_101


def _stretch(start: int, wanted: int, scale: float, length: int) -> tuple[slice, int, int, int]:
    """Along one axis: the pixels of the array that a crop shows, what they become, and what is lacking on both sides.

    ``start`` lies inside the magnified array, or ``wanted`` goes around it.
    """
    whole = _magnified(length, scale)
    if whole < wanted:
        return slice(0, length), whole, -start, wanted - whole + start
    size = max(1, min(length, round(wanted / scale)))
    first = min(round(start / scale), length - size)
    return slice(first, first + size), wanted, 0, 0


def _magnified(length: int, scale: float) -> int:
    return max(1, round(length * scale))


def _reflected(low: int, high: int, length: int) -> slice:
    """Along one axis: the pixels of an array that low to high show, or reflect where they are beyond it."""
    first = max(0, min(low, 2 * length - 1 - high))
    return slice(first, min(length, max(high, 1 - low)))


class RandomCut:
    """Draws cuts of (height, width).

    scale: range of the magnification, drawn uniformly. rotate: largest angle in degrees. flip: probability of a
    left-right flip. balance: share of crops centred on a pixel of a class drawn evenly from those in the mask, as far
    as the borders allow. The others lie anywhere inside the magnified image, or around it where they are larger.
    """

    def __init__(
        self, crop: tuple[int, int], scale: tuple[float, float], rotate: float, flip: float, balance: float = 0.0
    ):
        self.crop = crop
        self.scale = scale
        self.rotate = rotate
        self.flip = flip
        self.balance = balance

    def __call__(self, mask: np.ndarray, draw: random.Random) -> Cut:
        scale = draw.uniform(*self.scale)
        angle = math.radians(draw.uniform(-self.rotate, self.rotate))
        mirrored = draw.random() < self.flip
        centred = self.balance and draw.random() < self.balance
        around = _rare_pixel(mask, draw) if centred else (None, None)
        places = (
            _start(length, wanted, scale, pixel, draw)
            for length, wanted, pixel in zip(mask.shape, self.crop, around, strict=True)
        )
        return Cut(*self.crop, *places, scale, angle, mirrored)


def _start(length: int, wanted: int, scale: float, around: int | None, draw: random.Random) -> int:
    # Whole pixels, so that an unscaled crop is a copy and not a blur.
    room = _magnified(length, scale) - wanted
    first, last = min(0, room), max(0, room)
    if around is None:
        return draw.randint(first, last)
    return min(max(first, round((around + 0.5) * scale - wanted / 2)), last)


def _rare_pixel(mask: np.ndarray, draw: random.Random) -> tuple[int, int] | tuple[None, None]:
    """A pixel of a class drawn evenly from those in the mask, by a coarse look; none where all is ignored."""
    step = max(1, math.isqrt(mask.size // _LOOKED_AT))
    seen = mask[::step, ::step]
    classes = np.flatnonzero(np.bincount(seen.ravel(), minlength=256)[:IGNORE_INDEX])
    if not len(classes):
        return None, None
    places = np.flatnonzero(seen == draw.choice(classes))
    y, x = divmod(int(draw.choice(places)), seen.shape[1])
    return y * step, x * step


def colored(image: np.ndarray, brightness: float, contrast: float, saturation: float) -> np.ndarray:
    """An RGB image (H,W,3) uint8 with its colours moved away from black, its mean grey and each pixel's own grey.

    Each by its factor, where 1 changes nothing. The three are linear and commute, so they are one matrix: the same in
    any order, and rounded and clipped only once.
    """
    grey = _LUMA @ cv2.mean(image)[:3]
    linear = brightness * contrast * (saturation * np.eye(3) + (1 - saturation) * _LUMA)
    return cv2.transform(image, np.column_stack([linear, np.full(3, brightness * (1 - contrast) * grey)]))


class TrainingTransform:
    """``transform(image, target, seed)``: a crop of (height, width), the same for the same seed.

    ``jitter`` is how far brightness, contrast and saturation go from 1. ``extra`` names further albumentations, applied
    to the crop in order. Raises UserError where one does not exist or does not take its arguments.
    """

    def __init__(
        self,
        crop: tuple[int, int],
        scale: tuple[float, float],
        rotate: float,
        flip: float,
        jitter: float,
        balance: float = 0.0,
        extra: Sequence[Mapping[str, Mapping[str, Any] | None]] = (),
    ):
        self.crop = tuple(crop)
        self.cut = RandomCut(self.crop, tuple(scale), rotate, flip, balance)
        self.jitter = jitter
        further = [_by_name(name, arguments or {}) for entry in extra for name, arguments in entry.items()]
        self.further = A.Compose(further) if further else None

    def __call__(self, image: np.ndarray, target: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        draw = random.Random(seed)
        cut = self.cut(target, draw)
        image, target = cut(image), cut(target)
        if self.jitter:
            image = colored(image, *(draw.uniform(1 - self.jitter, 1 + self.jitter) for _ in range(3)))
        return (image, target) if self.further is None else self._furthered(image, target, seed)

    def _furthered(self, image: np.ndarray, target: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        # Under loader workers albumentations would draw the same numbers in each of them, every epoch anew.
        self.further.set_random_seed(seed)
        try:
            result = self.further(image=image, mask=target)
        except Exception as error:  # each transform has its own demands, and its own kinds of error
            raise UserError(
                f"data.augment.transforms can't be applied to a crop of {self.crop}: {type(error).__name__}: {error}; "
                "change them, or data.crop"
            ) from error
        image, target = result["image"], result["mask"]
        if image.dtype != np.uint8 or image.shape != (*self.crop, 3) or target.shape != self.crop:
            raise UserError(
                f"data.augment.transforms made of a crop an image of {image.shape} {image.dtype}; they must keep its "
                f"size {self.crop} and its bytes (the network normalises by itself)"
            )
        return image, target


def _by_name(name: str, arguments: Mapping[str, Any]) -> A.BasicTransform:
    known = {n: t for n, t in vars(A).items() if isinstance(t, type) and issubclass(t, A.BasicTransform)}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise UserError(f"data.augment.transforms: albumentations has no transform {name!r}{hint}")
    fill = inspect.signature(known[name]).parameters.get("fill_mask")
    if fill is not None and fill.default == 0:  # else what it uncovers would be labelled as the first class
        arguments = {"fill_mask": IGNORE_INDEX, **arguments}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an argument it does not know is a warning to albumentations
        try:
            return known[name](**arguments)
        except (TypeError, ValueError, Warning) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"data.augment.transforms: {name} does not take {dict(arguments)}: {reason}") from None
