"""What is made of a prediction, and where it goes: ``KIND/NAME.png`` of an image, ``KIND/NAME.mp4`` of a video."""

import os
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from segdla.background import Background
from segdla.errors import UserError
from segdla.prediction.inputs import LEGEND, Input
from segdla.prediction.video import VideoWriter
from segdla.visualize import beside, colorize, legend, overlay, with_legend, write_image, write_palette

KINDS = {
    "ids": "PNGs whose pixels are class ids; of a video, one a frame in NAME.frames/",
    "color": "PNGs with a palette: coloured to look at, and their pixels are the ids",
    "overlay": "the colours over the image, with a legend where there is room",
    "side-by-side": "image, overlay and legend",
}


_MARK = ".segdla-output"


def is_output(path: Path) -> bool:
    """Whether it is a folder of a kind of outputs, or their legend: what is beside them may be anybody's."""
    return path.name in (*KINDS, LEGEND) and (path.parent / _MARK).exists()


def latest(usual: Path) -> Path | None:
    """Of ``usual`` and its likes with a number, the one that outputs last went to, if any."""
    marks = [folder / _MARK for folder in (usual, *usual.parent.glob(f"{usual.name}-*")) if (folder / _MARK).exists()]
    return max(marks, key=lambda mark: mark.stat().st_mtime_ns).parent if marks else None


@dataclass(frozen=True)
class Output:
    """The folder that outputs go to, their kinds, and what they look like."""

    folder: Path
    kinds: Sequence[str]
    classes: Sequence[str]
    palette: Sequence[tuple[int, int, int]]
    legend: bool = True

    def paths(self, entry: Input) -> dict[str, Path]:
        """By kind, the file that an input becomes, or the folder."""
        suffixes = {"ids": ".frames"} if entry.is_video else {}
        usual = ".mp4" if entry.is_video else ".png"
        return {kind: self.folder / kind / f"{entry.name}{suffixes.get(kind, usual)}" for kind in self.kinds}

    def spare(self, inputs: Sequence[Input]) -> None:
        """Raises UserError where an output would take the place of an input or of a folder with one.

        Also where the legend would take that of a file of somebody else.
        """
        if (self.folder / LEGEND).exists() and not is_output(self.folder / LEGEND):
            raise UserError(f"{self.folder / LEGEND} would be overwritten by the legend; choose another --output")

        @cache
        def real(folder: Path) -> Path:
            return Path(os.path.realpath(folder))

        folders = {real(Path(entry.path).parent) for entry in inputs}
        above = {folder for inmost in folders for folder in (inmost, *inmost.parents)}
        threatened = {}
        for path in (path for entry in inputs for path in self.paths(entry).values()):
            folder = real(path.parent)
            if folder / path.name in above or (folder in folders and os.path.lexists(path)):
                threatened[folder / path.name] = path
        for path in (Path(entry.path) for entry in inputs) if threatened else ():
            folder = real(path.parent)
            if output := next(filter(None, map(threatened.get, (folder / path.name, folder, *folder.parents))), None):
                raise UserError(f"{output} would be written over {path}; choose another --output")

    def begin(self, new: bool) -> bool:
        """Make the folder, which ``is_output`` then knows; whether there was none before.

        Raises UserError where there is one, if it has to be ``new``.
        """
        made = not self.folder.exists()
        try:
            self.folder.mkdir(parents=True, exist_ok=not new)
            (self.folder / _MARK).touch()
        except FileExistsError:
            reason = (
                "was made by another program just now; run it again" if new else "is a file; choose another --output"
            )
            raise UserError(f"{self.folder} {reason}") from None
        except OSError as error:
            raise UserError(f"cannot write {self.folder}: {error.strerror}; choose another --output") from error
        return made

    def abandon(self, made: bool) -> None:
        """Leave nothing behind, where nothing came of it: of the folder neither, if ``begin`` made it."""
        if [*self.folder.iterdir()] == [self.folder / _MARK]:
            (self.folder / _MARK).unlink()
            if made:
                self.folder.rmdir()

    def is_there(self, entry: Input) -> bool:
        return all(os.path.exists(path) for path in self.paths(entry).values())  # noqa: PTH110 (false of impossible names)

    def picture(self, kind: str, image: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """What an image and its class ids look like as a kind other than ids: RGB (H,W,3), side by side wider."""
        colors = colorize(ids, self.palette)
        if kind == "color":
            return colors
        laid = overlay(image, colors)
        if kind == "overlay":
            return with_legend(laid, self.classes, self.palette) if self.legend else laid
        pair = np.hstack([image, laid])
        return beside(pair, legend(self.classes, self.palette)) if self.legend else pair

    def write(self, entry: Input, image: np.ndarray, ids: np.ndarray) -> None:
        """Write an image's files."""
        for kind, path in self.paths(entry).items():
            match kind:
                case "ids":
                    write_image(path, ids)
                case "color":
                    write_palette(path, ids, self.palette)
                case _:
                    write_image(path, self.picture(kind, image, ids))

    def write_legend(self) -> None:
        write_image(self.folder / LEGEND, legend(self.classes, self.palette))


class VideoOutput:
    """A video's files, each written in a thread of its own; a context after which they are there, but for an error."""

    def __init__(self, output: Output, entry: Input, rate: float):
        self._output = output
        self._sinks = [
            _Frames(path) if kind == "ids" else _Video(output, kind, path, rate)
            for kind, path in output.paths(entry).items()
        ]
        self._threads = ExitStack()
        self._backgrounds = [self._threads.enter_context(Background(threads=1, waiting=4)) for _ in self._sinks]

    def write(self, image: np.ndarray, ids: np.ndarray) -> None:
        for background, sink in zip(self._backgrounds, self._sinks, strict=True):
            background.do(sink.write, image, ids)

    def __enter__(self) -> "VideoOutput":
        return self

    def __exit__(self, *failure: object) -> None:
        with ExitStack() as closing:  # each, also where another can't be
            written = False
            for sink in self._sinks:
                closing.callback(lambda sink=sink: sink.close(written))
            self._threads.__exit__(*failure)
            written = failure[0] is None


class _Video:
    def __init__(self, output: Output, kind: str, path: Path, rate: float):
        self._picture: Callable = output.picture
        self._kind = kind
        self._writer = VideoWriter(path, rate)
        self.close = self._writer.close

    def write(self, image: np.ndarray, ids: np.ndarray) -> None:
        self._writer.write(self._picture(self._kind, image, ids))


class _Frames:
    """A folder of numbered PNGs, under another name until it is complete.

    It takes the place of an earlier one. Raises UserError where that holds anything else.
    """

    def __init__(self, path: Path):
        self._path = path
        strange = next((file for file in path.glob("*") if not re.fullmatch(r"\d+\.png|\..*", file.name)), None)
        if strange is not None:
            raise UserError(f"{strange} would be deleted, for {path} is made anew; move it or choose another --output")
        self._partial = path.with_name(path.name + ".partial")
        self._count = 0
        shutil.rmtree(self._partial, ignore_errors=True)  # of a process that was killed

    def write(self, image: np.ndarray, ids: np.ndarray) -> None:
        write_image(self._partial / f"{self._count:07}.png", ids)
        self._count += 1

    def close(self, keep: bool) -> None:
        try:
            shutil.rmtree(self._path if keep else self._partial, ignore_errors=True)
            if keep:
                self._partial.replace(self._path)
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}; choose another place") from error
