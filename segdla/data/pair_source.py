"""A data set of files: pairs of an image and a mask, read when they are asked for."""

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from segdla.data.images import image_size, read_image, read_stored_mask
from segdla.data.labels import Encoding, IdEncoding
from segdla.data.source import (
    Classes,
    SizesDifferError,
    Source,
    UnknownLabelsError,
    UnreadableImageError,
    UnreadableMaskError,
)
from segdla.data.stored_mask import StoredMask
from segdla.data.wide_samples import SampleRange
from segdla.errors import UserError
from segdla.machine.remote.storage_errors import StorageError


class PairSource(Source):
    """Pairs of an image file and a mask file; ``encode`` turns a mask as stored into train ids."""

    def __init__(
        self,
        pairs: Sequence[tuple[Path, Path]],
        classes: Classes,
        encode: Encoding,
        problems: Sequence[str] = (),
        unused: Sequence[Path] = (),
        sample_range: SampleRange | None = None,
    ):
        self.pairs = list(pairs)
        self.classes = classes
        self.encode = encode
        self.problems = list(problems)
        self.unused = list(unused)
        self.sample_range = sample_range
        self.goes_by_ids = isinstance(encode, IdEncoding)
        self.names = unique_names([image for image, _ in self.pairs])

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        """Return the image's stem or, if stems are not unique, its path from the folder that holds all images."""
        return self.names[index]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read a pair; see ``Source.read``.

        Raises UnreadableImageError, UnreadableMaskError, SizesDifferError or UnknownLabelsError.
        """
        image, mask = self._image(index), self._mask(index)
        image_path, mask_path = self.pairs[index]
        require_one_size(image_path, image.shape[:2], mask_path, mask.samples.shape[:2])
        return image, self._encoded(mask, mask_path)

    def target(self, index: int) -> np.ndarray:
        return self._encoded(self._mask(index), self.pairs[index][1])

    def files(self, index: int) -> tuple[Path, ...]:
        return self.pairs[index]

    def image_size(self, index: int) -> tuple[int, int]:
        return image_size(self.pairs[index][0])

    def cache_key(self, index: int) -> str:
        image, mask = self.pairs[index]
        sample_range = "" if self.sample_range is None else f" {self.sample_range}"
        return f"{image.absolute()}\n{mask.absolute()}\n{self.encode.key}{sample_range}"

    def joined(self, other: Source) -> Self:
        """Return a source of the images of both. Raises UserError if their masks hold different kinds of labels."""
        if not isinstance(other, PairSource):
            raise UserError(f"image files can't be joined with a {type(other).__name__}; leave data.train_on_val out")
        if self.encode.key != other.encode.key:
            one, another = self.pairs[0][1], other.pairs[0][1]
            raise UserError(f"{one} and {another} hold different kinds of labels, so they can't be trained on together")
        both = copy.copy(self)  # of this kind: its groups and official truths are those of each image
        both.pairs, both.problems, both.unused = [*self.pairs, *other.pairs], [], []
        both.names = unique_names([image for image, _ in both.pairs])
        return both

    def _image(self, index: int) -> np.ndarray:
        try:
            return read_image(self.pairs[index][0], self.sample_range)
        except StorageError:
            raise
        except UserError as error:
            raise UnreadableImageError(str(error)) from error

    def _mask(self, index: int) -> StoredMask:
        try:
            return read_stored_mask(self.pairs[index][1])
        except StorageError:
            raise
        except UserError as error:
            raise UnreadableMaskError(str(error)) from error

    def _encoded(self, mask: StoredMask, path: Path) -> np.ndarray:
        try:
            return self.encode(mask, path)
        except UserError as error:
            raise UnknownLabelsError(str(error)) from error


def require_one_size(
    image_path: Path, image_size: tuple[int, ...], mask_path: Path, mask_size: tuple[int, ...]
) -> None:
    """Raise SizesDifferError if an image and its mask differ in (height, width)."""
    if image_size != mask_size:
        turned = "; is one of them turned by its EXIF orientation?" if image_size == mask_size[::-1] else ""
        raise SizesDifferError(
            f"{image_path} is {image_size[0]}x{image_size[1]} (height x width) but its mask {mask_path} is "
            f"{mask_size[0]}x{mask_size[1]}; they must be of one size{turned}"
        )


def unique_names(images: Sequence[Path]) -> list[str]:
    """Return the images' stems or, if these are not unique, their paths from the folder that holds them all."""
    stems = [image.stem for image in images]
    if len(set(stems)) == len(stems):
        return stems
    top = os.path.commonpath([image.absolute().parent for image in images])
    return [image.absolute().relative_to(top).with_suffix("").as_posix() for image in images]
