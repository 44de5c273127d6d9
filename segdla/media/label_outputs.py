"""The outputs of predictions that are labels: ``KIND/...``, as the formats of labelling tools have them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from segdla.data.background import background_of
from segdla.data.label_files.label_writer import LabelWriter
from segdla.data.label_files.labelled import Labelled, Style
from segdla.data.label_files.outlines import EXACT
from segdla.data.label_files.written_formats import WRITTEN
from segdla.data.labels import Color
from segdla.data.source import Classes
from segdla.errors import UserError
from segdla.media.inputs import Input


def predicted_style(
    names: Sequence[str],
    palette: Sequence[Color],
    tolerance: float = EXACT,
    min_pixels: int = 1,
    with_background: bool = False,
) -> Style:
    """Return how the polygons of a network's classes are written; see ``Style``."""
    own = None if with_background else background_of(names)
    background = None if own is None else list(names).index(own)
    return Style(Classes(tuple(names), tuple(palette)), background, tolerance, min_pixels, by_network=True)


@dataclass(frozen=True)
class LabelOutputs:
    """Writes labels of several formats, each into the folder of its name."""

    folder: Path
    kinds: Sequence[str]
    style: Style

    def paths(self, entry: Input) -> dict[str, Path]:
        """Return the file that is written for an input, by kind."""
        return {kind: self._writer(kind).file(_image_name(entry)) for kind in self.kinds}

    def write(self, kind: str, entry: Input, class_ids: np.ndarray) -> None:
        """Write the labels of an image. Raises UserError if they can't be written."""
        self._writer(kind).write(Labelled(_image_name(entry), class_ids, path=Path(entry.path)))

    def begin(self, inputs: Sequence[Input], resume: bool) -> None:
        """Forget the images of earlier outputs, unless they are to be resumed.

        Raises UserError if a class or a video can't be written.
        """
        writers = [self._writer(kind) for kind in self.kinds]
        for writer in writers:
            writer.form.require_fit(self.style.classes)
        video = next((entry for entry in inputs if entry.is_video), None)
        if video is not None:
            raise UserError(
                f"{video.path} is a video, and polygons belong to image files: save its frames as images, or choose "
                f"another --output-kind than {self.kinds[0]} for it"
            )
        for writer in writers if not resume else ():
            writer.remove_shares()

    def finish(self, inputs: Sequence[Input], resume: bool) -> None:
        """Write the files of all images that have been predicted, with ``resume`` of those before too.

        Raises UserError if one can't be written.
        """
        for kind in self.kinds:
            writer = self._writer(kind)
            names = {name for name in map(_image_name, inputs) if writer.file(name).exists()}
            names |= set(writer.form.written(writer.folder)) if resume else set()
            writer.finish({"": sorted(names)})

    def _writer(self, kind: str) -> LabelWriter:
        return LabelWriter(WRITTEN[kind], self.folder / kind, self.style)


def _image_name(entry: Input) -> str:
    return PurePath(entry.name + Path(entry.path).suffix).as_posix()
