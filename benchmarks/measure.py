"""Tools of all benchmarks: alternating runs, medians, trainings, and a record of the machine."""

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


def alternating(
    contenders: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the median seconds of each contender; the first round is a warm-up.

    They run in turn, so that all meet the same machine. Each round has a new order, because each contender leaves the
    memory as it liked it to the next one.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    order, shuffle = list(contenders.items()), random.Random(0).shuffle
    for _ in range(1 + rounds):
        shuffle(order)
        for name, work in order:
            start = clock()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times[name].append(clock() - start)
    return {name: statistics.median(seconds[1:]) for name, seconds in times.items()}


def run_training(run: Path, config: str, *settings: str, alone: bool = True) -> None:
    """Train by ``segdla train``, or go on where the run was stopped; not ``alone``, it is silent and takes one core."""
    if (run / "scores.json").exists():
        return
    start = [config, *settings, "--runs", str(run.parent), "--name", run.name]
    resume = ["--resume", str(run)]
    subprocess.run(
        [sys.executable, "-m", "segdla", "train", *(resume if run.exists() else start)],
        env=os.environ if alone else {**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=None if alone else subprocess.DEVNULL,
        check=True,
    )


def machine(device: torch.device) -> dict[str, object]:
    """Return what to record about the machine."""
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
    """Write a result to results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path}")
