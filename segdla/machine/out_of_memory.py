"""Turn out-of-memory errors, of the device or the host, into advice."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from segdla.errors import UserError

_DEVICE = ("CUDA error: out of memory", "STATUS_ALLOC_FAILED", "MPS backend out of memory")
# Messages of torch, the system, OpenCV and NumPy. A loader's process hands errors on as text, without their type.
_HOST = ("allocate memory", "Insufficient memory", "Failed to allocate", "Unable to allocate", "MemoryError")
_LOADER = ("DataLoader worker (pid", "unable to allocate shared memory")


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error means that the device or the host has no memory left."""
    return _is_of_host(error) or isinstance(error, torch.OutOfMemoryError) or _says(error, _DEVICE)


@contextmanager
def answering_out_of_memory(device: torch.device, remedy: str, workers: int | None = None) -> Iterator[None]:
    """Turn an out-of-memory error into a UserError with a remedy; ``workers`` is the number of loader processes."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # OpenCV's own is of no other type
        if workers is not None and _says(error, _LOADER):
            raise UserError(
                "a loader process was killed or gave up, as happens when memory, or what it shares (/dev/shm, docker "
                f"--shm-size), runs out; lower data.workers (now {workers}) and run it again: a training goes on with "
                "--resume"
            ) from error
        if not is_out_of_memory(error):
            raise
        place = "the host" if _is_of_host(error) and device.type != "cpu" else str(device)
        fewer = f", or data.workers (now {workers})" if workers and _is_of_host(error) else ""
        raise UserError(f"out of memory on {place}: {remedy}{fewer}") from error


def _is_of_host(error: Exception) -> bool:
    return isinstance(error, MemoryError) or _says(error, _HOST)


def _says(error: Exception, words: tuple[str, ...]) -> bool:
    text = str(error)
    return any(word in text for word in words)
