"""Batches: one stream of samples for a whole training run, and whole images for evaluation."""

import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from segdla.data.batch_memory import Slots, Ticket
from segdla.data.samples import Sample, SegmentationDataset
from segdla.data.worker import read_ahead, start_worker
from segdla.errors import UserError


class Batch(NamedTuple):
    """Samples of one size, stacked."""

    images: Tensor  # (B,3,H,W) uint8
    targets: Tensor  # (B,H,W) uint8, or of whole images (B,1,1) int16
    names: tuple[str, ...]
    unreadable: tuple[str, ...] = ()  # messages of samples that others stand in for

    def on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return images and targets on a device; with CUDA the host need not wait until they are there."""
        # MPS would read the host's memory only after it is freed, and find another batch in it.
        non_blocking = device.type == "cuda"
        return self.images.to(device, non_blocking=non_blocking), self.targets.to(device, non_blocking=non_blocking)


class TrainingKeys:
    """Batches of (epoch, index) keys from ``first_step`` to the run's last step, ``accumulate`` batches a step.

    Every epoch is a permutation of its own, drawn from (seed, epoch). Steps of ``batch_size`` are cut from the epochs'
    concatenation, so no sample is dropped, and the stream from step k on is the same however the run got there. Each
    step is dealt out in equal parts to ``world_size`` processes, of which this is number ``rank``.
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
        order_epoch, order = -1, np.empty(0, int)
        for step in range(self.first_step, self.num_steps):
            keys = []
            for position in range(step * self.batch_size, (step + 1) * self.batch_size):
                epoch, place = divmod(position, self.num_samples)
                if epoch != order_epoch:
                    order_epoch, order = epoch, np.random.default_rng((self.seed, epoch)).permutation(self.num_samples)
                keys.append((epoch, int(order[place])))
            for part in range(self.accumulate):
                start = (part * self.world_size + self.rank) * self.part
                yield keys[start : start + self.part]


def training_batches(dataset: SegmentationDataset, keys: TrainingKeys, workers: int, pin: bool) -> Iterator[Batch]:
    """Yield the batches of a run, in order. Raises a sample's UserError when its turn comes."""
    if not workers:
        return (batch for (batch,) in _raising(_started(_loader(dataset, keys, 0, _stack_by_size, pin))))
    slots = Slots(keys.part)
    return _ahead(_loader(dataset, keys, workers, partial(_fill, slots)), slots, pin, keys.accumulate)


class WholeImages:
    """A data set's images in order, whole, as batches: restarted at each iteration, with persistent workers.

    A batch holds images of one size. Where sizes differ, batches are smaller, never padded, and there are more of them
    than ``len``. Each of ``world_size`` processes has its share of the images; no image is in two.
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
        """Yield the batches. Raises a sample's UserError when its turn comes."""
        return (batch for batches in _raising(_started(self.loader)) for batch in batches)


def _loader(
    dataset: SegmentationDataset,
    keys: Iterable[list[tuple[int, int]]],
    workers: int,
    collate: Callable,
    pin_memory: bool = False,
    persistent_workers: bool = False,
) -> DataLoader:
    if not workers:
        read_ahead(dataset, keys)
    return DataLoader(
        dataset,
        batch_sampler=keys,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=partial(start_worker, keys),
        persistent_workers=persistent_workers,
    )


def _started(loader: DataLoader) -> Iterator[Any]:
    """Start a loader's iterator, which reports a worker's death where the worker's batch is missed, and nowhere else.

    torch would raise that in the midst of whatever the main thread does by then, such as half an optimizer step.
    """
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        return iter(loader)
    before = signal.getsignal(signal.SIGCHLD)
    iterator = iter(loader)
    signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)
    return iterator


def _stack_by_size(samples: Iterable[Sample | UserError]) -> list[Batch] | UserError:
    """Stack neighbours of one size; in place of the batches, return the error of a sample that can't be read."""
    readable: list[Sample] = []
    for sample in samples:
        if isinstance(sample, UserError):
            return sample
        readable.append(sample)
    return [_stacked(list(group)) for _, group in groupby(readable, key=lambda sample: sample.image.shape)]


def _stacked(samples: Sequence[Sample]) -> Batch:
    images, targets = torch.stack([s.image for s in samples]), torch.stack([s.target for s in samples])
    if get_worker_info():  # else the queue's thread would do it, which reports a lack of shared memory to nobody
        images, targets = images.share_memory_(), targets.share_memory_()
    unreadable = tuple(message for sample in samples for message in sample.unreadable)
    return Batch(images, targets, tuple(sample.name for sample in samples), unreadable)


class _Filled(NamedTuple):
    """A batch whose tensors lie in a slot, where the ticket says."""

    ticket: Ticket
    names: tuple[str, ...]
    unreadable: tuple[str, ...]


def _fill(slots: Slots, samples: Iterable[Sample | UserError]) -> _Filled | UserError:
    """Fill a slot, in a worker; in place of the batch, return the error of a sample that can't be read."""
    slot: tuple[Ticket, Tensor, Tensor] | None = None
    names: list[str] = []
    unreadable: list[str] = []
    for place, sample in enumerate(samples):
        if isinstance(sample, UserError):
            return sample
        slot = slot or slots.take(sample.image, sample.target)
        _, images, targets = slot
        images[place], targets[place] = sample.image, sample.target
        names.append(sample.name)
        unreadable += sample.unreadable
    assert slot is not None, "a batch of no keys"
    return _Filled(slot[0], tuple(names), tuple(unreadable))


def _ahead(loader: DataLoader, slots: Slots, pin: bool, num_used: int) -> Iterator[Batch]:
    """Yield a loader's batches, which a thread takes from the workers and frees; ``num_used`` are in use at once.

    The thread also fills pinned memory. Freeing a tensor releases the GIL: on busy cores the main thread would have it
    back only after milliseconds.
    """
    iterator = _started(loader)
    device = torch.cuda.current_device() if pin else None
    ready: queue.Queue = queue.Queue(maxsize=1)
    is_closed = threading.Event()

    def fetch() -> None:
        # Besides those in use: before them one that is done with, after them two.
        recent: deque[Batch] = deque(maxlen=num_used + 3)
        try:
            if device is not None:
                torch.cuda.set_device(device)  # of this thread
            for filled in _raising(iterator):
                images, targets = slots.get(filled.ticket)
                if pin:
                    images, targets = images.pin_memory(), targets.pin_memory()
                recent.append(Batch(images, targets, filled.names, filled.unreadable))
                ready.put(recent[-1])
                if is_closed.is_set():
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
        is_closed.set()
        with suppress(queue.Empty):
            ready.get_nowait()  # room for the batch that the thread has in hand, after which it looks at the event
        thread.join()


def _raising(items: Iterable[Any]) -> Iterator[Any]:
    """Yield the items; raise the first that is an exception."""
    for item in items:
        if isinstance(item, BaseException):
            try:
                raise item
            finally:
                # Its traceback holds this frame: a reference cycle, in which workers would live on for 5 s.
                del item
        yield item
