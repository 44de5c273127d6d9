"""A few training steps and reads, timed: the pace of this machine for a draft's budget."""

import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from segdla.data.images import read_image, read_mask
from segdla.doctor.budget import Pace, network_for
from segdla.doctor.splits import FilePair
from segdla.errors import UserError
from segdla.machine.device import choose_device, choose_precision, device_name, in_precision
from segdla.machine.speed import wait_for
from segdla.machine.threads import processors
from segdla.models.from_config import create_model, memory_format

_SECONDS = 1.5  # of steps, and two steps at least: the first warms up
_PAIRS = 4
# Smaller ones are no measure of the crops that are proposed: their deepest maps are single pixels, and a GPU takes as
# long to launch their kernels as to compute.
_BATCH, _BATCH_ON_CUDA = (4, 128, 128), (8, 512, 512)  # images, height, width


def _read_pair(pair: FilePair) -> None:
    read_image(pair[0])
    read_mask(pair[1])


def measure_pace(pairs: Sequence[FilePair], num_classes: int, read: Callable[[FilePair], object] = _read_pair) -> Pace:
    """Time training steps of the network that a draft proposes here, in each precision it may train in, and ``read``.

    It takes a few seconds. The fastest of the steps counts: what else runs on the machine now says nothing of later.
    Raises UserError if the device has no memory left.
    """
    device = choose_device("auto")
    precisions = dict.fromkeys(choose_precision(name, device) for name in ("bf16", "fp32"))
    if device.type == "cuda":
        precisions = dict.fromkeys([choose_precision("bf16", device)])
    try:
        times = {precision: _step_seconds(device, precision, num_classes) for precision in precisions}
    except torch.OutOfMemoryError:
        raise UserError(
            f"{device} has no memory left for a training step; free it, or draft for the processor: "
            "CUDA_VISIBLE_DEVICES= segdla check ..."
        ) from None
    precision = min(times, key=lambda name: times[name])
    return Pace(
        device.type, device_name(device), precision, times[precision], _read_seconds(pairs, read) / processors()
    )


def _step_seconds(device: torch.device, precision: str, num_classes: int) -> float:
    """Return the seconds that a training step takes for each megapixel."""
    count, height, width = _BATCH_ON_CUDA if device.type == "cuda" else _BATCH
    backbone, stride = network_for(device.type)
    with torch.random.fork_rng(devices=[]):
        network: nn.Module = create_model(backbone, num_classes, output_stride=stride)
        network = network.to(device, memory_format=memory_format(True)).train()  # type: ignore[call-overload]
        images = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8).to(device)
        targets = torch.randint(0, num_classes, (count, height, width)).to(device)
    forward = in_precision(network, device, precision)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0, momentum=0.9)

    def step() -> None:
        F.cross_entropy(forward(images), targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    return _fastest(step, device) / (count * height * width / 1e6)


def _fastest(step: Callable[[], None], device: torch.device) -> float:
    """Return the seconds of the fastest of a few steps.

    On a CPU, no more than the processor time that one thread takes. Threads that wait for each other on a busy machine
    have been seen to take 20 times as long, and one thread's processor time hardly changes.
    """
    if device.type != "cpu":
        return _fastest_by(time.perf_counter, step, device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = _fastest_by(time.process_time, step, device)
    finally:
        torch.set_num_threads(threads)
    return min(alone, _fastest_by(time.perf_counter, step, device))


def _fastest_by(clock: Callable[[], float], step: Callable[[], None], device: torch.device) -> float:
    times: list[float] = []
    deadline = time.perf_counter() + _SECONDS
    while len(times) < 2 or time.perf_counter() < deadline:
        start = clock()
        step()
        wait_for(device)
        times.append(clock() - start)
    return min(times)


def _read_seconds(pairs: Sequence[FilePair], read: Callable[[FilePair], object]) -> float:
    """Return the mean time that one thread takes to read a pair."""
    some = pairs[:: max(1, len(pairs) // _PAIRS)][:_PAIRS]
    start = time.perf_counter()
    for pair in some:
        read(pair)
    return (time.perf_counter() - start) / len(some)
