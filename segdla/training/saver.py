"""The state of a run, saved while training goes on: copied during a step, and written by a thread."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
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
Pair = tuple[Tensor, Tensor]
"""A tensor and the memory for its copy."""
Place = tuple[int, torch.Size]
"""Where a tensor lies in memory, and its shape: what views of it share."""


class Saver:
    """Saves states of a run in its folder; a context that ends when the last one is on the disk.

    Only the optimizer's step changes parameters, moments and average. So on a CPU a thread copies them while the next
    gradients are computed (``while_copying``); training waits for the copy of the buffers, such as batch statistics. On
    other devices all is copied at once. The next saving waits for the one before, and uses its memory again.

    ``on_written``, if given, is called by the thread with each state that is on the disk. The next ``save`` or
    ``settle`` raises an error of the thread, a UserError. So does the end of the context, unless it has an error of its
    own.
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
        if (device := next(training.model.parameters()).device).type == "cpu":
            changing = {_place(buffer): buffer.clone() for buffer in _buffers(training)}
            self._is_copied.clear()
            self._thread.do(self._copy_and_write, state, changing)
        else:
            self._copy_all(state, {})
            arrived = torch.cuda.current_stream(device).record_event() if device.type == "cuda" else None
            self._thread.do(self._write, arrived)

    def _copy_all(self, state: dict[str, Any], changed: Mapping[Place, Tensor]) -> None:
        """Copy the state; what has ``changed`` since it was asked for is copied from there."""
        self._copy = memory_for(state, self._copy)
        copy((changed.get(_place(tensor), tensor), memory) for tensor, memory in pairs(state, self._copy))

    def _copy_and_write(self, state: dict[str, Any], changed: Mapping[Place, Tensor]) -> None:
        try:
            self._copy_all(state, changed)
        finally:
            self._is_copied.set()
        self._write(None)

    def _write(self, arrived: torch.cuda.Event | None) -> None:
        if arrived is not None:
            arrived.synchronize()
        write_state(self._run, self._copy)
        if self._on_written is not None:
            self._on_written(self._copy)

    def while_copying(self, gradients: Gradients) -> Gradients:
        """Return ``gradients`` that also wait, before they return, for a copy in progress."""

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

    Other values are taken over.
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


def pairs(value: Any, memory: Any) -> Iterator[Pair]:
    """Yield each tensor in nested dicts with its memory."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from pairs(inner, memory[key])
    elif isinstance(value, Tensor):
        yield value, memory


def copy(tensors: Iterable[Pair]) -> None:
    """Copy tensors into their memory; those on CUDA arrive later, in the order of the current stream."""
    for tensor, memory in tensors:
        memory.copy_(tensor, non_blocking=tensor.is_cuda)


def _place(tensor: Tensor) -> Place:
    return tensor.data_ptr(), tensor.shape


def _buffers(training: Training) -> Iterator[Tensor]:
    """Yield the tensors that change outside an optimizer's step, by forward passes and evaluations."""
    networks: list[nn.Module] = [training.model] + ([] if training.ema is None else [training.ema])
    return chain.from_iterable(network.buffers() for network in networks)
