"""Batches: one stream of samples for a whole training run, and whole images for evaluation."""

import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from segdla.data.dataset import Sample, SegmentationDataset
from segdla.data.slots import Slots, Ticket
from segdla.errors import UserError

_BLOCK = 16 << 20  # bytes, some times a sample's


class Batch(NamedTuple):
    images: Tensor  # (B,3,H,W) uint8
    targets: Tensor  # (B,H,W) uint8
    names: tuple[str, ...]
    unreadable: tuple[str, ...] = ()  # messages of samples that others stand in for

    def on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images and targets on a device; with CUDA the host need not wait until they are there."""
        meanwhile = device.type == "cuda"  # MPS would read them only when they are let go of, and others in their place
        return self.images.to(device, non_blocking=meanwhile), self.targets.to(device, non_blocking=meanwhile)


class TrainingKeys:
    """Batches of (epoch, index) keys from ``first_step`` to the run's last step, ``accumulate`` of them a step.

    Every epoch is a permutation of its own, drawn from (seed, epoch); steps of ``batch_size`` are cut from their
    concatenation, so no sample is dropped and the stream from step k on is the same however the run got there. Each
    step is dealt out to ``world_size`` processes, of which this is number ``rank``, in equal parts.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        num_steps: int,
        seed: int,
        first_step: int = 0,
        *,
        accumulate: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ):
        assert batch_size % (accumulate * world_size) == 0, f"{batch_size} in {accumulate} x {world_size} parts"
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.num_steps = num_steps
        self.seed = seed
        self.first_step = first_step
        self.accumulate = accumulate
        self.rank = rank
        self.world_size = world_size
        self.part = batch_size // (accumulate * world_size)  # keys of a batch

    def __len__(self) -> int:
        return (self.num_steps - self.first_step) * self.accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        drawn, order = -1, np.empty(0, int)
        for step in range(self.first_step, self.num_steps):
            keys = []
            for position in range(step * self.batch_size, (step + 1) * self.batch_size):
                epoch, place = divmod(position, self.num_samples)
                if epoch != drawn:
                    drawn, order = epoch, np.random.default_rng((self.seed, epoch)).permutation(self.num_samples)
                keys.append((epoch, int(order[place])))
            for part in range(self.accumulate):
                start = (part * self.world_size + self.rank) * self.part
                yield keys[start : start + self.part]


def training_batches(dataset: SegmentationDataset, keys: TrainingKeys, workers: int, pin: bool) -> Iterator[Batch]:
    """The batches of a run, in order. Raises a sample's UserError when its turn comes."""
    if not workers:
        return (batch for (batch,) in _raising(_started(_loader(dataset, keys, 0, _stack_by_size, pin))))
    slots = Slots(keys.part)
    return _ahead(_loader(dataset, keys, workers, partial(_fill, slots)), slots, pin, keys.accumulate)


class WholeImages:
    """A data set's images in order, whole, as batches: anew at each iteration, by workers that stay.

    A batch holds images of one size: where sizes differ, batches are smaller, never padded, and more than ``len``.
    Each of ``world_size`` processes has its share of the images; no image is in two.
    """

    def __init__(
        self, dataset: SegmentationDataset, batch_size: int, workers: int, pin: bool, rank: int = 0, world_size: int = 1
    ):
        keys = [(0, index) for index in range(rank, len(dataset), world_size)]
        chunks = [keys[i : i + batch_size] for i in range(0, len(keys), batch_size)]
        self.num_images = len(keys)
        self.loader = _loader(dataset, chunks, workers, _stack_by_size, pin_memory=pin, persistent_workers=workers > 0)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        """Raises a sample's UserError when its turn comes."""
        return (batch for batches in _raising(_started(self.loader)) for batch in batches)


