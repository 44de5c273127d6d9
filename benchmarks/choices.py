"""Measure what each choice of ours is worth on this processor: python benchmarks/choices.py

The logits of one image: contiguous or channels-last, with batch normalisation folded or not, by Winograd's algorithm,
in bf16 where the processor has it. Then a training step in both memory layouts; and, of networks with convolutions of
groups, in bf16 with those in float32 or not. In one thread, by its processor time, in turn; the times are medians. They
are added to results/choices.json under the processor's instruction set, with or without AMX. Another one is measured by
ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from unittest import mock

import torch
import torch.nn.functional as F
from measure import RESULTS, alternating, write
from torch import nn

import segdla
from segdla.machine.device import in_precision
from segdla.machine.heap import keep_memory
from segdla.machine.speed import conditions
from segdla.models.dlaseg import DLASeg
from segdla.models.fold import folded
from segdla.models.layers import GroupedConv
from segdla.models.winograd import winograd

CPU = torch.device("cpu")
PREDICTIONS = (("dla34", 2, (352, 480)), ("dla46_c", 4, (360, 480)))
STEPS = (("dla46_c", 2), ("dla46_c", 4))
GROUPED = (("timm/tf_efficientnet_lite0", 4), ("dla46x_c", 4))
SIZE = (96, 128)  # of a step's four images, as in the quickstart


def has_bf16() -> bool:
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.cpu._is_avx512_bf16_supported()


def last(network: DLASeg) -> DLASeg:
    return copy.deepcopy(network).to(memory_format=torch.channels_last)


def predictions(name: str, stride: int, size: tuple[int, int]) -> dict[str, Callable[[], object]]:
    """Return the ways to the logits of one image, by name."""
    network = segdla.create_model(name, 11, output_stride=stride).eval()
    image = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    fast = folded(last(network))
    ways = {
        "contiguous": network.logits,
        "channels-last": last(network).logits,
        "contiguous, folded": folded(copy.deepcopy(network)).logits,
        "channels-last, folded": fast.logits,
        "channels-last, folded, Winograd": winograd(last(fast)).logits,
    }
    if has_bf16():
        ways["channels-last, folded, bf16"] = in_precision(fast.logits, CPU, "bf16")
    return {way: lambda logits_of=logits_of: logits_of(image) for way, logits_of in ways.items()}


def steps(name: str, stride: int) -> dict[str, Callable[[], object]]:
    """Return a training step in both memory layouts."""
    network = segdla.create_model(name, 9, output_stride=stride).train()
    return {"contiguous": step(network, "fp32"), "channels-last": step(last(network), "fp32")}


def grouped(name: str, stride: int) -> dict[str, Callable[[], object]]:
    """Return a training step in float32, in bf16, and in bf16 throughout."""
    network = last(segdla.create_model(name, 9, output_stride=stride).train())
    in_bf16 = step(network, "bf16")

    def throughout() -> None:
        with mock.patch.object(GroupedConv, "forward", nn.Conv2d.forward):
            in_bf16()

    return {"fp32": step(network, "fp32"), "bf16, groups in fp32": in_bf16, "bf16": throughout}


def step(network: DLASeg, precision: str) -> Callable[[], None]:
    images = torch.randint(0, 256, (4, 3, *SIZE), dtype=torch.uint8)
    targets = torch.randint(0, 9, (4, *SIZE))
    forward = in_precision(network, CPU, precision)

    def take() -> None:
        network.zero_grad()
        F.cross_entropy(forward(images), targets).backward()

    return take


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="calls of each way (default: 5)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory(CPU)
    here = conditions()
    rows = {}
    with torch.inference_mode():
        for name, stride, size in PREDICTIONS:
            ways = predictions(name, stride, size)
            rows[f"{name}, stride {stride}, logits"] = alternating(ways, args.rounds, time.process_time)
    for name, stride in STEPS:
        rows[f"{name}, stride {stride}, step"] = alternating(steps(name, stride), args.rounds, time.process_time)
    for name, stride in GROUPED if has_bf16() else ():
        rows[f"{name}, stride {stride}, step"] = alternating(grouped(name, stride), args.rounds, time.process_time)
    for row, times in rows.items():
        print(f"{row}: " + ", ".join(f"{way} {1000 * seconds:.0f} ms" for way, seconds in times.items()))
    record = RESULTS / "choices.json"
    kind = str(here["capability"])
    if kind == "AVX512":
        kind += ", AMX" if torch.cpu._is_amx_tile_supported() else ", no AMX"
    before = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    write(record.stem, {**before, kind: {"machine": here, "seconds": rows}})


if __name__ == "__main__":
    main()
