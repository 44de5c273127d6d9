"""Drawn street scenes as a source."""

import numpy as np

from segdla.data.scenes.canvas import NAMES, PALETTE
from segdla.data.scenes.street import draw_scene
from segdla.data.source import Classes, Source

_SEEDS = {"train": 0, "val": 1, "test": 2}
_MAX_BYTES = 256 * 2**20


class Scenes(Source):
    """``count`` scenes of ``size`` (height, width), drawn when they are read; the splits share none.

    A scene is kept while there is room in ``_MAX_BYTES``, so that later epochs need not draw it again.
    """

    classes = Classes(NAMES, PALETTE, "drawn street scenes")

    def __init__(self, split: str, count: int, size: tuple[int, int]):
        self.seed = _SEEDS[split]
        self.split = split
        self.count = count
        self.size = size
        self._scenes: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"{self.split}_{index:05}"

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if index in self._scenes:
            return self._scenes[index]
        height, width = self.size
        scene = draw_scene(index, seed=self.seed, height=height, width=width)
        if 4 * height * width * len(self._scenes) < _MAX_BYTES:
            self._scenes[index] = scene
        return scene
