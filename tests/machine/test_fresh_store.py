"""Processes that torchrun starts again find each other, though the store still holds what those before them wrote."""

from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from datetime import timedelta

import pytest
import torch.distributed as dist

from segdla.errors import PeerError, UserError
from segdla.machine.fresh_store import fresh_store

SIZE, LONG = 3, timedelta(seconds=60)


@pytest.fixture
def threads():
    with ThreadPoolExecutor(SIZE) as pool:
        yield pool


@pytest.fixture
def begin(threads):
    """Return a function that begins some processes in one store, and returns their future parts of it."""
    store = dist.HashStore()
    return lambda *ranks, limit=LONG: [threads.submit(fresh_store, store, rank, SIZE, limit) for rank in ranks]


def assert_together_and_apart(parts, earlier):
    parts[0].set("told by one", "1")
    assert all(part.check(["told by one"]) for part in parts)
    assert not any(part.check(["told by one"]) for part in earlier)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_processes_that_are_started_again_share_a_new_part(begin, order):
    earlier = [part.result() for part in begin(0, 1, 2)]
    parts = []
    for rank in order:
        assert not wait(parts, 0.1, FIRST_COMPLETED).done  # none takes an earlier one's answer
        parts += begin(rank)
    assert_together_and_apart([part.result() for part in parts], earlier)


def test_a_process_lost_before_all_had_begun_leaves_nothing_behind(begin):
    first, other = begin(0, 1, limit=timedelta(seconds=0.1))
    with pytest.raises(UserError, match=r"1 of 3 processes have not begun within 0.1 s \(process 2\); look for"):
        first.result()
    with pytest.raises(PeerError):
        other.result()
    assert_together_and_apart([part.result() for part in begin(1, 2, 0)], [])


def test_all_others_wait_for_the_first_as_long_as_is_said():
    store = dist.HashStore()
    store.set_timeout(timedelta(seconds=0.1))
    with pytest.raises(UserError, match=r"process 0 of 3 has not begun within 0.1 s; look for what kept it"):
        fresh_store(store, 1, SIZE, timedelta(seconds=0.1))
