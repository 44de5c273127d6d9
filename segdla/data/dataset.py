"""From files to samples: what a data set is, how images and masks are read, and how label ids become train ids.

A *source* has ``classes``, a length, ``name(index)`` and ``read(index)``, which gives an RGB image (H,W,3) and a target
(H,W) of train ids 0..C-1 and IGNORE_INDEX, both uint8; ``target(index)`` gives the latter alone. ``PairSource`` is the
one over files; drawn scenes are another.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from segdla.errors import UserError

IGNORE_INDEX = 255
IMAGE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"))
_UNKNOWN = 254  # what a table gives for a value it has no entry for

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Classes:
    """Names and RGB colours by train id; ``protocol`` says which of a data set's incompatible label sets they are."""

    names: tuple[str, ...]
    palette: tuple[Color, ...]
    protocol: str = ""

    def __len__(self) -> int:
        return len(self.names)


class Source(Protocol):
    classes: Classes

    def __len__(self) -> int: ...

    def name(self, index: int) -> str: ...

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]: ...

    def target(self, index: int) -> np.ndarray: ...


class IdEncoding:
    """Single-channel masks of label ids (H,W) uint8 to train ids, through one table of 256 entries."""

    def __init__(self, train_ids: Mapping[int, int]):
        self.known = sorted(train_ids)
        self.table = np.full(256, _UNKNOWN, np.uint8)
        for label_id, train_id in train_ids.items():
            self.table[label_id] = train_id

    def __call__(self, mask: np.ndarray, path: Path) -> np.ndarray:
        if mask.ndim != 2 or mask.dtype != np.uint8:
            raise UserError(f"{path}: masks are single-channel, 8-bit class ids; this one is {_describe(mask)}")
        target = cv2.LUT(mask, self.table)
        if (target == _UNKNOWN).any():
            ids, counts = np.unique(mask[target == _UNKNOWN], return_counts=True)
            found = ", ".join(f"{i} ({n} pixels)" for i, n in zip(ids[:5], counts[:5], strict=True))
            raise UserError(
                f"{path}: label id {found} is not in the data set's {_ranges(self.known)}; mend the mask, "
                "add the class, or ignore the id (data.ignore of a folder data set)"
            )
        return target


class ColorEncoding:
    """RGB masks (H,W,3) uint8 to train ids, through one table over all colours; unlisted colours are ignored."""

    def __init__(self, train_ids: Mapping[Color, int]):
        self.table = np.full(1 << 24, IGNORE_INDEX, np.uint8)
        for (r, g, b), train_id in train_ids.items():
            self.table[r << 16 | g << 8 | b] = train_id

    def __call__(self, mask: np.ndarray, path: Path) -> np.ndarray:
        if mask.ndim != 3 or mask.dtype != np.uint8:
            raise UserError(f"{path}: masks are RGB colours here; this one is {_describe(mask)}")
        blue, green, red = (mask[..., c].astype(np.uint32) for c in range(3))
        return self.table[red << 16 | green << 8 | blue]


class PairSource:
    """Images and masks in files. ``encode(mask, path)`` turns a mask as stored into train ids."""

    def __init__(
        self,
        pairs: Sequence[tuple[Path, Path]],
        classes: Classes,
        encode: Callable[[np.ndarray, Path], np.ndarray],
    ):
        self.pairs = list(pairs)
        self.classes = classes
        self.encode = encode

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        return self.pairs[index][0].stem

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image_path, mask_path = self.pairs[index]
        image, mask = read_image(image_path), read_mask(mask_path)
        if image.shape[:2] != mask.shape[:2]:
            raise UserError(
                f"{image_path} is {image.shape[0]}x{image.shape[1]} (height x width) but its mask {mask_path} is "
                f"{mask.shape[0]}x{mask.shape[1]}; they must be of one size"
            )
        return image, self.encode(mask, mask_path)

    def target(self, index: int) -> np.ndarray:
        path = self.pairs[index][1]
        return self.encode(read_mask(path), path)


class Sample(NamedTuple):
    image: Tensor  # (3,H,W) uint8, RGB
    target: Tensor  # (H,W) uint8, train ids
    name: str


