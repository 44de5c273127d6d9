"""Time and memory of a function."""

import gc
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from segdla.machine.processor import processor_name
from segdla.version import __version__

_PROCESS = Path("/proc/self")


class Speed(NamedTuple):
    """Time and memory of a call."""

    median: float  # seconds
    p95: float  # seconds: all but one call in twenty took less
    processor: float  # seconds that this process's threads computed, which other work on the machine hardly changes
    peak: float | None  # bytes beyond those in use before; None if the system does not say


def measure(work: Callable[[], object], device: torch.device, seconds: float = 10.0, fewest: int = 5) -> Speed:
    """Call ``work`` for some seconds, and ``fewest`` times at least, after two calls that warm up.

    Each call is timed until the device is done.
    """
    before = _reset_peak(device)
    for _ in range(2):
        work()
    wait_for(device)
    times: list[float] = []
    busy: list[float] = []
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or len(times) < fewest:
        start, start_busy = time.perf_counter(), time.process_time()
        work()
        wait_for(device)
        times.append(time.perf_counter() - start)
        busy.append(time.process_time() - start_busy)
    peak = _peak(device)
    ordered = sorted(times)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    beyond = None if peak is None else max(0.0, peak - before)
    return Speed(statistics.median(times), p95, statistics.median(busy), beyond)


def conditions() -> dict[str, object]:
    """Return what figures depend on, for JSON: the processor, its instruction set, threads, versions, and other work.

    ``load`` is the mean number of processes that computed or waited in the last minute; None if the system doesn't say.
    """
    return {
        "processor": processor_name(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
        "segdla": __version__,
    }


def peak_memory(work: Callable[[], object], device: torch.device) -> float | None:
    """Return the bytes that a call takes beyond those in use before; None if the system does not say."""
    before = _reset_peak(device)
    work()
    wait_for(device)
    peak = _peak(device)
    return None if peak is None else max(0.0, peak - before)


def wait_for(device: torch.device) -> None:
    """Wait until the device has done all that was asked of it."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _reset_peak(device: torch.device) -> float:
    """Set the peak back to the memory in use now, and return that."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    gc.collect()  # garbage collected in between would hide as much of the memory in use
    if (_PROCESS / "clear_refs").exists():
        (_PROCESS / "clear_refs").write_text("5", encoding="ascii")
    return _resident("VmRSS") or 0.0


def _peak(device: torch.device) -> float | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident("VmHWM")


def _resident(key: str) -> float | None:
    if not (_PROCESS / "status").exists():  # not Linux
        return None
    status = (_PROCESS / "status").read_text(encoding="ascii", errors="replace")
    return 1024.0 * int(status.split(f"{key}:")[1].split()[0])
