"""The state of a run, saved while training goes on: copied between two steps, and written by a thread."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import torch
from torch import Tensor

from segdla.machine.threads import Background
from segdla.training.state import Training, write_state

Item = TypeVar("Item")


class Saver:
    """Saves states of a run in its folder; a context that ends when the last one is on the disk.

    A saving holds up training for as long as a copy in the host's memory takes. The copy's memory is used again by the
    next saving, which waits for the one before it. An error of the thread, a UserError, is raised by the next ``save``
    or ``settle``, or at the end of the context, unless that ends with an error of its own.
    """

    def __init__(self, run: Path):
        self._run = run
        self._thread = Background(threads=1, waiting=1)
        self._copy: dict[str, Any] = {}

    def __enter__(self) -> "Saver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.__exit__(kind, error, trace)

    def save(self, training: Training) -> None:
        """Copy the state, after an earlier one is written, and begin to write it."""
        self.settle()
        self._copy = copied(training.state_dict(), self._copy)
        device = next(training.model.parameters()).device
        self._thread.do(
            self._write, torch.cuda.current_stream(device).record_event() if device.type == "cuda" else None
        )

    def _write(self, arrived: torch.cuda.Event | None) -> None:
        if arrived is not None:
            arrived.synchronize()
        write_state(self._run, self._copy)

    def settle(self) -> None:
        """Wait until nothing is being written."""
        self._thread.settle()

    def until_failed(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items until they end or a state could not be written, which the next ``save`` says."""
        for item in items:
            if self._thread.has_failed():
                return
            yield item


def copied(value: Any, memory: Any) -> Any:
    """Return a copy, on the host, of tensors in nested dicts; in the tensors of an earlier copy, where they fit.

    Tensors on CUDA arrive later, in the order of the current stream.
    """
    if isinstance(value, dict):
        earlier = memory if isinstance(memory, dict) else {}
        return {key: copied(inner, earlier.get(key)) for key, inner in value.items()}
    if not isinstance(value, Tensor):
        return value
    if not (isinstance(memory, Tensor) and memory.dtype == value.dtype and memory.shape == value.shape
            and memory.stride() == value.stride()):  # fmt: skip
        memory = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
    return memory.copy_(value, non_blocking=value.is_cuda)
