"""Videos through OpenCV: frames in, RGB, and frames out, as H.264 where its build can write that, else as MPEG-4."""

import os
import tempfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from segdla.errors import UserError
from segdla.visualize import partial

_SILENT = 0  # OpenCV's LOG_LEVEL_SILENT
_USUAL_RATE = 25.0  # for a file that doesn't tell


class VideoReader:
    """The frames of a video, upright. ``num_frames`` is what the file says, and may be wrong; 0 where it doesn't."""

    def __init__(self, path: Path):
        _require_readable(path)
        _quiet()
        self.path = path
        self._capture = cv2.VideoCapture(_for_opencv(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise UserError(f"{path} is not a video that can be decoded; replace or remove it")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate <= 1000 else _USUAL_RATE
        self.num_frames = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def read(self) -> np.ndarray | None:
        """The next frame (H,W,3) uint8; None at the end."""
        there, frame = self._capture.read()
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) if there else None

    def close(self) -> None:
        self._capture.release()


class VideoWriter:
    """A video file that is there whole or not at all: under another name until it is closed.

    All frames have the first one's size. Encoders halve the resolution of colour, so an odd side loses its last pixel.
    """

    def __init__(self, path: Path, rate: float):
        self.path = path
        self.rate = rate
        self._partial = partial(path, path.suffix)
        self._writer: cv2.VideoWriter | None = None
        self._count = 0
        self._shape: tuple[int, ...] = ()

    def write(self, frame: np.ndarray) -> None:
        """Add a frame (H,W,3) uint8 RGB. Raises UserError where the file can't be written."""
        if self._writer is None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _unwritable(self.path, error.strerror) from error
            self._writer, self._shape = _open(self._partial, codec(), self.rate, frame), frame.shape
            if not self._writer.isOpened():
                raise _unwritable(self.path, "OpenCV could not open it")
        if frame.shape != self._shape:  # which OpenCV would leave out without a word
            raise UserError(
                f"{self.path}: a frame of {frame.shape[:2]} among those of {self._shape[:2]}; split the video"
            )
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self._count += 1

    def close(self, keep: bool) -> None:
        """The end: ``keep`` what was written, or leave nothing. Raises UserError where it was not written."""
        if self._writer is None:
            return
        self._writer.release()
        try:
            if keep and VideoReader(self._partial).num_frames != self._count:  # OpenCV is silent about a full disk
                raise UserError("frames are missing")
            if keep:
                self._partial.replace(self.path)
        except (OSError, UserError) as error:
            keep = False
            raise _unwritable(self.path, str(error)) from error
        finally:
            if not keep:
                with suppress(OSError):
                    self._partial.unlink()


@lru_cache
def codec() -> str:
    """What this OpenCV writes into an mp4 file: ``avc1`` (H.264) or ``mp4v`` (MPEG-4 part 2)."""
    _quiet()
    frame = np.zeros((64, 64, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("avc1", "mp4v"):
            writer = _open(Path(folder, f"{name}.mp4"), name, 25, frame)
            opened = writer.isOpened()
            writer.release()
            if opened:
                return name
    raise UserError("this OpenCV can't write videos; install opencv-python-headless, or choose --output-kind ids")


def _open(path: Path, name: str, rate: float, frame: np.ndarray) -> cv2.VideoWriter:
    if rate > 65.535:  # MPEG-4 counts in at most 65535 parts of a second, OpenCV in as many as the rate has digits for
        rate = round(rate, 2 if rate <= 655.35 else 0)
    size = (frame.shape[1], frame.shape[0])
    return cv2.VideoWriter(_for_opencv(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*name), rate, size)


def _for_opencv(path: Path) -> str:
    name = str(path.absolute())  # a:b.mp4 would be of a protocol a
    try:
        name.encode()
    except UnicodeEncodeError:  # of which OpenCV would die
        raise UserError(f"OpenCV can't open {path}: its name holds bytes that are no UTF-8; rename it") from None
    return name


def _quiet() -> None:
    # What can't be read or encoded is answered here; FFmpeg, which reads this when it is first used, would add to it.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    set_log_level = cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel  # OpenCV 4, 5
    set_log_level(_SILENT)


def _require_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _unwritable(path: Path, reason: str | None) -> UserError:
    return UserError(f"cannot write {path}: {reason}; choose another place or make room")
