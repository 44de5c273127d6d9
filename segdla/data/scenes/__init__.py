"""The embedded data set: drawn street scenes with exact masks, which need neither files nor a network."""

import numpy as np

from segdla.data.dataset import Classes
from segdla.data.scenes.canvas import NAMES, PALETTE
from segdla.data.scenes.street import draw_scene

_SEEDS = {"train": 0, "val": 1, "test": 2}
_KEPT = 256 * 2**20


class Scenes:
    """A source of ``count`` scenes of (height, width), drawn as they are read; the splits share none.

    As many as have room in ``_KEPT`` bytes are drawn but once.
    """

    classes = Classes(NAMES, PALETTE, "drawn street scenes")

    def __init__(self, split: str, count: int, size: tuple[int, int]):
        self.seed = _SEEDS[split]
        self.split = split
        self.count = count
        self.size = size
        self._drawn: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"{self.split}_{index:05}"

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if index in self._drawn:
            return self._drawn[index]
        height, width = self.size
        scene = draw_scene(index, seed=self.seed, height=height, width=width)
        if 4 * height * width * len(self._drawn) < _KEPT:
            self._drawn[index] = scene
        return scene

    def target(self, index: int) -> np.ndarray:
        return self.read(index)[1]
