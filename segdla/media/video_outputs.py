"""The outputs of a video: ``KIND/NAME.mp4``, and its class ids as pictures."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np

from segdla.errors import UserError
from segdla.machine.terminal import say
from segdla.machine.threads import Background
from segdla.media.inputs import Input
from segdla.media.outputs import Output
from segdla.media.picture_folder import PictureFolder
from segdla.media.video_writer import VideoWriter


class VideoOutput:
    """The outputs of a video, each written by a thread of its own.

    A context: they are put in place at its end, and deleted if it ends by an error. After Ctrl-C videos are kept as
    ``NAME.stopped.mp4``. If the frames are live, as a camera's, which come only once, whatever ends the context is an
    end like any other. Raises UserError if one can't be written.
    """

    def __init__(self, output: Output, entry: Input, rate: float, *, is_live: bool = False):
        if "masks" in output.kinds:
            remedy = "save its frames as images, or choose another --output-kind than masks for it"
            raise UserError(f"{entry.path} is a video, and masks are of images: {remedy}")
        self._is_live = is_live
        self._files = [
            _Frames(path) if kind == "ids" else _Video(output, kind, path, rate)
            for kind, path in output.paths(entry).items()
        ]
        self._threads = ExitStack()
        self._backgrounds = [self._threads.enter_context(Background(threads=1, waiting=4)) for _ in self._files]

    def write(self, image: np.ndarray, class_ids: np.ndarray, seconds: float | None = None) -> None:
        """Add a frame (H,W,3) and its class ids (H,W), shown from ``seconds`` on; None at an even rate."""
        for background, file in zip(self._backgrounds, self._files, strict=True):
            background.do(file.write, image, class_ids, seconds)

    def __enter__(self) -> "VideoOutput":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        keep = self._is_live
        stopped = not keep and kind is KeyboardInterrupt  # by a person, and not by a machine that wants to go on

        def close(file: "_Video | _Frames") -> None:
            file.close(keep, stopped)

        with ExitStack() as closing:  # closes each file, even if another can't be closed
            for file in self._files:
                closing.callback(close, file)
            self._threads.__exit__(kind, error, traceback)  # raises the error of a thread
            keep = keep or error is None


class _Video:
    """A video of one kind."""

    def __init__(self, output: Output, kind: str, path: Path, rate: float):
        self._output = output
        self._kind = kind
        self._writer = VideoWriter(path, rate)

    def write(self, image: np.ndarray, class_ids: np.ndarray, seconds: float | None) -> None:
        self._writer.write(self._output.picture(self._kind, image, class_ids), seconds)

    def close(self, keep: bool, stopped: bool) -> None:
        path = self._writer.path
        if stopped:
            path = path.with_name(f"{path.stem}.stopped{path.suffix}")
        if self._writer.close(keep or stopped, path) and stopped:
            say(f"stopped: what was done is in {path}")


class _Frames(PictureFolder):
    """The class ids of a video's frames, numbered."""

    def __init__(self, path: Path):
        super().__init__(path, r"\d+\.png")
        self._count = 0

    def write(self, image: np.ndarray, class_ids: np.ndarray, seconds: float | None) -> None:
        self.add(f"{self._count:07}.png", class_ids)
        self._count += 1

    def close(self, keep: bool, stopped: bool = False) -> None:
        super().close(keep)
