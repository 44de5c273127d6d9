"""Augmentation: one affine warp that touches only the crop's pixels, then albumentations on the crop."""

import difflib
import inspect
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

# Importing albumentations asks the network for news of it unless told not to; nothing here may need a network.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A

from segdla.data.dataset import IGNORE_INDEX
from segdla.errors import UserError

_LOOKED_AT = 1 << 17  # pixels of a mask, when looking for rare classes: a millisecond


class AffineCrop(A.DualTransform):
    """Scale, rotate, flip and crop as a single warp: images reflected beyond their border, masks ignored there.

    height, width: of the crop, in pixels. scale: range of the magnification, drawn uniformly. rotate: largest angle in
    degrees. flip: probability of a left-right flip. balance: share of crops centred on a pixel of a class drawn evenly
    from those in the mask, as far as the borders allow. The others lie anywhere inside the magnified image, or around
    it where they are larger. One that is not rotated and lies inside is made of whole pixels of the image, by resizing.
    """

    class InitSchema(A.DualTransform.InitSchema):
        height: int
        width: int
        scale: tuple[float, float]
        rotate: float
        flip: float
        balance: float

    def __init__(
        self,
        height: int,
        width: int,
        scale: tuple[float, float] = (1.0, 1.0),
        rotate: float = 0.0,
        flip: float = 0.0,
        balance: float = 0.0,
        p: float = 1.0,
    ):
        super().__init__(p=p)
        self.height = height
        self.width = width
        self.scale = scale
        self.rotate = rotate
        self.flip = flip
        self.balance = balance

    @property
    def targets_as_params(self) -> list[str]:
        return ["mask"] if self.balance else []

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        height, width = params["shape"][:2]
        scale = self.py_random.uniform(*self.scale)
        angle = math.radians(self.py_random.uniform(-self.rotate, self.rotate))
        mirror = -1 if self.py_random.random() < self.flip else 1
        centred = self.balance and self.py_random.random() < self.balance
        y, x = self._rare_pixel(data["mask"]) if centred else (None, None)
        center_y = self._crop_start(height, self.height, scale, y) + self.height / 2
        center_x = self._crop_start(width, self.width, scale, x) + self.width / 2
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        linear = np.array([[mirror * cos, mirror * -sin], [sin, cos]])
        # From the source's pixel centres to the crop's: both lie half a pixel inside the pixels' corners.
        source_center = np.array([center_x, center_y]) / scale - 0.5
        crop_center = np.array([self.width, self.height]) / 2 - 0.5
        return {"matrix": np.hstack([linear, (crop_center - linear @ source_center)[:, None]])}

    def _crop_start(self, length: int, wanted: int, scale: float, around: int | None) -> int:
        # Whole pixels, so that an unscaled crop is a copy and not a blur.
        room = round(length * scale) - wanted
        first, last = min(0, room), max(0, room)
        if around is None:
            return self.py_random.randint(first, last)
        return min(max(first, round((around + 0.5) * scale - wanted / 2)), last)

    def _rare_pixel(self, mask: np.ndarray) -> tuple[int, int] | tuple[None, None]:
        """A pixel of a class drawn evenly from those in the mask, by a coarse look; none where all is ignored."""
        step = max(1, math.isqrt(mask.size // _LOOKED_AT))
        seen = mask[::step, ::step]
        classes = np.flatnonzero(np.bincount(seen.ravel(), minlength=256)[:IGNORE_INDEX])
        if not len(classes):
            return None, None
        places = np.flatnonzero(seen == self.py_random.choice(classes))
        y, x = divmod(int(self.py_random.choice(places)), seen.shape[1])
        return y * step, x * step

    def apply(self, img: np.ndarray, matrix: np.ndarray, **params: Any) -> np.ndarray:
        return self._warp(img, matrix, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101)

    def apply_to_mask(self, mask: np.ndarray, matrix: np.ndarray, **params: Any) -> np.ndarray:
        return self._warp(mask, matrix, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)

    def _warp(self, array: np.ndarray, matrix: np.ndarray, interpolation: int, border: int) -> np.ndarray:
        size = (self.width, self.height)  # OpenCV's order
        window = _window(matrix, size, array.shape)
        if window is not None:  # the same at a quarter of the time
            exact = cv2.INTER_NEAREST_EXACT if interpolation == cv2.INTER_NEAREST else interpolation
            resized = cv2.resize(array[window], size, interpolation=exact)
            return cv2.flip(resized, 1) if matrix[0, 0] < 0 else resized
        return cv2.warpAffine(array, matrix, size, flags=interpolation, borderMode=border, borderValue=IGNORE_INDEX)


def _window(matrix: np.ndarray, size: tuple[int, int], shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    """The part of an array, in whole pixels, that a warp to (width, height) only scales and mirrors.

    None where the warp does more, or goes beyond the array.
    """
    if matrix[0, 1] or matrix[1, 0]:
        return None
    slices = []
    for factor, shift, length, available in zip(np.diag(matrix), matrix[:, 2], size, shape[1::-1], strict=True):
        near, far = sorted((corner - 0.5 - shift) / factor + 0.5 for corner in (0, length))  # of pixels, not centres
        start = round(near)
        stop = start + max(1, round(far - near))
        if stop == available + 1 and start > 0:  # by a rounding only
            start, stop = start - 1, stop - 1
        if start < 0 or stop > available:
            return None
        slices.append(slice(start, stop))
    return slices[1], slices[0]


class TrainingTransform:
    """``transform(image, target, seed)``: a crop of (height, width), the same for the same seed.

    ``extra`` names further albumentations, applied to the crop in order. Raises UserError where one does not exist or
    does not take its arguments.
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
        transforms: list[A.BasicTransform] = [AffineCrop(*crop, scale=scale, rotate=rotate, flip=flip, balance=balance)]
        if jitter:
            span = (1 - jitter, 1 + jitter)
            transforms.append(A.ColorJitter(brightness=span, contrast=span, saturation=span, hue=(0, 0), p=1))
        transforms += [_by_name(name, arguments or {}) for entry in extra for name, arguments in entry.items()]
        self.compose = A.Compose(transforms)

    def __call__(self, image: np.ndarray, target: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        # Under loader workers albumentations would draw the same numbers in each of them, every epoch anew.
        self.compose.set_random_seed(seed)
        result = self.compose(image=image, mask=target)
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
        except (TypeError, ValueError, UserWarning) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"data.augment.transforms: {name} does not take {dict(arguments)}: {reason}") from None
