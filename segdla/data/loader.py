"""Batches: one stream of samples for a whole training run, and whole images for evaluation."""

import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from segdla.data.dataset import Sample, SegmentationDataset
from segdla.errors import UserError


class Batch(NamedTuple):
    images: Tensor  # (B,3,H,W) uint8
    targets: Tensor  # (B,H,W) uint8
    names: tuple[str, ...]
    unreadable: tuple[str, ...] = ()  # messages of samples that others stand in for


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

    def __len__(self) -> int:
        return (self.num_steps - self.first_step) * self.accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        size = self.batch_size // (self.accumulate * self.world_size)
        drawn, order = -1, np.empty(0, int)
        for step in range(self.first_step, self.num_steps):
            keys = []
            for position in range(step * self.batch_size, (step + 1) * self.batch_size):
                epoch, place = divmod(position, self.num_samples)
                if epoch != drawn:
                    drawn, order = epoch, np.random.default_rng((self.seed, epoch)).permutation(self.num_samples)
                keys.append((epoch, int(order[place])))
            for part in range(self.accumulate):
                start = (part * self.world_size + self.rank) * size
                yield keys[start : start + size]


def training_batches(dataset: SegmentationDataset, keys: TrainingKeys, workers: int, pin: bool) -> Iterator[Batch]:
    """The batches of a run, in order. Raises a sample's UserError when its turn comes."""
    loader = _loader(dataset, keys, workers, pin)
    # Pinned batches come from a thread of the loader's own.
    return (batch for (batch,) in _raising(_ahead(loader) if workers and not pin else loader))


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
        self.loader = _loader(dataset, chunks, workers, pin, persistent_workers=workers > 0)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        """Raises a sample's UserError when its turn comes."""
        return (batch for batches in _raising(self.loader) for batch in batches)


def _loader(
    dataset: SegmentationDataset,
    keys: Iterable[list[tuple[int, int]]],
    workers: int,
    pin: bool,
    persistent_workers: bool = False,
) -> DataLoader:
    return DataLoader(
        dataset,
        batch_sampler=keys,
        collate_fn=_stack_by_size,
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_start_worker,
        persistent_workers=persistent_workers,
    )


def _start_worker(worker: int) -> None:
    cv2.setNumThreads(0)  # a worker is a thread already: more of them only get in each other's way
    # A signal to the main process's group, such as Ctrl-C's, is the main process's to answer: a worker that died of it
    # would take the running step along.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()


def _stack_by_size(samples: list[Sample | UserError]) -> list[Batch] | UserError:
    for sample in samples:
        if isinstance(sample, UserError):
            return sample
    batches = []
    for _, group in groupby(samples, key=lambda sample: sample.image.shape):
        images, targets, names, unreadable = zip(*group, strict=True)
        batches.append(Batch(torch.stack(images), torch.stack(targets), names, sum(unreadable, ())))
    return batches


def _ahead(loader: DataLoader) -> Iterator[list[Batch] | UserError]:
    """What a loader gives, taken from its workers and let go of by a thread: that takes milliseconds a batch."""
    iterator = iter(loader)  # here, since only the main thread can watch over workers
    ready: queue.Queue = queue.Queue(maxsize=1)
    left = threading.Event()

    def fetch() -> None:
        end: object = None
        kept = deque(maxlen=3)  # one ready, one in use, and one that no one else has by now: it is unmapped here
        try:
            for batches in iterator:
                kept.append(batches)
                ready.put((batches,))
                if left.is_set():
                    return
        except BaseException as error:  # for the main thread to raise
            end = error
        ready.put(end)

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    try:
        while isinstance(item := ready.get(), tuple):
            (batches,) = item
            del item  # or it would be kept through the next one's making
            yield batches
            del batches
        if item is not None:
            raise item
    finally:
        left.set()
        with suppress(queue.Empty):
            ready.get_nowait()  # room for what the thread has in hand, after which it looks up
        thread.join()


def _raising(loader: Iterable[list[Batch] | UserError]) -> Iterator[list[Batch]]:
    for batches in loader:
        if isinstance(batches, UserError):
            raise batches
        yield batches
