"""From files to samples: what a data set is.

A *source* has ``classes``, a length, ``name(index)`` and ``read(index)``, which gives an RGB image (H,W,3) and a target
(H,W) of train ids 0..C-1 and IGNORE_INDEX, both uint8; ``target(index)`` gives the latter alone. ``PairSource`` is the
one over files; drawn scenes are another.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from segdla.data.images import read_image, read_mask
from segdla.errors import UserError

IGNORE_INDEX = 255

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Classes:
    """Names and RGB colours by train id; ``protocol`` says which of a data set's incompatible label sets they are.

    ``categories`` names the group that each class belongs to, where the data set scores groups too.
    """

    names: tuple[str, ...]
    palette: tuple[Color, ...]
    protocol: str = ""
    categories: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)


class Source(Protocol):
    classes: Classes

    def __len__(self) -> int: ...

    def name(self, index: int) -> str: ...

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]: ...

    def target(self, index: int) -> np.ndarray: ...


class Encoding(Protocol):
    """Turns a mask as stored into train ids; those of one ``key`` turn it into the same."""

    key: str

    def __call__(self, mask: np.ndarray, path: Path) -> np.ndarray: ...


class PairSource:
    """Images and masks in files.

    ``problems`` are messages about images that could not be paired, ``unused`` are masks of no image: the data set is
    what ``pairs`` says, but someone should hear of them.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Path, Path]],
        classes: Classes,
        encode: Encoding,
        problems: Sequence[str] = (),
        unused: Sequence[Path] = (),
    ):
        self.pairs = list(pairs)
        self.classes = classes
        self.encode = encode
        self.problems = list(problems)
        self.unused = list(unused)
        self.names = _names([image for image, _ in self.pairs])

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        """The image's stem, or where these are not unique, its path from the folder of all of them."""
        return self.names[index]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image_path, mask_path = self.pairs[index]
        image, mask = read_image(image_path), read_mask(mask_path)
        require_one_size(image_path, image.shape[:2], mask_path, mask.shape[:2])
        return image, self.encode(mask, mask_path)

    def target(self, index: int) -> np.ndarray:
        path = self.pairs[index][1]
        return self.encode(read_mask(path), path)

    def joined(self, other: "PairSource") -> "PairSource":
        """The images of both. Raises UserError where their masks hold different kinds of labels."""
        if self.encode.key != other.encode.key:
            one, another = self.pairs[0][1], other.pairs[0][1]
            raise UserError(f"{one} and {another} hold different kinds of labels, so they can't be trained on together")
        return PairSource([*self.pairs, *other.pairs], self.classes, self.encode)


class Some:
    """A few images of a source, from all over it: its neighbours look alike."""

    def __init__(self, source: Source, count: int):
        self.source = source
        self.classes = source.classes
        self.indexes = np.linspace(0, len(source) - 1, min(count, len(source))).round().astype(int).tolist()

    def __len__(self) -> int:
        return len(self.indexes)

    def name(self, index: int) -> str:
        return self.source.name(self.indexes[index])

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.source.read(self.indexes[index])

    def target(self, index: int) -> np.ndarray:
        return self.source.target(self.indexes[index])


def is_labelled(source: Source) -> bool:
    """Whether its truth is public; where it is not, there is nothing in the targets to find fault with."""
    return getattr(source, "labelled", True)


def require_one_size(
    image_path: Path, image_size: tuple[int, ...], mask_path: Path, mask_size: tuple[int, ...]
) -> None:
    """Raises UserError where an image and its mask differ in (height, width)."""
    if image_size != mask_size:
        turned = "; is one of them turned by its EXIF orientation?" if image_size == mask_size[::-1] else ""
        raise UserError(
            f"{image_path} is {image_size[0]}x{image_size[1]} (height x width) but its mask {mask_path} is "
            f"{mask_size[0]}x{mask_size[1]}; they must be of one size{turned}"
        )


def _names(images: Sequence[Path]) -> list[str]:
    stems = [image.stem for image in images]
    if len(set(stems)) == len(stems):
        return stems
    top = os.path.commonpath([image.absolute().parent for image in images])
    return [image.absolute().relative_to(top).with_suffix("").as_posix() for image in images]


class Sample(NamedTuple):
    image: Tensor  # (3,H,W) uint8, RGB
    target: Tensor  # (H,W) uint8, train ids
    name: str
    unreadable: tuple[str, ...] = ()  # messages of the samples that this one stands in for


class SegmentationDataset(Dataset):
    """Samples of a source under ``(epoch, index)`` keys.

    ``transform(image, target, seed)`` is drawn from (seed, epoch, index) alone, so that the stream of samples depends
    neither on the number of workers nor on what any of them did before. A sample that can't be read *is* its UserError:
    raised in a worker, it would arrive buried in that worker's traceback. With ``stand_ins``, up to so many of the
    samples that follow are tried in its place. ``paste(pair, another, seed)`` may put a part of another sample over it.
    """

    def __init__(
        self,
        source: Source,
        transform: Callable | None = None,
        seed: int = 0,
        stand_ins: int = 0,
        paste: Callable | None = None,
    ):
        self.source = source
        self.transform = transform
        self.seed = seed
        self.stand_ins = stand_ins
        self.paste = paste

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, int]) -> Sample | UserError:
        epoch, index = key
        unreadable: tuple[str, ...] = ()
        for tried in range(1 + self.stand_ins):
            try:
                return self._sample(epoch, (index + tried) % len(self))._replace(unreadable=unreadable)
            except UserError as raised:
                error = raised
                unreadable += (str(error),)
        return error

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Iterator[Sample | UserError]:
        """Samples, each made when it is asked for: where one goes before the next, that is made in the same memory."""
        return map(self.__getitem__, keys)

    def _sample(self, epoch: int, index: int) -> Sample:
        image, target = self.source.read(index)
        if self.transform is not None:
            first, second, third = np.random.SeedSequence((self.seed, epoch, index)).generate_state(3).tolist()
            image, target = self.transform(image, target, first)
            if self.paste is not None:

                def another(place: float) -> tuple[np.ndarray, np.ndarray]:
                    return self.transform(*self.source.read(int(place * len(self))), second)

                # Where samples may be left out, one that can't be read is left out when its own turn comes.
                with suppress(UserError) if self.stand_ins else nullcontext():
                    image, target = self.paste((image, target), another, third)
        planes = np.empty((3, *image.shape[:2]), np.uint8)
        cv2.split(image, list(planes))  # a quarter of the time that numpy takes to transpose
        return Sample(torch.from_numpy(planes), torch.from_numpy(np.ascontiguousarray(target)), self.source.name(index))
