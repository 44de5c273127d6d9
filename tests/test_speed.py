import time

import torch

from segdla.speed import measure


def test_calls_are_timed_one_by_one():
    calls = []

    def work():
        calls.append(0.03 if len(calls) == 7 else 0.001)
        time.sleep(calls[-1])

    speed = measure(work, torch.device("cpu"), seconds=0, fewest=9)
    assert len(calls) == 2 + 9  # two warm up
    assert 0.001 <= speed.median < 0.03 <= speed.p95


def test_memory_is_what_a_call_takes_at_its_highest():
    speed = measure(lambda: torch.ones(64 * 2**20, dtype=torch.uint8).max(), torch.device("cpu"), seconds=0)
    assert 60e6 < speed.peak < 140e6
