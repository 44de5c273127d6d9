"""From the label ids or colours that masks hold to train ids 0..C-1 and IGNORE_INDEX, through tables."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from segdla.data.stored_mask import StoredMask
from segdla.errors import UserError

IGNORE_INDEX = 255
"""The train id of pixels that are neither trained on nor scored."""

UNLABELLED = 254
"""The value of pixels that nobody has labelled yet: the first beyond the classes.

Where a labelling tool's files leave them so, their rules give the train id. In images of ``data.unlabelled`` the moving
average of the weights labels them during training.
"""

UNKNOWN = UNLABELLED
"""The entry of a table for ids and colours that no class has. Masks with them are refused."""

Color = tuple[int, int, int]
_NO_COLOR = 1 << 24  # no real colour packs to this value
_MAX_LISTED = 5  # unknown values in one message


class Encoding(Protocol):
    """A function from a mask as stored to train ids (H,W) uint8.

    Encodings with the same ``key`` give the same train ids. Raises UserError, which names ``path``, if the mask holds
    a value that isn't a class.
    """

    key: str

    def __call__(self, mask: StoredMask, path: Path) -> np.ndarray: ...


class IdEncoding:
    """Masks of label ids (H,W), uint8 or uint16, to train ids, through one table. A palette's colours mean nothing."""

    def __init__(self, train_ids: Mapping[int, int]):
        self.train_ids = dict(train_ids)
        self.key = f"ids {sorted(train_ids.items())}"
        self.table = np.full(1 << 16, UNKNOWN, np.uint8)
        for label_id, train_id in train_ids.items():
            self.table[label_id] = train_id

    def __call__(self, mask: StoredMask, path: Path) -> np.ndarray:
        samples = mask.samples
        if samples.ndim != 2:
            raise UserError(
                f"{path}: masks are single-channel class ids; this one is {_describe(samples)}; convert it, or give "
                "the classes' colours (data.colors of a folder data set)"
            )
        target = _look_up(self.table, samples)
        if (target == UNKNOWN).any():
            raise UserError(
                f"{path}: label id {_examples(samples[target == UNKNOWN])} is not in the data set's "
                f"{_ranges(self.train_ids)}; mend the mask, add the class, or ignore the id (data.ignore of a folder "
                f"data set){_lossy(mask)}"
            )
        return target


_PLACE = "data.colors or data.ignore_colors"


class ColorEncoding:
    """Masks of colours to train ids, through one table over all colours: RGB, palette images, and greys.

    A colour that is not in the table is ignored or, if ``strict``, raises UserError, which tells the ``place`` to name
    it in. A grey mask with no listed value always raises, since it may hold ids.
    """

    def __init__(self, train_ids: Mapping[Color, int], strict: bool = False, place: str = _PLACE):
        self.place = place
        self.key = f"colours {sorted(train_ids.items())} {strict}"
        self.listed = np.array([r << 16 | g << 8 | b for r, g, b in train_ids])
        self.table = np.full(_NO_COLOR + 1, UNKNOWN if strict else IGNORE_INDEX, np.uint8)
        self.table[self.listed] = list(train_ids.values())

    def __call__(self, mask: StoredMask, path: Path) -> np.ndarray:
        samples = mask.samples
        if samples.dtype != np.uint8 or not self._has_colors(mask):
            raise UserError(f"{path}: masks are RGB colours here; this one is {_describe(samples)}")
        packed = packed_colors(samples) if samples.ndim == 3 else _colors_of_samples(mask)[samples]
        target = self.table[packed]
        if (target == UNKNOWN).any():
            raise UserError(
                f"{path}: colour {_color_examples(packed[target == UNKNOWN])} is none of the classes'; mend the mask, "
                f"or name the colour in {self.place}{_lossy(mask)}"
            )
        return target

    def of_samples(self, mask: StoredMask) -> np.ndarray:
        """Return the train ids (256,) that the colours of single-channel samples stand for."""
        return self.table[_colors_of_samples(mask)]

    def _has_colors(self, mask: StoredMask) -> bool:
        if mask.samples.ndim == 3 or mask.has_palette:
            return True
        return bool(np.isin(_colors_of_samples(mask)[np.unique(mask.samples)], self.listed).any())


