"""From the values or colours that masks hold to train ids 0..C-1 and IGNORE_INDEX, through tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from segdla.data.dataset import IGNORE_INDEX, Color
from segdla.errors import UserError

_UNKNOWN = 254  # what a table gives for a value it has no entry for
_NAMED = 5  # unknown values in a message


class IdEncoding:
    """Masks of label ids (H,W), uint8 or uint16, to train ids, through one table.

    ``key`` tells encodings apart: those of one key give the same train ids.
    """

    def __init__(self, train_ids: Mapping[int, int]):
        self.known = sorted(train_ids)
        self.key = f"ids {sorted(train_ids.items())}"
        self.table = np.full(1 << 16, _UNKNOWN, np.uint8)
        for label_id, train_id in train_ids.items():
            self.table[label_id] = train_id

    def __call__(self, mask: np.ndarray, path: Path) -> np.ndarray:
        if mask.ndim != 2:
            raise UserError(
                f"{path}: masks are single-channel class ids; this one is {_describe(mask)}; convert it, or give the "
                "classes' colours (data.colors of a folder data set)"
            )
        target = cv2.LUT(mask, self.table[:256]) if mask.dtype == np.uint8 else self.table[mask]
        if (target == _UNKNOWN).any():
            ids, counts = np.unique(mask[target == _UNKNOWN], return_counts=True)
            found = ", ".join(f"{i} ({n} pixels)" for i, n in zip(ids[:_NAMED], counts, strict=False))
            raise UserError(
                f"{path}: label id {found}{_more(len(ids))} is not in the data set's {_ranges(self.known)}; mend the "
                f"mask, add the class, or ignore the id (data.ignore of a folder data set){_lossy(path)}"
            )
        return target


class ColorEncoding:
    """RGB masks (H,W,3) uint8 to train ids, through one table over all colours.

    Unlisted colours are ignored, or, if ``strict``, the user's mistake.
    """

    def __init__(self, train_ids: Mapping[Color, int], strict: bool = False):
        self.key = f"colours {sorted(train_ids.items())} {strict}"
        self.table = np.full(1 << 24, _UNKNOWN if strict else IGNORE_INDEX, np.uint8)
        for (r, g, b), train_id in train_ids.items():
            self.table[r << 16 | g << 8 | b] = train_id

    def __call__(self, mask: np.ndarray, path: Path) -> np.ndarray:
        if mask.ndim != 3 or mask.dtype != np.uint8:
            raise UserError(f"{path}: masks are RGB colours here; this one is {_describe(mask)}")
        packed = packed_colors(mask)
        target = self.table[packed]
        if (target == _UNKNOWN).any():
            colors, counts = np.unique(packed[target == _UNKNOWN], return_counts=True)
            order = np.argsort(-counts, kind="stable")[:_NAMED]
            found = ", ".join(f"{list(unpacked_color(colors[i]))} ({counts[i]} pixels)" for i in order)
            raise UserError(
                f"{path}: colour {found}{_more(len(colors))} is none of the classes'; mend the mask, or name the "
                f"colour in data.colors or data.ignore_colors{_lossy(path)}"
            )
        return target


class IdOrColorEncoding:
    """Masks of ids or of colours, each by its own encoding."""

    def __init__(self, ids: IdEncoding, colors: ColorEncoding):
        self.ids = ids
        self.colors = colors
        self.key = f"{ids.key}, {colors.key}"

    def __call__(self, mask: np.ndarray, path: Path) -> np.ndarray:
        return (self.ids if mask.ndim == 2 else self.colors)(mask, path)


def packed_colors(mask: np.ndarray) -> np.ndarray:
    """RGB (H,W,3) uint8 to one number a pixel (H,W) uint32."""
    red, green, blue = (mask[..., c].astype(np.uint32) for c in range(3))
    return red << 16 | green << 8 | blue


def unpacked_color(packed: int) -> Color:
    return int(packed) >> 16, int(packed) >> 8 & 255, int(packed) & 255


def _describe(mask: np.ndarray) -> str:
    kind = "single-channel" if mask.ndim == 2 else f"{mask.shape[2]}-channel"
    return f"{kind}, {8 * mask.dtype.itemsize}-bit"


def _more(number: int) -> str:
    return f" and {number - _NAMED} more" if number > _NAMED else ""


def _lossy(path: Path) -> str:
    return "; JPEG alters values: store masks as PNG" if path.suffix.lower() in (".jpg", ".jpeg") else ""


def _ranges(ids: Sequence[int]) -> str:
    """[0, 1, 2, 255] as '0..2, 255'."""
    runs: list[list[int]] = []
    for i in ids:
        if runs and i == runs[-1][1] + 1:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    return ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in runs)
