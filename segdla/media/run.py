"""Predict files: reading, computing and writing at the same time, in memory that does not grow with their number."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, replace
from itertools import chain, islice
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np

from segdla.data.images import decode_image, read_image
from segdla.data.wide_samples import SampleRange
from segdla.errors import UserError
from segdla.machine.remote.object_store import object_state
from segdla.machine.remote.remote_path import RemotePath, as_path, local_file, read_once
from segdla.machine.remote.storage_errors import StorageError
from segdla.machine.remote.urls import is_url
from segdla.machine.signals import heeding_the_first
from segdla.machine.terminal import say
from segdla.machine.threads import Background, ahead, usable_processors
from segdla.media.camera import Camera
from segdla.media.inputs import Input
from segdla.media.outputs import Output
from segdla.media.video import USUAL_RATE, VideoReader
from segdla.media.video_outputs import VideoOutput

Predict = Callable[[np.ndarray], np.ndarray]  # from an image (H,W,3) uint8 to class ids (H,W) uint8, or what is written
Tick = Callable[[int, int], None]
_MEASURED = 10  # frames of a camera that tell the rate, for encoders that want to know it first
_WAITING = 16  # threads, where they wait for storage and not for a processor


@dataclass(frozen=True)
class Outcome:
    """How an input went: the state of its file (None if unknown), the seconds it took, and the error if it failed."""

    etag: str | None = None
    seconds: float = 0.0  # to read, predict and write it, without the time that it waited
    error: UserError | None = None


Recorder = Callable[[Input, Outcome], None]


class _Opened(NamedTuple):
    content: np.ndarray | VideoReader | Camera | None  # None: its outputs are there already
    outcome: Outcome

    @property
    def nbytes(self) -> int:
        return getattr(self.content, "nbytes", 0)


def _no_record(entry: Input, outcome: Outcome) -> None:
    pass


@dataclass
class Tally:
    """The number of inputs that were predicted, that failed and that were there already; of videos, the frames too."""

    done: int = 0
    failed: int = 0
    skipped: int = 0
    frames: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        parts = [f"{self.done} of {self.done + self.failed + self.skipped} predicted"]
        parts += [f"{self.frames} frames of video"] * bool(self.frames)
        parts += [f"{self.skipped} there already"] * bool(self.skipped)
        return ", ".join(parts + [f"{self.failed} failed"] * bool(self.failed))

    @property
    def status(self) -> int:
        """The exit status of a command: 1 if some inputs failed, 2 if all did."""
        return 0 if not self.failed else 1 if self.done or self.skipped else 2


def predict_files(
    inputs: Iterable[Input],
    predict: Predict,
    output: Output,
    complain: Callable[[UserError], None],
    tick: Tick,
    skip_existing: bool = False,
    sample_range: SampleRange | None = None,
    record: Recorder = _no_record,
    begin_video: Callable[[], Predict] | None = None,
) -> Tally:
    """Predict each input and write its outputs.

    If an input can't be read or predicted, ``complain`` is called with the error and the rest continues. ``tick(done,
    more)`` is called as images and frames are done; ``more`` is the number of a video's frames beyond the first.
    ``sample_range`` is of images of more than 8 bits a sample. ``record`` is called for each input that is through,
    after its outputs are in place; from several threads. ``begin_video`` returns the function for the frames of one
    video, if that is not ``predict``.

    Raises UserError if an image's outputs can't be written, and StorageError if a storage fails.
    """
    begin_video = begin_video or (lambda: predict)
    inputs = iter(inputs)
    first = [*islice(inputs, 1)]
    tally, threads, inputs = Tally(), _threads(first, output), chain(first, inputs)
    contents = ahead(lambda entry: _open(entry, output, skip_existing, sample_range), inputs, threads, 2 * threads)
    with closing(contents), Background(threads, threads) as writing:
        for entry, future in contents:
            class_ids, outcome, began = None, Outcome(), perf_counter()
            try:
                content, outcome = future.result()
                began = perf_counter()
                if isinstance(content, VideoReader):
                    tally.frames += _predict_video(content, entry, begin_video(), output, tick)
                elif isinstance(content, Camera):
                    tally.frames += _predict_camera(content, entry, begin_video(), output, tick)
                elif content is not None:
                    class_ids = predict(content)
            except StorageError:
                raise
            except UserError as error:
                complain(error)
                tally.failed += 1
                record(entry, _longer(outcome, began, error))
            else:
                tally.skipped += content is None
                tally.done += content is not None
                if isinstance(content, np.ndarray):
                    writing.do(_write, output, entry, content, class_ids, _longer(outcome, began), record)
                else:
                    record(entry, _longer(outcome, began))
            tick(1, 0)
    return tally


def _longer(outcome: Outcome, began: float, error: UserError | None = None) -> Outcome:
    return replace(outcome, seconds=outcome.seconds + perf_counter() - began, error=error)


def _write(
    output: Output, entry: Input, image: np.ndarray, class_ids: np.ndarray, outcome: Outcome, record: Recorder
) -> None:
    began = perf_counter()
    output.write(entry, image, class_ids)
    record(entry, _longer(outcome, began))


def _open(entry: Input, output: Output, skip_existing: bool, sample_range: SampleRange | None) -> _Opened:
    """Return the image, the opened video, or nothing if its outputs are there already."""
    if entry.camera is not None:
        return _Opened(Camera(entry.camera), Outcome())
    if skip_existing and output.is_there(entry):
        return _Opened(None, Outcome())
    began, path = perf_counter(), as_path(entry.path)
    etag = _etag(path)
    if not isinstance(path, RemotePath):
        content = VideoReader(path) if entry.is_video else read_image(path, sample_range)
        return _Opened(content, _longer(Outcome(etag), began))
    try:
        content = VideoReader(local_file(path)) if entry.is_video else decode_image(path, read_once(path), sample_range)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    return _Opened(content, _longer(Outcome(etag), began))


def _etag(path: Path) -> str | None:
    """Return what changes when a file does: an object's ETag, or size and time; None if it can't be asked for."""
    try:
        if isinstance(path, RemotePath):
            state = object_state(str(path))
            return state and state.tag
        file = path.stat()
    except (OSError, ValueError):  # the reader says so
        return None
    return f"{file.st_size:x}-{file.st_mtime_ns:x}"


def _predict_video(video: VideoReader, entry: Input, predict: Predict, output: Output, tick: Tick) -> int:
    """Predict a video frame by frame; return the number of frames. Raises UserError if there are too few."""
    expected, count = max(1, video.num_frames), 0
    tick(0, expected - 1)
    with closing(video), closing(video.frames()) as frames, VideoOutput(output, entry, video.rate) as writing:
        for frame in frames:
            writing.write(frame.image, predict(frame.image), frame.seconds)
            count += 1
            tick(count < expected, 0)  # the last one is the input's own
        if not count:
            raise UserError(f"{entry.path}: none of its frames can be decoded; replace or remove it")
    tick(0, min(0, count - expected))
    if count < 0.9 * expected:  # some formats only estimate how many they hold
        raise UserError(f"{entry.path} breaks off after {count} of {expected} frames, and so does what was made of it")
    return count


def _predict_camera(camera: Camera, entry: Input, predict: Predict, output: Output, tick: Tick) -> int:
    """Predict a camera's frames until a signal asks for an end; return their number.

    The first ten tell the rate. With them predicted, the outputs are kept whatever ends them, and a line says where.

    Raises UserError if there is no such camera, an earlier recording would be overwritten, or the camera ends.
    """
    paths = output.paths(entry).values()
    earlier = next((path for path in paths if path.exists()), None)
    if earlier:
        raise UserError(f"{earlier} is there, and a recording is not written over another; choose another --output")
    with heeding_the_first(camera.stop), closing(camera.frames()) as frames:
        predicted = ((frame, predict(frame.image)) for frame in frames)
        first = [*islice(predicted, _MEASURED)]
        if not first:
            raise UserError(f"{entry.path} gave no frame; nothing is written")
        count, rate = 0, _rate([frame.seconds for frame, _ in first])
        try:
            with VideoOutput(output, entry, rate, is_live=True) as writing:
                for frame, class_ids in chain(first, predicted):
                    writing.write(frame.image, class_ids, frame.seconds)
                    count += 1
                    tick(1, 1)
        finally:
            if kept := ", ".join(str(path) for path in paths if path.exists()):
                say(f"{entry.path}: {count} frames in {kept}")
    if not camera.was_stopped:
        raise UserError(f"{entry.path} gives no more frames, is it unplugged? Those until then are in {kept}")
    return count


def _rate(times: Sequence[float]) -> float:
    """Return the frames a second that these times in seconds tell; the first one may have waited for the network."""
    times = times[1:] if len(times) > 2 else times
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else USUAL_RATE


def _threads(first: Sequence[Input], output: Output) -> int:
    """Return the number of threads that read, and of those that write: this process's share of the processors."""
    is_remote = isinstance(output.folder, RemotePath) or any(is_url(entry.path) for entry in first)
    return _WAITING if is_remote else max(2, min(8, usable_processors()))
