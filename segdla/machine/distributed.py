"""The few lines around torch.distributed: ranks, sums and decisions that all processes of a command share.

``torchrun`` starts the same command once a device. In a single process every function here is right too, and free.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import distributed_c10d
from torch.nn.parallel import DistributedDataParallel

from segdla.errors import PeerError, UserError, one_line
from segdla.machine.fresh_store import fresh_store
from segdla.machine.terminal import say
from segdla.machine.whereabouts import Whereabouts, timeout

_whereabouts: list[Whereabouts] = []  # of the process group, if there is one

Result = TypeVar("Result")
Module = TypeVar("Module", bound=nn.Module)


def launched() -> bool:
    """Return whether torchrun started this process, as one of several."""
    return "LOCAL_RANK" in os.environ


@contextmanager
def process_group(patience: timedelta | None = None) -> Iterator[None]:
    """Join the other processes of this command, if torchrun started several, until the context ends.

    Tensors on the host travel by gloo, those on CUDA devices by NCCL. A process waits for the others as long as the
    environment variable SEGDLA_COLLECTIVE_TIMEOUT says, or else ``patience``, or torch's half an hour. (If one dies,
    torchrun notices at once.)

    Raises UserError, which names the missing processes and where they are, when that time is over, and if another
    process has ended; in the processes that need not say it, PeerError.
    """
    if not launched():
        yield
        return
    limit = timeout(os.environ.get("SEGDLA_COLLECTIVE_TIMEOUT")) or patience or dist.default_pg_timeout
    try:
        store, own_rank, processes = next(dist.rendezvous("env://", timeout=limit))
    except dist.DistError as error:
        raise UserError(
            f"not all {os.environ.get('WORLD_SIZE')} processes began within {limit.total_seconds():g} s "
            f"({one_line(str(error).splitlines()[0])}); look for what kept the others"
        ) from error
    store = fresh_store(store, own_rank, processes, limit)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=own_rank, world_size=processes, timeout=limit)
    seconds = limit.total_seconds()
    where = Whereabouts(distributed_c10d._get_default_store(), rank(), world_size(), min(1.0, seconds / 4))
    _whereabouts.append(where)
    try:
        yield
    except RuntimeError as error:
        answer = where.answer(error, seconds)
        if answer is None:
            raise
        raise answer from error
    finally:
        _whereabouts.remove(where)
        where.end()
    dist.destroy_process_group()  # not after an error: it could wait for processes that wait for this one


def now_at(work: str) -> None:
    """Say what this process is about to do, for the message of processes that wait for it in vain."""
    for where in _whereabouts:
        where.doing = work


def local_rank() -> int:
    """Return this process's number on its machine, which is its device's."""
    return int(os.environ.get("LOCAL_RANK", 0))


def rank() -> int:
    """Return this process's number among all."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Return whether this is the process that writes and prints."""
    return rank() == 0


def total(counts: Tensor) -> Tensor:
    """Sum over all processes, in place."""
    if world_size() > 1:
        dist.all_reduce(counts)
    return counts


def highest(number: int) -> int:
    """Return the highest of the processes' numbers. It travels between the hosts and waits for no device."""
    if world_size() == 1:
        return number
    result = torch.tensor(number)
    dist.all_reduce(result, dist.ReduceOp.MAX)
    return int(result)


def gathered(value: Any) -> list[Any]:
    """Return every process's value, by rank."""
    if world_size() == 1:
        return [value]
    values = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def on_main(work: Callable[[], Result]) -> Result:
    """Run ``work`` in the main process alone and return its result in every process; all wait for it.

    Raises its UserError, and PeerError in the other processes.
    """
    if world_size() == 1:
        return work()
    highest(0)  # a barrier between the hosts; torch's own is between the devices, which may not be chosen yet
    message: list[Any] = [None]
    if is_main():
        try:
            message = [work()]
        except UserError as error:
            dist.broadcast_object_list([PeerError(str(error))])
            raise
    dist.broadcast_object_list(message)
    if isinstance(message[0], PeerError):
        raise message[0]
    return message[0]


def share_buffers(model: nn.Module) -> None:
    """Give every process the main one's buffers: running statistics differ, as each process has its own images."""
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def replicated(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the model with gradients that are averaged over the processes."""
    if world_size() == 1:
        return model
    return DistributedDataParallel(
        model, device_ids=[device.index] if device.type == "cuda" else None, gradient_as_bucket_view=True
    )


def with_synchronised_batchnorm(model: Module, device: torch.device) -> Module:
    """Return the model with batch normalisation over the images of all processes, or say that the device has none."""
    if world_size() > 1 and device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if world_size() > 1 and is_main():
        say(f"{device} has no synchronised batch normalisation: each process has that of its own images")
    return model


def unsynchronised(model: nn.Module) -> AbstractContextManager:
    """Keep the gradients of a ``replicated`` model in this process; a later pass averages them with its own."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()
