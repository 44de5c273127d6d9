"""Where memory does not suffice."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from segdla.build import num_workers
from segdla.config import Config
from segdla.errors import UserError


def is_lack_of_memory(error: Exception) -> bool:
    """Of the device or the host."""
    said = ("allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED", "MPS backend out of memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in said)


@contextmanager
def answering_memory(config: Config, on: torch.device, remedy: str) -> Iterator[None]:
    """Raises UserError, with a remedy, where the device's memory or the host's does not suffice."""
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        if any(words in str(error) for words in ("DataLoader worker (pid", "unable to allocate shared memory")):
            raise UserError(
                "a loader process was killed or gave up, as happens when memory, or what it shares (/dev/shm, docker "
                f"--shm-size), runs out; lower data.workers (now {num_workers(config)}) and run it again: a training "
                "goes on with --resume"
            ) from error
        if not is_lack_of_memory(error):
            raise
        raise UserError(f"out of memory on {on}: {remedy}") from error
