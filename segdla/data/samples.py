"""From a source to samples: augmented, drawn from (seed, epoch, index) alone, and ready to be stacked."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from segdla.data.files_ahead import FilesAhead
from segdla.data.paste import Pair
from segdla.data.source import Source
from segdla.errors import UserError
from segdla.machine.remote.storage_errors import StorageError

Transform = Callable[[np.ndarray, np.ndarray, int], Pair]
"""``transform(image, target, seed)`` returns a crop, the same one for the same seed."""


class Sample(NamedTuple):
    """An image with its target, as tensors."""

    image: Tensor  # (3,H,W) uint8, RGB
    target: Tensor  # (H,W) uint8, train ids; of whole images (1,1) int16
    name: str
    unreadable: tuple[str, ...] = ()  # messages of the samples that this one stands in for


class SegmentationDataset(Dataset):
    """Samples of a source under ``(epoch, index)`` keys.

    The transform is seeded from (seed, epoch, index) alone. So the stream of samples depends neither on the number of
    workers nor on what any of them did before. ``paste`` may put a part of another sample over a transformed one.

    For an unreadable sample, its UserError is returned instead: raised in a worker, it would arrive buried in that
    worker's traceback. With ``stand_ins``, up to that many of the samples that follow are tried in its place.
    """

    def __init__(
        self,
        source: Source,
        transform: Transform | None = None,
        seed: int = 0,
        stand_ins: int = 0,
        paste: Callable[[Pair, Callable[[float], Pair], int], Pair] | None = None,
    ):
        self.source = source
        self.transform = transform
        self.seed = seed
        self.stand_ins = stand_ins
        self.paste = paste
        self.ahead: FilesAhead | None = None

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, int]) -> Sample | UserError:
        epoch, index = key
        errors: list[UserError] = []
        for offset in range(1 + self.stand_ins):
            try:
                sample = self._sample(epoch, (index + offset) % len(self))
            except StorageError as error:  # of all samples, so none stands in
                return error
            except UserError as error:
                errors.append(error)
            else:
                return sample._replace(unreadable=tuple(map(str, errors)))
        return errors[-1]

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Iterator[Sample | UserError]:
        """Yield the samples, each made when it is asked for, so that it can reuse the memory of one that is gone."""
        if self.ahead is not None:
            self.ahead.reach(keys)
        return map(self.__getitem__, keys)

    def _sample(self, epoch: int, index: int) -> Sample:
        image, target = self.source.read(index)
        if self.transform is not None:
            image, target = self._augmented(self.transform, image, target, epoch, index)
        planes = np.empty((3, *image.shape[:2]), np.uint8)
        cv2.split(image, list(planes))  # a quarter of the time that numpy takes to transpose
        return Sample(torch.from_numpy(planes), torch.from_numpy(np.ascontiguousarray(target)), self.source.name(index))

    def _augmented(self, transform: Transform, image: np.ndarray, target: np.ndarray, epoch: int, index: int) -> Pair:
        of_this, of_another, of_paste = np.random.SeedSequence((self.seed, epoch, index)).generate_state(3).tolist()
        crop = transform(image, target, of_this)
        if self.paste is None:
            return crop

        def another(place: float) -> Pair:
            return transform(*self.source.read(int(place * len(self))), of_another)

        # If samples may be left out, one that can't be read is left out when its own turn comes.
        with suppress(UserError) if self.stand_ins else nullcontext():
            crop = self.paste(crop, another, of_paste)
        return crop
