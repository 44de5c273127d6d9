"""Batches on their way from workers to the main process, in shared memory that is used again and again.

New memory is zeroed and mapped page by page in the worker, and unmapped page by page in the main process: together more
work than to fill it.
"""

import weakref
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

_FREE, _TAKEN = 0, 1


class Ticket(NamedTuple):
    """Says where a batch is."""

    worker: int
    slot: int
    memory: Tensor | None  # the slot's, when the main process does not have it yet
    size: tuple[int, int]  # of images and targets, (height, width)


class Slots:
    """Memory of a batch each, as many as are in use at once: a worker takes one and fills it, the main process gets it.

    The last byte of a slot says whether it is taken. It is free again when in the main process no tensor is left that
    shares the batch's memory: whoever keeps a batch, or a part of it, keeps it as it is.
    """

    def __init__(self, batch_size: int):
        self.batch_size = batch_size
        self._slots: dict[tuple[int, int], np.ndarray] = {}  # a worker's own; in the main process, of all of them

    def take(self, size: tuple[int, int]) -> tuple[Ticket, Tensor, Tensor]:
        """In a worker: images (B,3,H,W) and targets (B,H,W) to fill, uint8, of the (height, width) of every batch."""
        worker, memory = get_worker_info().id, None
        slot = next((slot for (_, slot), content in self._slots.items() if content[-1] == _FREE), len(self._slots))
        if slot == len(self._slots):
            memory = torch.empty(4 * self.batch_size * size[0] * size[1] + 1, dtype=torch.uint8).share_memory_()
            self._slots[worker, slot] = memory.numpy()
        content = self._slots[worker, slot]
        content[-1] = _TAKEN
        return Ticket(worker, slot, memory, size), *self._parts(content, size)

    def get(self, ticket: Ticket) -> tuple[Tensor, Tensor]:
        """In the main process: images and targets, as they were filled."""
        if ticket.memory is not None:
            self._slots[ticket.worker, ticket.slot] = ticket.memory.numpy()
        slot = self._slots[ticket.worker, ticket.slot]
        content = slot[:]  # an object of its own, which the tensors' storage keeps and nothing else does
        weakref.finalize(content, slot.__setitem__, -1, _FREE)
        return self._parts(content, ticket.size)

    def _parts(self, content: np.ndarray, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        pixels = self.batch_size * size[0] * size[1]
        images, targets, _ = torch.from_numpy(content).split((3 * pixels, pixels, 1))
        return images.view(self.batch_size, 3, *size), targets.view(self.batch_size, *size)
