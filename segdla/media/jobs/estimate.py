"""How long a job will take, from a sample of its inputs."""

import random
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from segdla.media.inputs import Input
from segdla.media.run import Tally

SAMPLE = 24  # images
_WARM_UP = 2


@dataclass(frozen=True)
class Estimate:
    """The number of inputs, and the seconds that one worker takes for an image, with the sample that says so."""

    images: int
    videos: int
    seconds_each: float
    sampled: int
    failed: int

    @property
    def seconds(self) -> float:
        """The time for all images by one worker."""
        return self.images * self.seconds_each


def estimate(inputs: Iterable[Input], predict: Callable[[list[Input], Path], Tally]) -> Estimate:
    """Count inputs and predict a random sample of the images, into a folder that is removed.

    The sample is the same each time. Memory does not grow with the number of inputs.
    """
    draw = random.Random(0)
    images = videos = 0
    sample: list[Input] = []
    for entry in inputs:
        if entry.is_video:
            videos += 1
            continue
        images += 1
        if len(sample) < SAMPLE:
            sample.append(entry)
        elif (place := draw.randrange(images)) < SAMPLE:
            sample[place] = entry
    if not sample:
        return Estimate(images, videos, 0.0, 0, 0)
    with tempfile.TemporaryDirectory() as folder:
        predict(sample[:_WARM_UP], Path(folder))
        began = time.perf_counter()
        tally = predict(sample, Path(folder))
        seconds = time.perf_counter() - began
    return Estimate(images, videos, seconds / len(sample), len(sample), tally.failed)
