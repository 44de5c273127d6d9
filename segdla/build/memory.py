"""Where memory does not suffice."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from segdla.build import num_workers
from segdla.config import Config
from segdla.errors import UserError


def is_lack_of_memory(error: Exception) -> bool:
    """Of the device or the host."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)


@contextmanager
def answering_memory(config: Config, on: torch.device, remedy: str) -> Iterator[None]:
    """Raises UserError, with a remedy, where the device's memory or the host's does not suffice."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if "DataLoader worker (pid" in str(error):  # torch raises it wherever the main thread is by then
            raise UserError(
                "a loader process was killed, as the system does when memory runs out; lower data.workers (now "
                f"{num_workers(config)}) and run it again: a training goes on with --resume"
            ) from error
        if not is_lack_of_memory(error):
            raise
        raise UserError(f"out of memory on {on}: {remedy}") from error
