"""Placements: matrices, never built whole, that bring a map's rows or its columns onto an image.

For a range of the image's rows, a placement gives the rows of the map that they depend on, and with what weights. All
placements are linear, so a chain of them is a product; ``band`` multiplies out only the rows asked for. Columns are
placed in the same way.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

Band = tuple[int, int, np.ndarray]  # rows first..last-1 of the map, weights (rows of the image, last-first)


@dataclass(frozen=True)
class Resize:
    """Bilinear resizing with pixels as squares (``align_corners=False``): ``inner`` rows become ``outer``."""

    inner: int
    outer: int

    def band(self, top: int, bottom: int) -> Band:
        """Return the band for rows top..bottom-1 of the image."""
        if top >= bottom:
            return 0, 0, np.zeros((0, 0))
        rows = np.arange(bottom - top)
        center = ((rows + top + 0.5) * self.inner / self.outer - 0.5).clip(0, self.inner - 1)
        low = np.floor(center).astype(int)
        high = np.minimum(low + 1, self.inner - 1)
        first, last = int(low[0]), int(high[-1]) + 1
        weights = np.zeros((len(rows), last - first))
        weights[rows, low - first] = 1 - (center - low)
        weights[rows, high - first] += center - low
        return first, last, weights


@dataclass(frozen=True)
class Mirror:
    """Mirroring: the last of ``length`` rows becomes the first."""

    length: int

    def band(self, top: int, bottom: int) -> Band:
        """Return the band for rows top..bottom-1 of the image."""
        return self.length - bottom, self.length - top, np.eye(bottom - top)[::-1]


@dataclass(frozen=True)
class Window:
    """The window at ``starts[index]``, each ``length`` rows long; where windows overlap, one fades into the other."""

    starts: tuple[int, ...]
    length: int
    overlap: int
    index: int

    @property
    def start(self) -> int:
        """The window's first row in the image."""
        return self.starts[self.index]

    @property
    def stop(self) -> int:
        """The row after the window's last."""
        return self.start + self.length

    def band(self, top: int, bottom: int) -> Band:
        """Return the band for rows top..bottom-1 of the image."""
        first, last = max(top, self.start), min(bottom, self.stop)
        if first >= last:
            return 0, 0, np.zeros((bottom - top, 0))
        weights = np.zeros((bottom - top, last - first))
        weights[np.arange(first - top, last - top), np.arange(last - first)] = _fading_weights(self, first, last)
        return first - self.start, last - self.start, weights


def starts(length: int, window: int, overlap: float) -> tuple[int, ...]:
    """Return the starts of windows that cover a length; ``overlap`` is a fraction of a window.

    The last window is pulled back to the edge.
    """
    stride = max(1, round(window * (1 - overlap)))
    return (*range(0, length - window, stride), length - window)


def _fading_weights(window: Window, first: int, last: int) -> np.ndarray:
    """Return the weights of a window's rows; over all windows, those of a row add up to 1."""
    rows = np.arange(first, last) + 0.5
    fade = max(1, window.overlap)

    def height(start: int) -> np.ndarray:
        rise = np.inf if start == window.starts[0] else (rows - start) / fade  # nothing to fade into at the edges
        fall = np.inf if start == window.starts[-1] else (start + window.length - rows) / fade
        return np.minimum(np.minimum(rise, fall), 1).clip(0)

    return height(window.start) / sum(height(start) for start in window.starts)


Placement = Resize | Mirror | Window


@lru_cache(maxsize=256)
def band(chain: tuple[Placement, ...], top: int, bottom: int, device: torch.device) -> tuple[int, int, Tensor]:
    """Return rows first..last-1 of a map, and the weights (bottom-top, last-first) that turn them into image rows.

    The chain goes from the map to the image. Bands are cached because all images of one size need the same, and only a
    few hundred of them because they stay in the device's memory.
    """
    weights = np.eye(bottom - top)
    for placement in reversed(chain):
        top, bottom, inner = placement.band(top, bottom)
        weights = weights @ inner
    return top, bottom, torch.from_numpy(weights.astype(np.float32)).to(device)
