"""Label errors as polygons that a labelling tool opens, for people to correct: each has the class it looks like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from segdla.data.label_files.data_set import new_folder
from segdla.data.label_files.label_format import LabelFormat
from segdla.data.label_files.label_writer import LabelWriter
from segdla.data.label_files.labelled import Attributes, Labelled, Style
from segdla.data.label_files.written_formats import WRITTEN
from segdla.data.labels import IGNORE_INDEX
from segdla.data.source import Classes, Source
from segdla.doctor.label_errors import SuspectRegion
from segdla.doctor.label_ranking import CheckedImage, LabelErrors
from segdla.errors import UserError, quoted
from segdla.machine.files import write_whole

TOOLS = ("coco", "yolo", "labelme", "cvat")
"""The formats of polygons among those of ``WRITTEN``."""
_FILES = {".json": "coco", ".xml": "cvat"}  # formats that are one file for all images
_ATTRIBUTES = ("labelled_as", "score")


@dataclass(frozen=True)
class PolygonExport:
    """The format and the place of polygons: a file, if the format is one file for all images, or a folder.

    Raises UserError if they do not go together, or something is there.
    """

    path: Path
    to: str | None = None  # a name of TOOLS; None goes by the file's suffix

    def __post_init__(self) -> None:
        if self.to is not None and self.to not in TOOLS:
            raise UserError(f"{quoted(self.to, 40)} is no format of polygons; choose one of {', '.join(TOOLS)}")
        of_suffix = _FILES.get(self.path.suffix.lower())
        if of_suffix is None and self.to is None:
            raise UserError(
                f"the suffix of {self.path} tells no format: name a file .json (COCO) or .xml (CVAT), or a folder "
                f"with --to {', '.join(TOOLS)}"
            )
        if of_suffix is not None and self.to not in (None, of_suffix):
            raise UserError(f"{self.path} would be a file of {of_suffix}; for --to {self.to} name a folder")
        if self.path.exists():
            raise UserError(f"{self.path} exists; choose another --export, or remove it")

    @property
    def form(self) -> LabelFormat:
        """The module that writes the format."""
        return WRITTEN[self.to or _FILES[self.path.suffix.lower()]]

    @property
    def is_file(self) -> bool:
        """True if all polygons go into one file."""
        return self.path.suffix.lower() in _FILES

    def require_fit(self, classes: Classes) -> None:
        """Raise UserError, before time is spent, if the name of a class can't be written."""
        self.form.require_fit(classes)

    def write(self, errors: LabelErrors, sources: Mapping[str, Source]) -> None:
        """Write the regions that were kept; ``sources``, by split, have the images.

        Raises UserError if they can't be written.
        """
        style = Style(errors.classes, background=IGNORE_INDEX, by_network=True, attributes=_ATTRIBUTES)
        if self.is_file:
            with TemporaryDirectory() as shares:
                names = _write_images(LabelWriter(self.form, Path(shares), style), errors, sources)
                ((_, content),) = self.form.whole(Path(shares), {"": names}, style)
                write_whole(self.path, content)
            return
        with new_folder(self.path) as folder:
            writer = LabelWriter(self.form, folder, style)
            writer.finish({"": _write_images(writer, errors, sources)})
            writer.remove_shares()


def _write_images(writer: LabelWriter, errors: LabelErrors, sources: Mapping[str, Source]) -> list[str]:
    """Write the regions of each image, and return the images' names, which are those that ``segdla convert`` gives."""
    of_images: dict[int, tuple[CheckedImage, list[SuspectRegion]]] = {}
    for image, region in errors.regions:
        of_images.setdefault(id(image), (image, []))[1].append(region)
    names = []
    for image, regions in of_images.values():
        path = sources[image.split].image_path(image.index)
        names.append(f"{image.split}/{image.name}{'.png' if path is None else path.suffix}")
        writer.write(labelled(names[-1], path, image.size, regions, errors.classes))
    return names


def labelled(
    name: str, path: Path | None, size: tuple[int, int], regions: Sequence[SuspectRegion], classes: Classes
) -> Labelled:
    """Return an image with its regions as labels of what they look like; all other pixels are ignored."""
    class_ids = np.full(size, IGNORE_INDEX, np.uint8)
    numbers = np.zeros(size, np.uint16)
    for number, region in enumerate(regions):
        left, top, wide, high = region.box
        box = slice(top, top + high), slice(left, left + wide)
        class_ids[box][region.mask] = region.suggested
        numbers[box][region.mask] = number
    attributes: list[Attributes] = [
        {"labelled_as": classes.names[region.given], "score": round(region.score, 4)} for region in regions
    ]
    return Labelled(name, class_ids, path=path, numbers=numbers, attributes=attributes)
