"""Measure what each choice of ours is worth on this processor: python benchmarks/choices.py

The logits of one image: contiguous or channels-last, with batch normalisation folded or not, by Winograd's algorithm,
in bf16 where the processor has it. Then a training step in both memory layouts. In one thread, by its processor time,
in turn; the times are medians. They are added to results/choices.json under the processor's instruction set. Another
one is measured by ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from measure import RESULTS, alternating, write

import segdla
from segdla.machine.device import choose_precision, in_precision
from segdla.machine.heap import keep_memory
from segdla.machine.speed import conditions
from segdla.models.dlaseg import DLASeg
from segdla.models.fold import folded
from segdla.models.winograd import winograd

CPU = torch.device("cpu")
PREDICTIONS = (("dla34", 2, (352, 480)), ("dla46_c", 4, (360, 480)))
STEPS = (("dla46_c", 2), ("dla46_c", 4))  # four images of 96x128, as in the quickstart


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
    if choose_precision("bf16", CPU) == "bf16":
        ways["channels-last, folded, bf16"] = in_precision(fast.logits, CPU, "bf16")
    return {way: lambda logits_of=logits_of: logits_of(image) for way, logits_of in ways.items()}


def steps(name: str, stride: int) -> dict[str, Callable[[], object]]:
    """Return a training step in both memory layouts."""
    images = torch.randint(0, 256, (4, 3, 96, 128), dtype=torch.uint8)
    targets = torch.randint(0, 9, (4, 96, 128))

    def step(network: DLASeg) -> None:
        network.zero_grad()
        F.cross_entropy(network(images), targets).backward()

    network = segdla.create_model(name, 9, output_stride=stride).train()
    layouts = {"contiguous": network, "channels-last": last(network)}
    return {layout: lambda network=network: step(network) for layout, network in layouts.items()}


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
    for row, times in rows.items():
        print(f"{row}: " + ", ".join(f"{way} {1000 * seconds:.0f} ms" for way, seconds in times.items()))
    record = RESULTS / "choices.json"
    before = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    write(record.stem, {**before, str(here["capability"]): {"machine": here, "seconds": rows}})


if __name__ == "__main__":
    main()
