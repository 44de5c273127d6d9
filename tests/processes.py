"""Real processes for tests; they start fast, because they are forked from one that has imported everything."""

import multiprocessing
import os
import socket
import sys

import torch

from segdla.commands import arguments

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "segdla.training.run",
        "segdla.commands.train",
        "segdla.data.transforms",
        "support",
        "torch._dynamo",
        "torch.utils.tensorboard",
        "matplotlib.backends.backend_agg",
    ]
)


def start(work, *args, rank=0, world_size=1, port=None):
    """Start ``work(*args)`` in a process of its own, one of ``world_size``; return the process."""
    process = CONTEXT.Process(target=_run, args=(work, args, rank, world_size, port))
    process.start()
    # Else any thread that starts another process asks how this one has ended, and only the first to ask is told.
    multiprocessing.process._children.discard(process)
    return process


def run_together(work, *args, world_size=2, timeout=60):
    """Run ``work(*args)`` in each of several processes that know of each other; return their exit statuses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [start(work, *args, rank=rank, world_size=world_size, port=port) for rank in range(world_size)]
    for process in processes:
        process.join(timeout)
    hanging = [process.is_alive() for process in processes]
    for process in processes:
        process.kill()
    assert not any(hanging), f"processes that hang: {hanging}"
    return [process.exitcode for process in processes]


def _run(work, args, rank, world_size, port):
    torch.set_num_threads(1)
    arguments._PATIENCE = 0  # nobody is there to end the others while they wait
    if world_size > 1:
        os.environ.update(
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(world_size),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
        )
    sys.exit(work(*args))
