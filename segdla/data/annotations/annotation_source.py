"""Images with the labels that a labelling tool has exported, drawn into a target when they are read."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segdla.data.annotations.file_tree import FileTree
from segdla.data.annotations.label_export import Entry
from segdla.data.annotations.rasterize import draw, unite
from segdla.data.annotations.shapes import Shape
from segdla.data.images import decode_image, decoded_size
from segdla.data.labels import IGNORE_INDEX, UNKNOWN, UNLABELLED
from segdla.data.pair_source import unique_names
from segdla.data.source import (
    Classes,
    SizesDifferError,
    Source,
    UnknownLabelsError,
    UnreadableImageError,
    UnreadableMaskError,
)
from segdla.data.wide_samples import SampleRange
from segdla.errors import UserError, quoted
from segdla.machine.remote.storage_errors import StorageError


class Item(NamedTuple):
    """A labelled image, and the files that it and its labels are in."""

    images: FileTree
    labels: FileTree
    entry: Entry

    @property
    def path(self) -> Path:
        return self.images.path(self.entry.image)


@dataclass(frozen=True)
class Rules:
    """The rules by which labels become train ids or, where they are to be kept when they overlap, sets of classes."""

    ids: Mapping[str, int]  # train ids, sets of one class each, or IGNORE_INDEX, by label
    rest: int  # the same of pixels without a label
    smaller_on_top: bool
    ground: tuple[str, ...]  # labels by their ids in a drawing's ground
    overlapping: bool = False


class AnnotationSource(Source):
    """Images with shapes, which are drawn by the rules."""

    def __init__(
        self,
        items: Sequence[Item],
        classes: Classes,
        rules: Rules,
        problems: Sequence[str] = (),
        sample_range: SampleRange | None = None,
    ):
        self.items = list(items)
        self.classes = classes
        self.rules = rules
        self.problems = list(problems)
        self.sample_range = sample_range
        self.names = unique_names([item.path for item in self.items])
        self.table = np.full(256, UNKNOWN, np.uint8)
        self.table[IGNORE_INDEX] = IGNORE_INDEX
        self.table[UNLABELLED] = rules.rest
        self.table[: len(rules.ground)] = [rules.ids.get(label, UNKNOWN) for label in rules.ground]

    def __len__(self) -> int:
        return len(self.items)

    def name(self, index: int) -> str:
        """Return the image's stem or, if stems are not unique, its path from the folder that holds all images."""
        return self.names[index]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read an image and draw its labels; see ``Source.read``.

        Raises UnreadableImageError, UnreadableMaskError, SizesDifferError or UnknownLabelsError.
        """
        item = self.items[index]
        try:
            image = decode_image(item.path, item.images.read(item.entry.image), self.sample_range)
        except StorageError:
            raise
        except UserError as error:
            raise UnreadableImageError(str(error)) from error
        return image, self._drawn(item, (image.shape[0], image.shape[1]))

    def target(self, index: int) -> np.ndarray:
        return self._drawn(self.items[index], self.image_size(index))

    def image_size(self, index: int) -> tuple[int, int]:
        item = self.items[index]
        try:
            return decoded_size(item.path, io.BytesIO(item.images.read(item.entry.image)))
        except StorageError:
            raise
        except UserError as error:
            raise UnreadableImageError(str(error)) from error

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the image file; nothing if it is in an archive."""
        path = self.items[index].path
        return (path,) if self.items[index].images.state(self.items[index].entry.image) == path else ()

    def image_path(self, index: int) -> Path:
        return self.items[index].path

    def inputs(self, index: int) -> tuple[Path, ...]:
        item = self.items[index]
        labels = (item.labels.state(name) for name in (item.entry.labels, *item.entry.further))
        return (item.images.state(item.entry.image), *dict.fromkeys(labels))

    def cache_key(self, index: int) -> str:
        item = self.items[index]
        labels = item.labels.path(item.entry.labels).absolute()
        return f"{item.path.absolute()}\n{labels}\n{self.rules} {self.sample_range}"

    def joined(self, other: Source) -> "AnnotationSource":
        """Return a source of the images of both. Raises UserError if their labels are read by other rules."""
        if not isinstance(other, AnnotationSource) or other.rules != self.rules:
            raise UserError("the splits' labels are read by different rules; leave data.train_on_val out")
        return AnnotationSource([*self.items, *other.items], self.classes, self.rules, sample_range=self.sample_range)

    def _drawn(self, item: Item, size: tuple[int, int]) -> np.ndarray:
        """Return the target of an image of (height, width)."""
        try:
            drawing = item.entry.load(size)
            _require_size(item, drawing.size or size, size)
            ground = np.full(size, self.rules.rest, np.uint8) if drawing.ground is None else self.table[drawing.ground]
            _require_size(item, (ground.shape[0], ground.shape[1]), size)
            strange = sorted({shape.label for shape in drawing.shapes} - self.rules.ids.keys())
            if drawing.ground is not None and (ground == UNKNOWN).any():
                values = np.unique(drawing.ground[ground == UNKNOWN]).tolist()
                strange += [self.rules.ground[i] if i < len(self.rules.ground) else f"id {i}" for i in values]
            if strange:
                raise UnknownLabelsError(
                    f"{item.labels.path(item.entry.labels)}: the label {quoted(strange[0], 60)} on {item.path} is none "
                    f"of data.classes ({quoted(list(self.classes.names), 80)}); add it there, or to data.ignore"
                )
            self._require_outlines(drawing.shapes)
            if self.rules.overlapping:
                unite(ground, drawing.shapes, self.rules.ids)
            else:
                draw(ground, drawing.shapes, self.rules.ids, self.rules.smaller_on_top)
        except (SizesDifferError, UnknownLabelsError, StorageError):
            raise
        except UserError as error:
            raise UnreadableMaskError(str(error)) from error
        return ground

    def _require_outlines(self, shapes: Sequence[Shape]) -> None:
        for shape in shapes:
            if shape.refusal and self.rules.ids[shape.label] != IGNORE_INDEX:
                raise UserError(f"{shape.refusal}; or ignore all that are labelled so, data.ignore: [{shape.label}]")


def _require_size(item: Item, labelled: tuple[int, int], size: tuple[int, int]) -> None:
    if labelled != size:
        turned = "; is it turned by its EXIF orientation?" if labelled == size[::-1] else ""
        raise SizesDifferError(
            f"{item.path} is {size[0]}x{size[1]} (height x width) but was labelled as {labelled[0]}x{labelled[1]} in "
            f"{item.labels.path(item.entry.labels)}; take the image that was labelled{turned}"
        )
