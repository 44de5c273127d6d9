"""A folder of images without any label, a part of which is held out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segdla.data.listing import list_images
from segdla.data.paths import user_path
from segdla.data.source import NO_LABEL, Classes
from segdla.data.subset import SourceView, Subset
from segdla.data.unlabelled_images import UnlabelledImages
from segdla.errors import UserError

NO_CLASSES = Classes(("image",), ((128, 128, 128),), whole_images=True)
"""Those of images of which nothing is told apart."""


class WithoutLabels(UnlabelledImages):
    """Image files, each of no class as a whole."""

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return super().read(index)[0], self.target(index)

    def target(self, index: int) -> np.ndarray:
        return np.full((1, 1), NO_LABEL, np.int16)

    def cache_key(self, index: int) -> str:
        return ""


def images_of(folder: str, split: str, held_out: float) -> SourceView:
    """Return the images of a folder that are trained on or, for ``val``, the share of them that is held out.

    Raises UserError if there are not two at least, or the split is another.
    """
    images: Sequence[Path] = list_images(user_path(folder), key="data.images")
    if split == "test":
        raise UserError("a folder of images has no test split; leave --split out")
    if len(images) < 2:
        raise UserError(f"{folder} holds one image, and one is to be held out; give it more")
    number = max(1, round(held_out * len(images)))
    places = np.linspace(0, len(images) - 1, number).round().astype(int).tolist()
    if split != "val":
        places = sorted({*range(len(images))} - {*places})
    return Subset(WithoutLabels(images, NO_CLASSES), places)