def _loader(
    dataset: SegmentationDataset,
    keys: Iterable[list[tuple[int, int]]],
    workers: int,
    collate: Callable,
    pin_memory: bool = False,
    persistent_workers: bool = False,
) -> DataLoader:
    return DataLoader(
        dataset,
        batch_sampler=keys,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker,
        persistent_workers=persistent_workers,
    )


def _started(loader: DataLoader) -> Iterator[Any]:
    """The loader's iterator, which tells that a worker has died where its batch is missed, and nowhere else.

    torch would raise that in the midst of whatever the main thread does by then, such as half an optimizer step.
    """
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        return iter(loader)
    before = signal.getsignal(signal.SIGCHLD)
    iterator = iter(loader)
    signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)
    return iterator


def _start_worker(worker: int) -> None:
    cv2.setNumThreads(0)  # a worker is a thread already: more of them only get in each other's way
    # The C library of Linux keeps, unused, up to twice the largest block that was ever let go of: then a sample is made
    # where the one before was, and not in new memory, page by page.
    np.empty(_BLOCK, np.uint8)
    # A signal to the main process's group, such as Ctrl-C's, is the main process's to answer: a worker that died of it
    # would take the running step along.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()


def _stack_by_size(samples: Iterable[Sample | UserError]) -> list[Batch] | UserError:
    samples = list(samples)
    for sample in samples:
        if isinstance(sample, UserError):
            return sample
    batches = []
    for _, group in groupby(samples, key=lambda sample: sample.image.shape):
        images, targets, names, unreadable = zip(*group, strict=True)
        stacked = [torch.stack(images), torch.stack(targets)]
        if get_worker_info():  # else the queue's thread would do it, and of a lack of shared memory it tells nobody
            stacked = [tensor.share_memory_() for tensor in stacked]
        batches.append(Batch(*stacked, names, sum(unreadable, ())))
    return batches


def _fill(slots: Slots, samples: Iterable[Sample | UserError]) -> tuple[Ticket, tuple, tuple] | UserError:
    """A batch but for its tensors, which are where the ticket says."""
    taken, names, unreadable = None, (), ()
    for place, sample in enumerate(samples):
        if isinstance(sample, UserError):
            return sample
        taken = taken or slots.take(sample.target.shape)
        ticket, images, targets = taken
        images[place], targets[place] = sample.image, sample.target
        names, unreadable = (*names, sample.name), unreadable + sample.unreadable
    return ticket, names, unreadable


def _ahead(loader: DataLoader, slots: Slots, pin: bool, used: int) -> Iterator[Batch]:
    """The batches of a loader, taken from its workers and let go of by a thread; ``used`` of them are used at once.

    Pinned memory is filled by it, and to let go of a tensor is to let go of the interpreter: on busy cores the main
    thread would have it back only after milliseconds.
    """
    iterator = _started(loader)
    device = torch.cuda.current_device() if pin else None
    ready: queue.Queue = queue.Queue(maxsize=1)
    left = threading.Event()

    def fetch() -> None:
        kept = deque(maxlen=used + 3)  # besides those in use: before them one that is done with, after them two
        try:
            if pin:
                torch.cuda.set_device(device)  # of this thread
            for ticket, *rest in _raising(iterator):
                images, targets = slots.get(ticket)
                if pin:
                    images, targets = images.pin_memory(), targets.pin_memory()
                kept.append(Batch(images, targets, *rest))
                ready.put(kept[-1])
                if left.is_set():
                    return
        except BaseException as error:
            ready.put(error)  # for the main thread to raise
        else:
            ready.put(None)

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    try:
        yield from _raising(iter(ready.get, None))
    finally:
        left.set()
        with suppress(queue.Empty):
            ready.get_nowait()  # room for what the thread has in hand, after which it looks up
        thread.join()


def _raising(loader: Iterable[Any]) -> Iterator[Any]:
    for item in loader:
        if isinstance(item, BaseException):
            try:
                raise item
            finally:
                del item  # its traceback holds this frame: a ring, in which workers would live on, and take 5 s to end
        yield item
