"""Masks of a data set's images in a folder."""

import os
from pathlib import Path

import numpy as np

from segdla.data.image_writer import write_image, write_palette
from segdla.data.source import Source
from segdla.errors import UserError


class Masks:
    """A folder of masks: for each image of a source, ids/NAME.png of class ids and color/NAME.png to look at.

    Raises UserError if they would overwrite each other, or the data set, or classes overlap.
    """

    def __init__(self, folder: Path, source: Source):
        source.classes.require_exclusive("--save-masks")
        self.folder = folder
        self.palette = source.classes.palette
        names = {source.name(i) for i in range(len(source))}
        if len(names) < len(source):
            raise UserError(
                "two images have one name, and so would their masks; rename one, or save no masks (--save-masks)"
            )
        own = {os.path.realpath(file) for i in range(len(source)) for file in source.files(i)}
        for file in (file for name in names for file in self._files(name)):
            if os.path.realpath(file) in own:
                raise UserError(
                    f"{file} is the data set's and would be overwritten; choose another folder of masks (--save-masks)"
                )

    def write(self, name: str, class_ids: np.ndarray) -> None:
        """Write the masks of an image from its class ids (H,W) uint8."""
        as_ids, as_colors = self._files(name)
        write_image(as_ids, class_ids)
        write_palette(as_colors, class_ids, self.palette)

    def _files(self, name: str) -> tuple[Path, Path]:
        return self.folder / "ids" / f"{name}.png", self.folder / "color" / f"{name}.png"
