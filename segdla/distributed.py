"""The few lines around torch.distributed: what a process of several has to know, and to agree on.

``torchrun`` starts the same command once a device. Every function here is also right, and free, in a single process.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from segdla.errors import PeerError, UserError

Result = TypeVar("Result")


def launched() -> bool:
    """Whether torchrun started this process, as one of several."""
    return "LOCAL_RANK" in os.environ


@contextmanager
def process_group(patience: timedelta | None = None) -> Iterator[None]:
    """Joined with the other processes of this command while entered, where torchrun started several.

    Tensors on the host go by gloo, those on CUDA devices by NCCL. ``patience``: how long one waits for the
    others, where torch's half an hour is too short. (One that dies is noticed by torchrun, at once.)
    """
    if not launched():
        yield
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=patience)
    yield
    dist.destroy_process_group()  # after an error it could wait for processes that wait for this one


def local_rank() -> int:
    """This process's number on its machine: that of its device."""
    return int(os.environ.get("LOCAL_RANK", 0))


def processes_here() -> int:
    """How many of the processes share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this process is the one that writes and speaks."""
    return rank() == 0


def total(counts: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if world_size() > 1:
        dist.all_reduce(counts)
    return counts


def highest(number: int) -> int:
    """The highest of the processes' numbers; it travels between the hosts, without waiting for any device."""
    if world_size() == 1:
        return number
    agreed = torch.tensor(number)
    dist.all_reduce(agreed, dist.ReduceOp.MAX)
    return int(agreed)


def gathered(value: Any) -> list[Any]:
    """Every process's value, by rank."""
    if world_size() == 1:
        return [value]
    values = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def on_main(work: Callable[[], Result]) -> Result:
    """What the main process's ``work`` gives, in every process; done when all have come so far.

    Raises its UserError, and PeerError in the others.
    """
    if world_size() == 1:
        return work()
    highest(0)  # a barrier between the hosts; torch's own would be the devices', which may not be chosen yet
    said: list[Any] = [None]
    if is_main():
        try:
            said = [work()]
        except UserError as error:
            dist.broadcast_object_list([PeerError(str(error))])
            raise
    dist.broadcast_object_list(said)
    if isinstance(said[0], PeerError):
        raise said[0]
    return said[0]


def share_buffers(model: nn.Module) -> None:
    """Give every process the main one's buffers: running statistics differ where each had images of its own."""
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def replicated(model: nn.Module, device: torch.device) -> nn.Module:
    """The model, with gradients that are averaged over the processes."""
    if world_size() == 1:
        return model
    return DistributedDataParallel(
        model, device_ids=[device.index] if device.type == "cuda" else None, gradient_as_bucket_view=True
    )


def unsynchronised(model: nn.Module) -> AbstractContextManager:
    """Leaves the gradients of a ``replicated`` model to this process, to be averaged with those of a later pass."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()
