"""A source seen through another: all of its images or a part of them, perhaps read in another way."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from segdla.data.source import Source


class SourceView(Source):
    """Another source's images; what a subclass doesn't override is the other's, but ``problems`` and ``unused``."""

    def __init__(self, source: Source):
        self.source = source
        self.classes = source.classes
        self.labelled = source.labelled
        self.goes_by_ids = source.goes_by_ids
        self.sample_range = source.sample_range
        self.has_server = source.has_server

    def place(self, index: int) -> int:
        """Return the image's index in the other source."""
        return index

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        return self.source.name(self.place(index))

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.source.read(self.place(index))

    def target(self, index: int) -> np.ndarray:
        return self.source.target(self.place(index))

    def files(self, index: int) -> tuple[Path, ...]:
        return self.source.files(self.place(index))

    def image_path(self, index: int) -> Path | None:
        return self.source.image_path(self.place(index))

    def image_size(self, index: int) -> tuple[int, int]:
        return self.source.image_size(self.place(index))

    def inputs(self, index: int) -> tuple[Path, ...]:
        return self.source.inputs(self.place(index))

    def cache_key(self, index: int) -> str:
        return self.source.cache_key(self.place(index))

    def group(self, index: int) -> str:
        return self.source.group(self.place(index))

    def objects(self, index: int) -> np.ndarray | None:
        return self.source.objects(self.place(index))

    def official_truths(self) -> Mapping[str, Path]:
        return self.source.official_truths()


class Subset(SourceView):
    """The images of another source that ``indexes`` name, in their order."""

    def __init__(self, source: Source, indexes: Sequence[int]):
        super().__init__(source)
        self.indexes = list(indexes)

    def place(self, index: int) -> int:
        return self.indexes[index]

    def __len__(self) -> int:
        return len(self.indexes)

    def official_truths(self) -> Mapping[str, Path]:
        truths = self.source.official_truths()
        return {name: truths[name] for name in map(self.name, range(len(self))) if name in truths}


def evenly_spaced(source: Source, count: int) -> Subset:
    """Return at most ``count`` images from all over a source, because neighbours look alike."""
    return Subset(source, np.linspace(0, len(source) - 1, min(count, len(source))).round().astype(int).tolist())
