"""Batches on their way from workers to the main process, in shared memory that is reused.

New memory is zeroed and mapped page by page in the worker, and unmapped page by page in the main process. Together
that is more work than to fill it.
"""

import weakref
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

_FREE, _TAKEN = 0, 1


class Ticket(NamedTuple):
    """The place of a batch in shared memory."""

    worker: int
    slot: int
    memory: Tensor | None  # the slot's, if the main process does not have it yet
    image: torch.Size  # (3,H,W)
    target: torch.Size  # (H,W)
    kind: torch.dtype  # of targets; images are bytes


class Slots:
    """A pool of batch-sized buffers, as large as the number in use at once.

    A worker takes a slot and fills it; the main process reads it. The last byte of a slot says whether it is taken.
    It is free again when the main process has no tensor left that shares the batch's memory. So whoever keeps a batch,
    or a part of it, keeps it as it is.
    """

    def __init__(self, batch_size: int):
        self.batch_size = batch_size
        self._slots: dict[tuple[int, int], np.ndarray] = {}  # a worker's own; in the main process, of all workers

    def take(self, image: Tensor, target: Tensor) -> tuple[Ticket, Tensor, Tensor]:
        """Take a free slot, in a worker, for samples like an image (3,H,W) uint8 and its target; every batch's are.

        Returns its ticket, and images (B,3,H,W) and targets (B,H,W) to fill.
        """
        info, memory = get_worker_info(), None
        assert info is not None, "slots are taken in workers"
        slot = next((slot for (_, slot), content in self._slots.items() if content[-1] == _FREE), len(self._slots))
        if slot == len(self._slots):
            num_bytes = self.batch_size * (image.numel() + target.numel() * target.itemsize)
            memory = torch.empty(num_bytes + 1, dtype=torch.uint8).share_memory_()
            self._slots[info.id, slot] = memory.numpy()
        content = self._slots[info.id, slot]
        content[-1] = _TAKEN
        ticket = Ticket(info.id, slot, memory, image.shape, target.shape, target.dtype)
        return ticket, *self._parts(content, ticket)

    def get(self, ticket: Ticket) -> tuple[Tensor, Tensor]:
        """Return images and targets as they were filled, in the main process."""
        if ticket.memory is not None:
            self._slots[ticket.worker, ticket.slot] = ticket.memory.numpy()
        slot = self._slots[ticket.worker, ticket.slot]
        content = slot[:]  # an object of its own, which the tensors' storage keeps and nothing else does
        weakref.finalize(content, slot.__setitem__, -1, _FREE)
        return self._parts(content, ticket)

    def _parts(self, content: np.ndarray, ticket: Ticket) -> tuple[Tensor, Tensor]:
        of_targets = self.batch_size * ticket.target.numel() * ticket.kind.itemsize
        of_images = self.batch_size * ticket.image.numel()
        # Targets are first, where numbers of several bytes are aligned.
        targets, images, _ = torch.from_numpy(content).split((of_targets, of_images, 1))
        targets = targets.view(ticket.kind).view(self.batch_size, *ticket.target)
        return images.view(self.batch_size, *ticket.image), targets
