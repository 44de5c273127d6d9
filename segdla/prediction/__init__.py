"""Files in, pictures out: reading, computing and writing at the same time, in memory that does not grow with them."""

import os
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import astuple, dataclass
from functools import partial
from itertools import repeat
from pathlib import Path

import numpy as np

from segdla.background import Background, ahead
from segdla.data.images import read_image
from segdla.errors import UserError
from segdla.prediction.inputs import Input
from segdla.prediction.outputs import Output, VideoOutput
from segdla.prediction.video import VideoReader

Predict = Callable[[np.ndarray], np.ndarray]  # an image (H,W,3) uint8 to class ids (H,W) uint8
Tick = Callable[[int, int], None]


@dataclass
class Tally:
    """What became of the inputs, counted, and of videos their frames."""

    done: int = 0
    failed: int = 0
    skipped: int = 0
    frames: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        told = [f"{self.done} of {self.done + self.failed + self.skipped} segmented"]
        told += [f"{self.frames} frames of video"] * bool(self.frames)
        told += [f"{self.skipped} there already"] * bool(self.skipped)
        return ", ".join(told + [f"{self.failed} failed"] * bool(self.failed))

    @property
    def status(self) -> int:
        """The exit status of a command: 1 where some failed, 2 where all did."""
        return 0 if not self.failed else 1 if self.done or self.skipped else 2


def predict_files(
    inputs: Iterable[Input],
    predict: Predict,
    output: Output,
    complain: Callable[[UserError], None],
    tick: Tick,
    skip_existing: bool = False,
) -> Tally:
    """Predict each of the inputs, and write what ``output`` wants of it.

    An input that can't be read or predicted is told to ``complain``, and the rest goes on. ``tick(done, more)`` hears
    how many images or frames are done, and how many more than one an input has. Raises UserError where an image's files
    can't be written.
    """
    tally, threads = Tally(), _threads()
    opened = ahead(partial(_open, output, skip_existing), inputs, threads, 2 * threads)
    with closing(opened), Background(threads, threads) as writing:
        for entry, opening in opened:
            try:
                content = opening.result()
                if isinstance(content, VideoReader):
                    tally.frames += _predict_video(content, entry, predict, output, tick)
                elif content is not None:
                    ids = predict(content)
            except UserError as error:
                complain(error)
                tally.failed += 1
            else:
                tally.skipped += content is None
                tally.done += content is not None
                if isinstance(content, np.ndarray):
                    writing.do(output.write, entry, content, ids)
            tick(1, 0)
    return tally


def _open(output: Output, skip_existing: bool, entry: Input) -> np.ndarray | VideoReader | None:
    """An image, an opened video, or None for what is there already."""
    if skip_existing and output.is_there(entry):
        return None
    return VideoReader(Path(entry.path)) if entry.is_video else read_image(Path(entry.path))


def _predict_video(video: VideoReader, entry: Input, predict: Predict, output: Output, tick: Tick) -> int:
    """Predict a video frame by frame; returns how many there were. Raises UserError where there are too few."""
    told, count = max(1, video.num_frames), 0
    tick(0, told - 1)
    read = ahead(lambda _: video.read(), repeat(None), threads=1)
    with closing(video), closing(read), VideoOutput(output, entry, video.rate) as writing:
        for _, reading in read:
            image = reading.result()
            if image is None:
                break
            writing.write(image, predict(image))
            count += 1
            tick(count < told, 0)  # the last one is the input's own
        if not count:
            raise UserError(f"{entry.path}: none of its frames can be decoded; replace or remove it")
    tick(0, min(0, count - told))
    if count < 0.9 * told:  # some formats only estimate how many they hold
        raise UserError(f"{entry.path} breaks off after {count} of {told} frames, and so does what was made of it")
    return count


def _threads() -> int:
    """Threads to read with, and to write with: this process's share of the processors."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, min(8, usable // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
