"""The writer of labels: a file for each image at once, and at the end those of the whole set."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segdla.data.label_files.label_format import LabelFormat
from segdla.data.label_files.labelled import Labelled, Style
from segdla.data.label_files.regions import without_small
from segdla.data.label_files.shares import SHARES
from segdla.machine.files import write_whole


@dataclass(frozen=True)
class LabelWriter:
    """Writes labels of a format into a folder, from several threads and processes at once.

    A file that is of all images, as COCO's and CVAT's are, is put together at the end from the shares of the images in
    a hidden folder, so that memory stays bounded, and a run that was killed can be resumed.
    """

    form: LabelFormat
    folder: Path
    style: Style

    def file(self, name: str) -> Path:
        """Return the file that is written for an image."""
        return self.folder / self.form.part(name)

    def write(self, labelled: Labelled) -> None:
        """Write the labels of an image. Raises UserError if they can't be written."""
        file = self.file(labelled.name)
        labelled = replace(labelled, class_ids=without_small(labelled.class_ids, self.style.least))
        write_whole(file, self.form.content(labelled, self.style, file))

    def finish(self, names: Mapping[str, Sequence[str]]) -> None:
        """Write the files of the whole set; names: of its images, by split, which have been written.

        Raises UserError if one can't be written.
        """
        for name, content in self.form.whole(self.folder, names, self.style):
            write_whole(self.folder / name, content)

    def remove_shares(self) -> None:
        """Remove what ``finish`` put together."""
        shutil.rmtree(self.folder / SHARES, ignore_errors=True)