class IdOrColorEncoding:
    """Masks of label ids and masks of colours in one data set; ``colors`` is strict.

    A mask of one channel holds colours if all of its samples have colours of classes, by a palette or as greys. Else it
    holds ids, unless a colour contradicts its sample's id.
    """

    def __init__(self, ids: IdEncoding, colors: ColorEncoding):
        self.ids = ids
        self.colors = colors
        self.key = f"{ids.key}, {colors.key}, either"
        self.class_ids = np.array(
            [label_id for label_id, train_id in ids.train_ids.items() if train_id != IGNORE_INDEX]
        )

    def __call__(self, mask: StoredMask, path: Path) -> np.ndarray:
        samples = mask.samples
        if samples.ndim == 3:
            return self.colors(mask, path)
        number = 1 << 8 * samples.itemsize
        used = np.flatnonzero(cv2.calcHist([samples], [0], None, [number], [0, number]))
        by_color = np.full(number, UNKNOWN, np.uint8)
        by_color[:256] = self.colors.of_samples(mask)
        if (by_color[used] != UNKNOWN).all():
            return _look_up(by_color, samples)
        by_id = self.ids.table[:number]
        contradicts = (by_color != UNKNOWN) & (by_color != by_id)
        if (by_id[used] == UNKNOWN).any() or contradicts[used].any() or not self._may_be_ids(mask, contradicts):
            raise self._unclear(mask, path, by_color, by_id)
        return self.ids(mask, path)

    def _may_be_ids(self, mask: StoredMask, contradicts: np.ndarray) -> bool:
        """Return whether a palette has an entry for each class, and none of them another class's colour.

        The palette of a file that a program has made small has entries for this mask's colours alone, in any order.
        """
        if not mask.has_palette:
            return True
        return bool(self.class_ids.max() < len(mask.colors) and not contradicts[self.class_ids].any())

    def _unclear(self, mask: StoredMask, path: Path, by_color: np.ndarray, by_id: np.ndarray) -> UserError:
        samples = mask.samples
        strange = samples[by_color[samples] == UNKNOWN]
        if mask.has_palette:
            return UserError(
                f"{path}: colour {_color_examples(_colors_of_samples(mask)[strange])} of its palette is none of the "
                "classes'; mend the mask, or name the colour in data.colors or data.ignore_colors; if its indices are "
                "ids, save them in grey"
            )
        if (by_id[strange] == UNKNOWN).any():
            return UserError(
                f"{path}: grey {_examples(strange[by_id[strange] == UNKNOWN])} is neither a class's colour "
                f"(data.colors) nor a label id ({_ranges(self.ids.train_ids)}); mend the mask, or add the class"
                f"{_lossy(mask)}"
            )
        return UserError(
            f"{path}: grey {_examples(samples[by_color[samples] != UNKNOWN])} is a class's colour (data.colors), but "
            f"{_examples(strange)} only a label id; save masks of colours as RGB, or, if all masks hold ids, leave "
            "data.colors out"
        )


def packed_colors(mask: np.ndarray) -> np.ndarray:
    """Pack RGB (H,W,3) uint8 into one number a pixel, (H,W) uint32."""
    red, green, blue = (mask[..., c].astype(np.uint32) for c in range(3))
    return red << 16 | green << 8 | blue


def unpacked_color(packed: int) -> Color:
    """Return the RGB colour of a packed one."""
    return int(packed) >> 16, int(packed) >> 8 & 0xFF, int(packed) & 0xFF


def _describe(samples: np.ndarray) -> str:
    kind = "single-channel" if samples.ndim == 2 else f"{samples.shape[2]}-channel"
    return f"{kind}, {8 * samples.dtype.itemsize}-bit"


def _look_up(table: np.ndarray, samples: np.ndarray) -> np.ndarray:
    return cv2.LUT(samples, table[:256]) if samples.dtype == np.uint8 else table[samples]


def _colors_of_samples(mask: StoredMask) -> np.ndarray:
    """Return the packed colours (256,) of single-channel samples; ``_NO_COLOR`` stands for an index that has none."""
    packed = np.full(256, _NO_COLOR, np.uint32)
    packed[: len(mask.colors)] = packed_colors(mask.colors[:256])
    return packed


def _examples(values: np.ndarray) -> str:
    """List the lowest of values with their numbers of pixels."""
    ids, counts = np.unique(values, return_counts=True)
    return ", ".join(f"{i} ({n} pixels)" for i, n in zip(ids[:_MAX_LISTED], counts, strict=False)) + _more(len(ids))


def _color_examples(packed: np.ndarray) -> str:
    """List the most frequent of packed colours with their numbers of pixels."""
    colors, counts = np.unique(packed, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_MAX_LISTED]
    names = ("none" if colors[i] == _NO_COLOR else f"{list(unpacked_color(colors[i]))}" for i in order)
    return ", ".join(f"{name} ({counts[i]} pixels)" for name, i in zip(names, order, strict=True)) + _more(len(colors))


def _more(number: int) -> str:
    return f" and {number - _MAX_LISTED} more" if number > _MAX_LISTED else ""


def _lossy(mask: StoredMask) -> str:
    return f"; {mask.lossy} alters values: store masks as PNG" if mask.lossy else ""


def _ranges(ids: Iterable[int]) -> str:
    """Write [0, 1, 2, 255] as '0..2, 255'."""
    runs: list[list[int]] = []
    for i in sorted(ids):
        if runs and i == runs[-1][1] + 1:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    return ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in runs)
