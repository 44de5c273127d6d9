"""A part of the store of a command's processes that is new to all of them.

torchrun keeps one store for as long as it runs. Processes that it starts again find in it what those before them wrote,
and would wait for connections to processes that have ended: https://github.com/pytorch/pytorch/issues/135712
"""

import time
from datetime import timedelta
from uuid import uuid4

import torch.distributed as dist

from segdla.errors import PeerError, UserError

_PAUSE = 0.01  # seconds


def fresh_store(store: dist.Store, rank: int, world_size: int, limit: timedelta) -> dist.Store:
    """Return a part of ``store`` that is these processes' alone; all of them call this together.

    The first process names it, and gives the name to all others. Each of them asks under a key that nobody had before,
    so none takes the name that an earlier first process gave; and the first waits until each has taken its own.

    Raises UserError if the first process or, in the first, another one has not begun within ``limit``; PeerError in the
    others.
    """
    if rank == 0:
        return _named(store, world_size, limit)
    asked = uuid4().hex
    store.set(f"process {rank}", asked)
    try:
        name = store.get(f"name for {asked}").decode()
        store.set(f"{name} {rank}", "")
        all_have_begun = store.get(f"{name} complete") == b"yes"
    except dist.DistError as error:  # the time is over, or the process that holds the store has ended
        raise UserError(
            f"process 0 of {world_size} has not begun within {limit.total_seconds():g} s; look for what kept it"
        ) from error
    if not all_have_begun:
        raise PeerError("another process is missing")
    return dist.PrefixStore(name, store)


def _named(store: dist.Store, world_size: int, limit: timedelta) -> dist.Store:
    name, until = uuid4().hex, time.monotonic() + limit.total_seconds()
    missing = list(range(1, world_size))
    while missing and time.monotonic() < until:
        for rank in missing:  # what is there may be of an earlier process, until the new one has begun
            if store.check([f"process {rank}"]):
                store.set(f"name for {store.get(f'process {rank}').decode()}", name)
        time.sleep(_PAUSE)
        missing = [rank for rank in missing if not store.check([f"{name} {rank}"])]
    store.set(f"{name} complete", "no" if missing else "yes")
    if missing:
        raise UserError(
            f"{len(missing)} of {world_size} processes have not begun within {limit.total_seconds():g} s (process "
            f"{', '.join(map(str, missing[:8]))}{', ...' if len(missing) > 8 else ''}); look for what kept them"
        )
    return dist.PrefixStore(name, store)