class SegmentationDataset(Dataset):
    """Samples of a source under ``(epoch, index)`` keys.

    ``transform(image, target, seed)`` is drawn from (seed, epoch, index) alone, so that the stream of samples depends
    neither on the number of workers nor on what any of them did before. A sample that can't be read *is* its UserError:
    raised in a worker, it would arrive buried in that worker's traceback.
    """

    def __init__(self, source: Source, transform: Callable | None = None, seed: int = 0):
        self.source = source
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, int]) -> Sample | UserError:
        epoch, index = key
        try:
            image, target = self.source.read(index)
            if self.transform is not None:
                sample_seed = np.random.SeedSequence((self.seed, epoch, index)).generate_state(1)[0]
                image, target = self.transform(image, target, int(sample_seed))
        except UserError as error:
            return error
        image = np.ascontiguousarray(image.transpose(2, 0, 1))
        return Sample(torch.from_numpy(image), torch.from_numpy(np.ascontiguousarray(target)), self.source.name(index))


def read_image(path: Path) -> np.ndarray:
    """An image file as RGB (H,W,3) uint8, EXIF orientation applied. Raises UserError where it can't be read."""
    return cv2.cvtColor(_decode(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def read_mask(path: Path) -> np.ndarray:
    """A mask file as stored: (H,W), or (H,W,3) as BGR; a palette PNG gives its indices, not their colours."""
    mask = _decode(path, cv2.IMREAD_UNCHANGED)
    if path.suffix.lower() == ".png":
        with Image.open(path) as image:  # reads the header alone
            if image.mode in ("1", "P"):  # OpenCV gives 0 and 255 for a bit, and colours for a palette's index
                return np.asarray(image, np.uint8)
    return mask


def _decode(path: Path, mode: int) -> np.ndarray:
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    # imread would print warnings of its own, and imdecode raises on an empty buffer.
    image = cv2.imdecode(content, mode) if content.size else None
    if image is None:
        raise UserError(f"{path} is not an image that can be decoded; replace or remove it")
    return image


def list_images(directory: Path) -> list[Path]:
    """The image files of a directory, sorted. Raises UserError where there is no directory or none in it."""
    if not directory.is_dir():
        raise UserError(f"no directory {directory}; check data.root and the paths below it")
    paths = sorted(p for p in directory.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise UserError(f"no images in {directory} ({', '.join(sorted(IMAGE_SUFFIXES))}); check data.root")
    return paths


def pair_by_stem(images: Iterable[Path], masks: Iterable[Path], suffix: str = "") -> list[tuple[Path, Path]]:
    """Images with the masks named like them, extensions aside; a mask's stem is its image's with ``suffix`` added.

    Raises UserError where an image has no mask, or more than one.
    """
    by_stem = defaultdict(list)
    for mask in masks:
        by_stem[mask.stem].append(mask)
    pairs = []
    for image in images:
        found = by_stem[image.stem + suffix]
        if not found:
            raise UserError(f"no mask for {image}: expected {image.stem + suffix}.png in the masks' directory")
        if len(found) > 1:
            raise UserError(f"{len(found)} masks for {image}: {found[0]} and {found[1]}; keep one")
        pairs.append((image, found[0]))
    return pairs


def read_list(path: Path) -> list[tuple[str, str]]:
    """The (image, mask) names in a list file, a pair a line, with a tab or a space between them.

    Raises UserError where a line is no pair.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the list {path}: {getattr(error, 'strerror', error)}") from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        words = line.rstrip(";").split("\t" if "\t" in line else None)
        if len(words) == 2:
            pairs.append((words[0], words[1]))
        elif words:
            raise UserError(
                f"{path}, line {number}: {line!r} is not an image and a mask with a space or a tab between them"
            )
    if not pairs:
        raise UserError(f"the list {path} names no images")
    return pairs


def _describe(mask: np.ndarray) -> str:
    kind = "single-channel" if mask.ndim == 2 else f"{mask.shape[2]}-channel"
    return f"{kind}, {8 * mask.dtype.itemsize}-bit"


def _ranges(ids: Sequence[int]) -> str:
    """[0, 1, 2, 255] as '0..2, 255'."""
    runs: list[list[int]] = []
    for i in ids:
        if runs and i == runs[-1][1] + 1:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    return ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in runs)
