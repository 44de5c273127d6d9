"""Videos read by OpenCV, frame by frame, with the times at which frames are shown."""

import math
import os
from collections.abc import Generator
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from segdla.errors import UserError
from segdla.machine.threads import ahead

_SILENT = 0  # OpenCV's LOG_LEVEL_SILENT
USUAL_RATE = 25.0
"""Frames a second, where nothing tells."""
_LOWEST_RATE, _HIGHEST_RATE = 0.01, 65535.0  # that can be written
_HIGHEST_LIKELY = 240.0  # of rates that nothing confirms; files without a rate say 1000, or 90000
_LONGEST_PAUSE = 3600.0  # seconds between frames; a longer one is a clock that was set anew
_EVEN_ENOUGH = 0.5  # largest difference of two gaps between frames, in parts of a mean gap
_LONG_ENOUGH = 0.9  # part of the length that a header states; some formats only estimate it


class TimedImage(NamedTuple):
    """An image (H,W,3) uint8 RGB, and the seconds after the first one from which it is shown."""

    image: np.ndarray
    seconds: float

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return self.image.nbytes


class VideoReader:
    """A video file, read frame by frame, upright.

    ``rate`` is in frames a second. It is the one that the file states, if the frames' own times agree with it to 1 %.
    If not, it is the mean rate by these times, so that a video written at ``rate`` lasts as long as this one. Browsers
    state 1000, and phones and screen recorders record at a varying rate. If the frames have no times of use, it is the
    stated rate up to 240, else 25.

    ``num_frames`` is the number of frames, about; it is larger than those in the file if the file breaks off, and 0 if
    nothing tells. Raises UserError if the file is not a video that can be decoded.
    """

    def __init__(self, path: Path):
        _require_readable(path)
        quiet()
        self.path = path
        self._capture = cv2.VideoCapture(for_opencv(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise UserError(f"{path} is not a video that can be decoded; replace or remove it")
        stated, count = (_number(self._capture.get(of)) for of in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        times = _times(path, decode=False)
        self.num_frames = _num_frames(times, stated, round(count))
        if not times.fit(stated):  # a format may also have packets that are not shown, and so no frames
            times = _times(path, decode=True)
        self.rate = times.rate(stated)
        self._is_even = times.are_even or not times.span
        self._count = 0

    def read(self) -> TimedImage | None:
        """Return the next frame; None at the end."""
        has_frame, frame = self._capture.read()
        if not has_frame:
            return None
        seconds = self._count / self.rate if self._is_even else self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        self._count += 1
        return TimedImage(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), seconds)

    def frames(self) -> Generator[TimedImage, None, None]:
        """Yield all frames, which a thread decodes ahead."""
        for _, future in ahead(lambda _: self.read(), repeat(None), threads=1):
            frame = future.result()
            if frame is None:
                return
            yield frame

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


class _Times(NamedTuple):
    """The times of a video's frames, in seconds."""

    num_frames: int
    start: float  # of the first frame, by the file's clock
    span: float  # from the first frame to the last; 0 if the times are of no use
    are_even: bool  # but for the rounding of times, to milliseconds for example

    def fit(self, rate: float) -> bool:
        """Return whether frames at this rate last as long as the times say, to 1 % or the times' milliseconds."""
        return rate > 0 and abs((self.num_frames - 1) / rate - self.span) <= max(0.01 * self.span, 0.002)

    def rate(self, stated: float) -> float:
        """Return the stated rate, the mean rate or a usual one, as ``VideoReader`` says."""
        if self.span and not self.fit(stated):
            return min(max(_LOWEST_RATE, (self.num_frames - 1) / self.span), _HIGHEST_RATE)
        is_likely = _LOWEST_RATE <= stated <= (_HIGHEST_RATE if self.span else _HIGHEST_LIKELY)
        return stated if is_likely else USUAL_RATE


def _times(path: Path, *, decode: bool) -> _Times:
    """Return the times of a video's packets, which takes only the time to read the file, or of its decoded frames."""
    capture = cv2.VideoCapture(for_opencv(path), cv2.CAP_FFMPEG, [] if decode else [cv2.CAP_PROP_FORMAT, -1])
    rate, start = _number(capture.get(cv2.CAP_PROP_FPS)), 0.0
    times: list[float] = []
    while capture.grab():
        if not times and rate:
            # Milliseconds count from the first frame, this from the file's start, in frames; OpenCV 4.11 says 0.
            start = _number(capture.get(getattr(cv2, "CAP_PROP_PTS", -1))) / rate
        times.append(_number(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000)
    capture.release()
    gaps = np.diff(np.sort(times))  # packets come in the order in which they are decoded
    is_of_use = len(gaps) > 0 and gaps.min() > 0 and gaps.max() <= _LONGEST_PAUSE
    are_even = is_of_use and np.ptp(gaps) <= _EVEN_ENOUGH * gaps.mean()
    return _Times(len(times), start, float(gaps.sum()) if is_of_use else 0.0, bool(are_even))


def _num_frames(times: _Times, rate: float, count: int) -> int:
    """Return the number of frames that a file promises: those it holds, and more if it ends before its header says."""
    if times.num_frames >= _LONG_ENOUGH * count or not times.span or not rate:
        return max(times.num_frames, count)
    length = times.span * times.num_frames / (times.num_frames - 1)  # the last frame is shown as long as the others
    part = length / max(length, count / rate - times.start)  # formats that don't count state when the last frame ends
    return times.num_frames if part >= _LONG_ENOUGH else round(times.num_frames / part)


def _number(value: float) -> float:
    """Return a property of a video; 0 if it isn't known, for which OpenCV has NaN, negative and absurd numbers."""
    return value if math.isfinite(value) and 0 < value < 1e12 else 0.0


def for_opencv(path: Path) -> str:
    """Return a path as OpenCV takes it. Raises UserError if it is no UTF-8."""
    name = str(path.absolute())  # in a:b.mp4, OpenCV would take a for a protocol
    try:
        name.encode()
    except UnicodeEncodeError:  # OpenCV would end the process
        raise UserError(f"OpenCV can't open {path}: its name holds bytes that are no UTF-8; rename it") from None
    return name


def quiet() -> None:
    """Keep OpenCV and FFmpeg from printing errors, which are answered here."""
    # FFmpeg reads this variable when it is first used.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    set_log_level = cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel  # OpenCV 4, 5
    set_log_level(_SILENT)


def _require_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
