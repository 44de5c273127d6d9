"""What the measurements share: alternating runs, medians, and a record of the machine."""

import ctypes
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


def alternating(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each; the first round is a warm-up.

    Run in turn, so that all see the same machine, and in a new order each round: who follows whom matters too, because
    memory is left as the one before liked it.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    order, shuffle = list(contenders.items()), random.Random(0).shuffle
    for _ in range(1 + rounds):
        shuffle(order)
        for name, work in order:
            started = time.perf_counter()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(spent[1:]) for name, spent in times.items()}


def keep_memory() -> None:
    """Let glibc keep freed memory: given back, each contender would pay for what the one before it left."""
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_threshold = -1, -3
        for parameter in (trim_threshold, mmap_threshold):
            ctypes.CDLL(None).mallopt(parameter, 2**31 - 1)


def run_training(run: Path, config: str, *settings: str, alone: bool = True) -> None:
    """A training by the training tool, to its end; goes on where it was stopped. Not ``alone``: on one core, silent."""
    if (run / "scores.json").exists():
        return
    start = [config, *settings, "--runs", str(run.parent), "--name", run.name]
    go_on = ["--resume", str(run)]
    subprocess.run(
        [sys.executable, "tools/train.py", *(go_on if run.exists() else start)],
        env=os.environ if alone else {**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=None if alone else subprocess.DEVNULL,
        check=True,
    )


def machine(device: torch.device) -> dict[str, object]:
    on_cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_cuda else f"{platform.machine()} CPU",
        "capability": str(torch.cuda.get_device_capability(device))
        if on_cuda
        else torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def write(name: str, result: dict) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path}")
