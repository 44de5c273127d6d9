"""How fast a function computes, and in how much memory."""

import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

_PROCESS = Path("/proc/self")


class Speed(NamedTuple):
    median: float  # seconds
    p95: float  # seconds: all but one call in twenty took less
    peak: float | None  # bytes beyond what was in use before; None where the system does not tell


def measure(work: Callable[[], object], device: torch.device, seconds: float = 10.0, fewest: int = 5) -> Speed:
    """Calls ``work`` for some seconds after two calls that warm up; waits for the device at each."""
    before = _start_peak(device)
    for _ in range(2):
        work()
    _wait(device)
    spent: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(spent) < fewest:
        started = time.perf_counter()
        work()
        _wait(device)
        spent.append(time.perf_counter() - started)
    peak = _peak(device)
    ordered = sorted(spent)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return Speed(statistics.median(spent), p95, None if peak is None else max(0.0, peak - before))


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _start_peak(device: torch.device) -> float:
    """Sets the peak back to what is in use now, which it returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    gc.collect()  # garbage that went meanwhile would hide as much of what is in use
    if (_PROCESS / "clear_refs").exists():
        (_PROCESS / "clear_refs").write_text("5", encoding="ascii")
    return _resident("VmRSS") or 0.0


def _peak(device: torch.device) -> float | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident("VmHWM")


def _resident(what: str) -> float | None:
    if not (_PROCESS / "status").exists():  # not Linux
        return None
    status = (_PROCESS / "status").read_text(encoding="ascii", errors="replace")
    return 1024.0 * int(status.split(f"{what}:")[1].split()[0])
