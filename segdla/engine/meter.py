"""What a training run is doing: its losses, and how fast it goes."""

import time
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from segdla import distributed
from segdla.data.loader import Batch


class Meter:
    """The steps since the last reading: their losses and images, and the time spent waiting for data.

    Losses stay on the device: asking for one at every step would make the host wait for the device.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.losses: list[Tensor] = []
        self.names: list[list[str]] = []  # of the images of each step
        self.unreadable: list[str] = []  # messages of samples that others stood in for
        self.images, self.waited, self.started = 0, 0.0, time.perf_counter()

    def timed(self, steps: Iterable[tuple[Batch, ...]]) -> Iterator[tuple[Batch, ...]]:
        iterator = iter(steps)
        while True:
            asked = time.perf_counter()
            parts = next(iterator, None)
            if parts is None:
                return
            self.waited += time.perf_counter() - asked
            self.images += sum(len(part.images) for part in parts)
            self.unreadable += [message for part in parts for message in part.unreadable]
            yield parts

    def add(self, loss: Tensor, parts: tuple[Batch, ...]) -> None:
        self.losses.append(loss)
        self.names.append([name for part in parts for name in part.names])

    def read(self) -> tuple[list[float], list[list[str]], dict[str, float]]:
        """Each step's loss, the mean of all processes; each step's images in this one; and the speed of all together.

        Waits for the device, so that the clock is true, and starts anew.
        """
        losses = (distributed.total(torch.stack(self.losses)) / distributed.world_size()).tolist()
        names = self.names
        seconds = time.perf_counter() - self.started
        images, unreadable, waited = distributed.total(
            torch.tensor([self.images, len(self.unreadable), self.waited / distributed.world_size()])
        ).tolist()
        speed = {"images_per_second": images / seconds, "data_wait": waited / seconds}
        if unreadable:
            speed["unreadable"] = int(unreadable)
        self._reset()
        return losses, names, speed
