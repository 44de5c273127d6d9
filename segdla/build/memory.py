"""Where memory does not suffice."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from segdla.build import num_workers
from segdla.config import Config
from segdla.errors import UserError


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
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and "allocate memory" not in str(error):
            raise
        raise UserError(f"out of memory on {on}: {remedy}") from error
