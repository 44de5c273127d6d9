"""The losses and the speed of a training run, read now and then."""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from segdla.data.loader import Batch
from segdla.machine import distributed


class Reading(NamedTuple):
    """The steps since the last reading, of all processes together."""

    losses: list[float]  # one a step, the mean of all processes
    names: list[list[str]]  # one list a step, of the images of this process alone
    images_per_second: float
    data_wait: float  # share of the time in which the host waited for data; a GPU may have had steps queued meanwhile
    unreadable: int  # samples that others stood in for


class Meter:
    """The steps since the last reading: their losses and images, and the time spent waiting for data.

    Losses stay on the device: to ask for one at every step would make the host wait for the device.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.losses: list[Tensor] = []
        self.names: list[list[str]] = []  # of the images of each step
        self.unreadable: list[str] = []  # messages of samples that others stood in for
        self.images, self.wait, self.start = 0, 0.0, time.perf_counter()

    def timed(self, steps: Iterable[tuple[Batch, ...]]) -> Iterator[tuple[Batch, ...]]:
        """Yield the batches of each step, and count images and the time until they come."""
        iterator = iter(steps)
        while True:
            start = time.perf_counter()
            parts = next(iterator, None)
            if parts is None:
                return
            self.wait += time.perf_counter() - start
            self.images += sum(len(part.images) for part in parts)
            self.unreadable += [message for part in parts for message in part.unreadable]
            yield parts

    def add(self, loss: Tensor, parts: tuple[Batch, ...]) -> None:
        """Add the loss of a step."""
        self.losses.append(loss)
        self.names.append([name for part in parts for name in part.names])

    def read(self) -> Reading:
        """Return the reading and start again. Waits for the device, so that the timing is right."""
        losses = (distributed.total(torch.stack(self.losses)) / distributed.world_size()).tolist()
        names = self.names
        seconds = time.perf_counter() - self.start
        images, unreadable, wait = distributed.total(
            torch.tensor([self.images, len(self.unreadable), self.wait / distributed.world_size()])
        ).tolist()
        self._reset()
        return Reading(losses, names, images / seconds, wait / seconds, int(unreadable))
