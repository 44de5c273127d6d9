"""The state of a run, saved while training goes on: copied during a step, and written by a thread."""

import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from segdla.data.loader import Batch
from segdla.machine.threads import Background
from segdla.training.state import Training, write_state
from segdla.training.step import Gradients

Item = TypeVar("Item")


class Saver:
    """Saves states of a run in its folder; a context that ends when the last one is on the disk.

    Forward and backward passes read parameters, moments and average, and only the optimizer's step changes them. So on
    a CPU a thread copies them while the next gradients are computed (``while_copying``), and a saving holds up training
    only for the copy of the buffers, such as batch statistics. On other devices all is copied at once, as fast as it
    reaches the host. The copy's memory is used again by the next saving, which waits for the one before it.

    ``on_written``, if given, is called by the thread with each state that is on the disk. An error of the thread, a
    UserError, is raised by the next ``save`` or ``settle``, or at the end of the context, unless that ends with an
    error of its own.
    """

    def __init__(self, run: Path, on_written: Callable[[dict[str, Any]], None] | None = None):
        self._run = run
        self._on_written = on_written
        self._thread = Background(threads=1, waiting=1)
        self._copy: dict[str, Any] = {}
        self._is_copied = threading.Event()
        self._is_copied.set()

    def __enter__(self) -> "Saver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.__exit__(kind, error, trace)

    def save(self, training: Training) -> None:
        """Begin to copy and to write the state, after an earlier one is written."""
        self.settle()
        state = training.state_dict()
        self._copy = memory_for(state, self._copy)
        device = next(training.model.parameters()).device
        buffers = {tensor.data_ptr() for tensor in _buffers(training)}

        def waits(tensor: Tensor) -> bool:
            return device.type == "cpu" and tensor.data_ptr() not in buffers

        copy_all(state, self._copy, lambda tensor: not waits(tensor))
        arrived = torch.cuda.current_stream(device).record_event() if device.type == "cuda" else None
        self._is_copied.clear()
        self._thread.do(self._finish, state, waits, arrived)

    def _finish(self, state: dict[str, Any], waits: Callable[[Tensor], bool], arrived: torch.cuda.Event | None) -> None:
        try:
            copy_all(state, self._copy, waits)
        finally:
            self._is_copied.set()
        if arrived is not None:
            arrived.synchronize()
        write_state(self._run, self._copy)
        if self._on_written is not None:
            self._on_written(self._copy)

    def while_copying(self, gradients: Gradients) -> Gradients:
        """Return gradients that are computed while a state is being copied, and are there when it is."""

        def computed(parts: tuple[Batch, ...]) -> Tensor:
            loss = gradients(parts)
            self._is_copied.wait()
            return loss

        return computed

    def settle(self) -> None:
        """Wait until nothing is being written."""
        self._thread.settle()

    def until_failed(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items until they end or a state could not be written, which the next ``save`` says."""
        for item in items:
            if self._thread.has_failed():
                return
            yield item


def memory_for(value: Any, earlier: Any) -> Any:
    """Return nested dicts like ``value``, with memory of the host in place of tensors; ``earlier`` memory, if it fits.

    What is no tensor is taken over.
    """
    if isinstance(value, dict):
        inside = earlier if isinstance(earlier, dict) else {}
        return {key: memory_for(inner, inside.get(key)) for key, inner in value.items()}
    if not isinstance(value, Tensor):
        return value
    if (isinstance(earlier, Tensor) and earlier.dtype == value.dtype and earlier.shape == value.shape
            and earlier.stride() == value.stride()):  # fmt: skip
        return earlier
    return torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)


def copy_all(value: Any, memory: Any, wanted: Callable[[Tensor], bool] = lambda _: True) -> None:
    """Copy the ``wanted`` tensors in nested dicts; those on CUDA arrive later, in the order of the current stream."""
    if isinstance(value, dict):
        for key, inner in value.items():
            copy_all(inner, memory[key], wanted)
    elif isinstance(value, Tensor) and wanted(value):
        memory.copy_(value, non_blocking=value.is_cuda)


def _buffers(training: Training) -> Iterator[Tensor]:
    """Yield what changes outside an optimizer's step: forward passes and evaluations do that."""
    networks: list[nn.Module] = [training.model] + ([] if training.ema is None else [training.ema])
    return chain.from_iterable(network.buffers() for network in networks)
