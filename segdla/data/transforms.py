"""Augmentation: a cut, one matrix for the colours, then albumentations."""

import inspect
import os
import random
import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from segdla.data.cut import RandomCut
from segdla.data.labels import IGNORE_INDEX
from segdla.errors import UserError, nearest, one_line, quoted

if TYPE_CHECKING:
    import albumentations as A

_LUMA = np.array([0.299, 0.587, 0.114])  # shares of R, G and B in grey


def colored(image: np.ndarray, brightness: float, contrast: float, saturation: float) -> np.ndarray:
    """Change brightness, contrast and saturation of an RGB image (H,W,3) uint8, each by its factor; 1 changes nothing.

    They move colours away from black, from the image's mean grey and from each pixel's own grey. The three are linear
    and commute, so they are one matrix: the same in any order, and rounded and clipped only once.
    """
    grey = _LUMA @ cv2.mean(image)[:3]
    linear = brightness * contrast * (saturation * np.eye(3) + (1 - saturation) * _LUMA)
    return cv2.transform(image, np.column_stack([linear, np.full(3, brightness * (1 - contrast) * grey)]))


class TrainingTransform:
    """Cut a crop of (height, width) and change its colours: ``transform(image, target, seed)``, the same for one seed.

    jitter: largest distance from 1 of the factors of brightness, contrast and saturation. extra: further albumentations
    by name, applied to the crop in order. num_values: those from there to 254 are no labels. The other parameters are
    ``RandomCut``'s.

    Raises UserError if a transform does not exist or does not take its arguments. When called, it raises UserError if
    one can't be applied, or writes labels that were not there and that no ``fill_mask`` asks for.
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
        num_values: int = IGNORE_INDEX,
    ):
        self.crop = crop
        self.random_cut = RandomCut(crop, scale, rotate, flip, balance)
        self.jitter = jitter
        extras = [_by_name(name, arguments or {}, num_values) for entry in extra for name, arguments in entry.items()]
        self.extra = _albumentations().Compose(extras) if extras else None
        # Those that change masks too.
        self.moving = [transform for transform in extras if isinstance(transform, _albumentations().DualTransform)]

    def __call__(self, image: np.ndarray, target: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        draw = random.Random(seed)
        cut = self.random_cut(target, draw)
        image, target = cut(image), cut(target)
        if self.jitter:
            image = colored(image, *(draw.uniform(1 - self.jitter, 1 + self.jitter) for _ in range(3)))
        return (image, target) if self.extra is None else self._with_extra(self.extra, image, target, seed)

    def _with_extra(
        self, extra: "A.Compose", image: np.ndarray, target: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        # Under loader workers albumentations would draw the same numbers in each of them, and again in every epoch.
        extra.set_random_seed(seed)
        before = _ids(target) if self.moving else np.empty(0, int)
        try:
            result = extra(image=image, mask=target)
        except Exception as error:  # each transform has its own demands, and its own kinds of error
            raise UserError(
                f"data.augment.transforms can't be applied to a crop of {self.crop}: {type(error).__name__}: "
                f"{one_line(error)}; change them, or data.crop"
            ) from error
        image, target = result["image"], result["mask"]
        if image.dtype != np.uint8 or image.shape != (*self.crop, 3) or target.shape != self.crop:
            raise UserError(
                f"data.augment.transforms made of a crop an image of {image.shape} {image.dtype}; they must keep its "
                f"size {self.crop} and its bytes (the network normalises by itself)"
            )
        if self.moving:
            self._require_no_new(_ids(target), before)
        return image, target

    def _require_no_new(self, ids: np.ndarray, before: np.ndarray) -> None:
        """Raise UserError if there are ids that were not there before, and that no transform is to fill in."""
        fills = [getattr(transform, "fill_mask", IGNORE_INDEX) for transform in self.moving]
        strangers = np.setdiff1d(
            ids, [*before, *(fill for fill in fills if isinstance(fill, int | float)), IGNORE_INDEX]
        )
        if len(strangers):
            names = " or ".join(dict.fromkeys(type(transform).__name__ for transform in self.moving))
            raise UserError(
                f"data.augment.transforms: {names} wrote the train id {strangers[0]} into a crop that had none; masks "
                "are to be moved or filled with 255, not blended: leave out its mask arguments, or the transform"
            )


def _ids(target: np.ndarray) -> np.ndarray:
    """Return the ids in a mask; a histogram takes a tenth of the time that sorting would."""
    return np.flatnonzero(cv2.calcHist([target], [0], None, [256], [0, 256]))


def _albumentations() -> ModuleType:
    """Return albumentations, which is slow to import."""
    # Unless told not to, it asks the network for news of it then; nothing here may need a network.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


def _by_name(name: str, arguments: Mapping[str, Any], num_values: int) -> "A.BasicTransform":
    """Return an albumentation by its name.

    Raises UserError if there is none for images, it does not take its arguments, or it fills masks with no label.
    """
    library = _albumentations()
    base: type[A.BasicTransform] = library.BasicTransform
    known: dict[str, type[A.BasicTransform]] = {
        n: t for n, t in vars(library).items() if isinstance(t, type) and issubclass(t, base)
    }
    # Without an ``apply`` of its own it is a base of others, or for volumes.
    known = {n: t for n, t in known.items() if t.apply is not base.apply}
    if name not in known:
        near = nearest(name, known)
        hint = f", did you mean {near}?" if near else "; take one of its classes that change images"
        raise UserError(f"data.augment.transforms: albumentations has no transform of images {quoted(name)}{hint}")
    fill = inspect.signature(known[name]).parameters.get("fill_mask")
    if fill is not None and fill.default == 0:  # else pixels that it uncovers would be of the first class
        arguments = {"fill_mask": IGNORE_INDEX, **arguments}
    value = arguments.get("fill_mask")
    if isinstance(value, int | float) and value not in {*range(num_values), IGNORE_INDEX}:
        raise UserError(
            f"data.augment.transforms: {name} fills masks with {quoted(value)}, which is no label (0 to "
            f"{num_values - 1}); leave fill_mask out, and what it uncovers is ignored"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an argument it does not know is a warning to albumentations
        try:
            return known[name](**arguments)
        except (TypeError, ValueError, Warning) as error:
            reason = one_line(" ".join(str(error).split()))
            raise UserError(
                f"data.augment.transforms: {name} does not take {quoted(dict(arguments))}: {reason}"
            ) from None
