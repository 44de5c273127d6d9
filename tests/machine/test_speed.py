import subprocess
import sys
import time

import torch

from segdla.machine.speed import measure


def test_calls_are_timed_one_by_one():
    calls = []

    def work():
        calls.append(0.03 if len(calls) == 7 else 0.001)
        time.sleep(calls[-1])

    speed = measure(work, torch.device("cpu"), seconds=0, fewest=9)
    assert len(calls) == 2 + 9  # two warm up
    assert 0.001 <= speed.median < 0.03 <= speed.p95
    assert speed.processor < speed.median  # who sleeps does not compute


def peak_in_a_fresh_process(work):
    """Memory that other tests left in this process may be freed at any moment."""
    code = f"import gc, torch; from segdla.machine.speed import measure; {work}"
    code += "; print(measure(work, torch.device('cpu'), seconds=0).peak)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def test_memory_is_what_a_call_takes_at_its_highest():
    assert 60e6 < peak_in_a_fresh_process("work = lambda: torch.ones(64 * 2**20, dtype=torch.uint8).max()") < 140e6


def test_garbage_that_goes_meanwhile_hides_no_memory():
    garbage = "gc.disable(); cycle = [torch.ones(128 * 2**20, dtype=torch.uint8)]; cycle.append(cycle); del cycle"
    work = "work = lambda: (gc.collect(), torch.ones(64 * 2**20, dtype=torch.uint8).max())"
    assert 60e6 < peak_in_a_fresh_process(f"{garbage}; {work}") < 140e6
