"""Videos written: as H.264 by PyAV where it is installed, else by OpenCV, whose usual build has only MPEG-4."""

import math
import tempfile
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from segdla.errors import UserError
from segdla.machine.files import partial_path, put_in_place, write_whole
from segdla.machine.remote.remote_path import RemotePath
from segdla.machine.terminal import say
from segdla.media.video import VideoReader, for_opencv, quiet

if TYPE_CHECKING:
    import av

_FINEST = 10_000  # ticks a second at least, by which frames are timed
_QUALITY = {"crf": "20", "preset": "veryfast"}  # flat colours and their edges stay clean
_BT601 = 6  # the colour matrix by which FFmpeg converts RGB; players guess it from the size if it isn't stated


class VideoWriter:
    """A video file, written whole or not at all: until it is closed it has another name.

    All frames have the size of the first one. Encoders halve the resolution of colour, so an odd side loses its last
    pixel. Raises UserError if no encoder of videos is installed.
    """

    def __init__(self, path: Path, rate: float):
        self._codec = codec()
        self.path = path
        self.rate = rate
        self._folder = tempfile.TemporaryDirectory() if isinstance(path, RemotePath) else None
        self._partial = Path(self._folder.name, "video.mp4") if self._folder else partial_path(path, path.suffix)
        self._encoder: _Encoder | None = None
        self._count = 0
        self._shape: tuple[int, ...] = ()

    def write(self, frame: np.ndarray, seconds: float | None = None) -> None:
        """Add a frame (H,W,3) uint8 RGB, shown from ``seconds`` on; None for an even rate, which is all OpenCV writes.

        Raises UserError if the file can't be written, or the size is another.
        """
        if self._encoder is None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._encoder, self._shape = _open(self._partial, self._codec, self.rate, frame), frame.shape
            except OSError as error:
                raise _unwritable(self.path, error.strerror) from error
        if frame.shape != self._shape:  # OpenCV would leave the frame out silently
            raise UserError(
                f"{self.path}: a frame of {frame.shape[:2]} among those of {self._shape[:2]}; split the video"
            )
        try:
            self._encoder.write(frame, self._count / self.rate if seconds is None else seconds)
        except OSError as error:
            raise _unwritable(self.path, error.strerror) from error
        self._count += 1

    def close(self, keep: bool, path: Path | None = None) -> bool:
        """Close the file and ``keep`` it under its name or another, or delete it; return whether there is one now.

        Raises UserError if frames are missing.
        """
        if self._encoder is None:
            return False
        path = path or self.path
        try:
            self._close_encoder(keep)
            if keep and not self._is_whole():
                keep = False
                raise _unwritable(self.path, "frames are missing, as on a full disk")
            if keep and self._folder:
                write_whole(path, self._partial.read_bytes())
            elif keep:
                put_in_place(self._partial, path)
        except OSError as error:
            keep = False
            raise _unwritable(self.path, error.strerror or str(error)) from error
        finally:
            if self._folder:
                self._folder.cleanup()
            elif not keep:
                with suppress(OSError):
                    self._partial.unlink()
        return keep

    def _close_encoder(self, keep: bool) -> None:
        assert self._encoder is not None, "there is a file"
        try:
            self._encoder.close()
        except OSError:
            if keep:  # else it is that of a write, which has been told
                raise

    def _is_whole(self) -> bool:
        """Return whether all frames can be read again; OpenCV is silent about a full disk."""
        try:
            return VideoReader(self._partial).num_frames == self._count
        except UserError:  # cut short before anything that can be read
            return False


class _Encoder(Protocol):
    """A file that is being written. Its methods raise OSError if that fails."""

    def write(self, frame: np.ndarray, seconds: float) -> None: ...

    def close(self) -> None: ...


class _ByPyAV:
    """H.264, each frame with its own time."""

    def __init__(self, path: str, rate: float, frame: np.ndarray):
        import av

        self._av = av
        exact = Fraction(rate).limit_denominator(1001)
        self._ticks = exact.numerator * math.ceil(_FINEST / exact.numerator)  # an even rate is a whole number of them
        self._last = -1
        self._lost: OSError | None = None
        self._height, self._width = (side // 2 * 2 for side in frame.shape[:2])
        self._file = av.open(f"file:{path}", "w", format="mp4", options={"movflags": "faststart"})
        try:
            self._stream = self._file.add_stream("h264", rate=exact, options=dict(_QUALITY))
            self._stream.width, self._stream.height, self._stream.pix_fmt = self._width, self._height, "yuv420p"
            context = self._stream.codec_context
            context.time_base, context.colorspace = Fraction(1, self._ticks), _BT601
            context.open()
        except (av.FFmpegError, ValueError) as error:  # it has no encoder, or the encoder refuses the size
            self._file.close()
            raise OSError(0, str(error)) from error

    def write(self, frame: np.ndarray, seconds: float) -> None:
        picture = self._av.VideoFrame.from_ndarray(
            np.ascontiguousarray(frame[: self._height, : self._width]), format="rgb24"
        )
        self._last = picture.pts = max(self._last + 1, round(seconds * self._ticks))
        self._add(picture)

    def close(self) -> None:
        try:
            self._add(None)
        finally:
            self._file.close()

    def _add(self, picture: "av.VideoFrame | None") -> None:
        packets = self._stream.encode(picture)
        if self._lost:
            raise self._lost
        try:
            self._file.mux(packets)
        except OSError as error:
            self._lost = error  # another try would end the process
            raise


class _ByOpenCV:
    """The codec of this name, at an even rate."""

    def __init__(self, path: Path, name: str, rate: float, frame: np.ndarray):
        if rate > 65.535:
            # MPEG-4 divides a second into at most 65535 parts, OpenCV into as many as the rate has digits for.
            rate = round(rate, 2 if rate <= 655.35 else 0)
        size, fourcc = (frame.shape[1], frame.shape[0]), cv2.VideoWriter.fourcc(*name)
        self._writer = cv2.VideoWriter(for_opencv(path), cv2.CAP_FFMPEG, fourcc, rate, size)
        if not self._writer.isOpened():
            raise OSError(0, "OpenCV could not open it")

    def write(self, frame: np.ndarray, seconds: float) -> None:
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        self._writer.release()


@lru_cache
def codec() -> str:
    """Return the best codec of mp4 files: ``h264`` by PyAV, ``avc1`` (H.264 too) or ``mp4v`` (MPEG-4) by OpenCV.

    Prints a line if it is none that browsers play. Raises UserError if there is none.
    """
    quiet()
    frame = np.zeros((64, 64, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("h264", "avc1", "mp4v"):
            try:
                encoder = _open(Path(folder, f"{name}.mp4"), name, 25, frame)
                encoder.write(frame, 0)
                encoder.close()
            except OSError:
                continue
            if name == "mp4v":
                say("videos are written as MPEG-4, which browsers don't play; for H.264: pip install 'segdla[video]'")
            return name
    raise UserError("this OpenCV can't write videos; pip install 'segdla[video]', or choose --output-kind ids")


def _open(path: Path, name: str, rate: float, frame: np.ndarray) -> _Encoder:
    """Open a file for frames like this one. Raises OSError if it can't be opened, or the encoder is missing."""
    if name != "h264":
        return _ByOpenCV(path, name, rate, frame)
    if find_spec("av") is None:
        raise OSError(0, "PyAV is not installed")
    return _ByPyAV(for_opencv(path), rate, frame)  # OpenCV will read it again


def _unwritable(path: Path, reason: str | None) -> UserError:
    return UserError(f"cannot write {path}: {reason}; choose another place or make room")
