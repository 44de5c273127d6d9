"""The outputs of predictions: ``KIND/NAME.png`` of an image, ``KIND/NAME.mp4`` of a video, and a legend.

Polygons are in the files that their format has; ``label_outputs.py`` writes them.
"""

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segdla.data.image_writer import write_image, write_palette
from segdla.data.source import Classes
from segdla.errors import UserError, one_line
from segdla.machine.remote.remote_path import RemotePath, as_path
from segdla.media.inputs import Input
from segdla.media.kinds import KINDS, POLYGONS
from segdla.media.picture_folder import PictureFolder
from segdla.visualize import beside, colorize, legend, tint, tinted_classes, with_legend

if TYPE_CHECKING:  # its import would delay --help
    from segdla.media.label_outputs import LabelOutputs

LEGEND = "legend.png"
_MARK = ".segdla-output"
_LONGEST_NAME = 100  # characters of a class, in the name of a file


def is_output(path: Path) -> bool:
    """Return True for a folder of one kind of outputs or their legend; other files beside these are anybody's."""
    return path.name in (*KINDS, *POLYGONS, LEGEND) and (path.parent / _MARK).exists()


def latest(usual: Path) -> Path | None:
    """Return the folder that outputs last went to: ``usual`` or ``usual`` with a number; None if there is none."""
    marks = [folder / _MARK for folder in (usual, *usual.parent.glob(f"{usual.name}-*")) if (folder / _MARK).exists()]
    return max(marks, key=lambda mark: mark.stat().st_mtime_ns).parent if marks else None


def _lies_there(path: Path) -> bool:
    return path.exists() if isinstance(path, RemotePath) else os.path.lexists(path)


@dataclass(frozen=True)
class Output:
    """A folder of outputs, their kinds and their looks."""

    folder: Path
    kinds: Sequence[str]
    classes: Sequence[str]
    palette: Sequence[tuple[int, int, int]]
    legend: bool = True
    labels: "LabelOutputs | None" = None  # that are written too
    overlapping: bool = False  # then class ids are sets of classes

    def paths(self, entry: Input) -> dict[str, Path]:
        """Return the output files of an input by kind; masks, and the class ids of a video, are a folder."""
        usual = ".mp4" if entry.is_video else ".png"
        suffixes = {"masks": ""} | ({"ids": ".frames"} if entry.is_video else {})
        paths = {kind: self.folder / kind / f"{entry.name}{suffixes.get(kind, usual)}" for kind in self.kinds}
        return paths | (self.labels.paths(entry) if self.labels else {})

    def require_no_overwriting(self, inputs: Iterable[Input]) -> None:
        """Raise UserError if an output would overwrite an input or a folder with one, or the legend another file.

        ``inputs`` are gone through several times.
        """
        if (self.folder / LEGEND).exists() and not is_output(self.folder / LEGEND):
            raise UserError(f"{self.folder / LEGEND} would be overwritten by the legend; choose another --output")

        @cache
        def real(folder: Path) -> Path:
            return Path(os.path.realpath(folder))

        folders = {real(Path(entry.path).parent) for entry in inputs}
        above = {folder for inmost in folders for folder in (inmost, *inmost.parents)}
        threats: dict[Path, Path] = {}  # outputs that would overwrite something, by their real path
        for path in (path for entry in inputs for path in self.paths(entry).values()):
            folder = real(path.parent)
            if folder / path.name in above or (folder in folders and _lies_there(path)):
                threats[folder / path.name] = path
        for path in (as_path(entry.path) for entry in inputs) if threats else ():
            folder = real(path.parent)
            if output := next(filter(None, map(threats.get, (folder / path.name, folder, *folder.parents))), None):
                raise UserError(f"{output} would be written over {path}; choose another --output")

    def begin(self, new: bool, resume: bool = False) -> bool:
        """Make the folder and mark it for ``is_output``; return True if there was none before.

        Raises UserError if it can't be made, has to be ``new`` and is not, or if labels of other classes are in it that
        are to be resumed.
        """
        if self.labels and isinstance(self.folder, RemotePath):
            raise UserError(
                f"polygons are written into a folder of this machine, not into {self.folder}; choose a folder as "
                "--output, and upload it"
            )
        is_new = not self.folder.exists()
        mark = self.folder / _MARK
        try:
            self.folder.mkdir(parents=True, exist_ok=not new)
            mark.touch()
            if self.labels:
                before, classes = mark.read_text(encoding="utf-8") if resume else "", json.dumps(self.classes)
                if before not in ("", classes):
                    raise UserError(
                        f"{self.folder} holds labels by a network of other classes, {one_line(before, 80)}; choose "
                        "another --output, or leave out --skip-existing"
                    )
                mark.write_text(classes, encoding="utf-8")
        except FileExistsError:
            reason = (
                "was made by another program just now; run it again" if new else "is a file; choose another --output"
            )
            raise UserError(f"{self.folder} {reason}") from None
        except OSError as error:
            raise UserError(f"cannot write {self.folder}: {error.strerror}; choose another --output") from error
        return is_new

    def abandon(self, is_new: bool) -> None:
        """Remove the mark if there are no outputs, and the folder too if ``begin`` made it."""
        if [*self.folder.iterdir()] == [self.folder / _MARK]:
            (self.folder / _MARK).unlink()
            if is_new:
                self.folder.rmdir()

    def is_there(self, entry: Input) -> bool:
        """Return True if all outputs of an input exist."""
        return all(_lies_there(path) for path in self.paths(entry).values())

    def picture(self, kind: str, image: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        """Draw an image (H,W,3) and its class ids (H,W) as any kind but ids: RGB (H,W,3), side by side wider."""
        drawn = self._classes.drawn(class_ids)
        if kind == "color":
            return colorize(drawn, self.palette)
        blend = tint(image, drawn, self.classes, self.palette)
        picture = blend if kind == "overlay" else np.hstack([image, blend])
        if not self.legend:
            return picture
        classes = tinted_classes(self.classes, self.palette)
        return with_legend(picture, *classes) if kind == "overlay" else beside(picture, legend(*classes))

    def write(self, entry: Input, image: np.ndarray, class_ids: np.ndarray) -> None:
        """Write the outputs of an image. Raises UserError if one can't be written."""
        for kind, path in self.paths(entry).items():
            match kind:
                case "ids":
                    write_image(path, class_ids)
                case "masks":
                    self._write_masks(path, class_ids)
                case "color" if not self.overlapping:
                    write_palette(path, class_ids, self.palette)
                case _ if self.labels and kind in self.labels.kinds:
                    self.labels.write(kind, entry, class_ids)
                case _:
                    write_image(path, self.picture(kind, image, class_ids))

    def _write_masks(self, folder: Path, class_ids: np.ndarray) -> None:
        pictures = PictureFolder(folder, r"\d+_.*\.png")
        for class_id, member in enumerate(self._classes.members().astype(np.uint8).T):
            name = re.sub(r"[^\w .-]", "_", self.classes[class_id])[:_LONGEST_NAME]
            pictures.add(f"{class_id}_{name}.png", 255 * member[class_ids])
        pictures.close(keep=True)

    @cached_property
    def _classes(self) -> Classes:
        return Classes(tuple(self.classes), tuple(self.palette), overlapping=self.overlapping)

    def write_legend(self) -> None:
        """Write the legend. Raises UserError if it can't be written."""
        write_image(self.folder / LEGEND, legend(self.classes, self.palette))
