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

    def at(self, index: int) -> tuple[Source, int]:
        """Return the source that an image is from, and its index there."""
        return self.source, index

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        source, place = self.at(index)
        return source.name(place)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        source, place = self.at(index)
        return source.read(place)

    def target(self, index: int) -> np.ndarray:
        source, place = self.at(index)
        return source.target(place)

    def files(self, index: int) -> tuple[Path, ...]:
        source, place = self.at(index)
        return source.files(place)

    def image_path(self, index: int) -> Path | None:
        source, place = self.at(index)
        return source.image_path(place)

    def image_size(self, index: int) -> tuple[int, int]:
        source, place = self.at(index)
        return source.image_size(place)

    def inputs(self, index: int) -> tuple[Path, ...]:
        source, place = self.at(index)
        return source.inputs(place)

    def cache_key(self, index: int) -> str:
        source, place = self.at(index)
        return source.cache_key(place)

    def group(self, index: int) -> str:
        source, place = self.at(index)
        return source.group(place)

    def objects(self, index: int) -> np.ndarray | None:
        source, place = self.at(index)
        return source.objects(place)

    def official_truths(self) -> Mapping[str, Path]:
        return self.source.official_truths()


class Subset(SourceView):
    """The images of another source that ``indexes`` name, in their order."""

    def __init__(self, source: Source, indexes: Sequence[int]):
        super().__init__(source)
        self.indexes = list(indexes)

    def at(self, index: int) -> tuple[Source, int]:
        return self.source, self.indexes[index]

    def __len__(self) -> int:
        return len(self.indexes)

    def official_truths(self) -> Mapping[str, Path]:
        truths = self.source.official_truths()
        return {name: truths[name] for name in map(self.name, range(len(self))) if name in truths}


def evenly_spaced(source: Source, count: int) -> Subset:
    """Return at most ``count`` images from all over a source, because neighbours look alike."""
    return Subset(source, np.linspace(0, len(source) - 1, min(count, len(source))).round().astype(int).tolist())
