"""Measures the learned up-convolution beside fixed bilinear interpolation: python benchmarks/upsampling.py

Alternates between the two in one process and reports medians, the ratio first. Writes results/upsampling.json.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch

from segdla import build, config
from segdla.losses import cross_entropy

RESULTS = Path(__file__).parent / "results"


def timed(work) -> float:
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="dla34")
    parser.add_argument("--output-stride", type=int, default=2)
    parser.add_argument("--size", type=int, nargs=2, default=(352, 480), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()

    device = build.device("auto")
    images = torch.randint(0, 256, (args.batch, 3, *args.size), dtype=torch.uint8, device=device)
    targets = torch.randint(0, 11, (args.batch, *args.size), device=device)
    networks = {}
    for upsample in ("learned", "bilinear"):
        settings = config.parse(
            {
                "data": {"dataset": "scenes"},
                "model": {"backbone": args.backbone, "output_stride": args.output_stride, "upsample": upsample},
            }
        )
        networks[upsample] = build.model(settings, 11).to(device, memory_format=torch.channels_last)

    def step(network):
        cross_entropy(network.train()(images), targets).backward()
        network.zero_grad()

    @torch.inference_mode()
    def forward(network):
        network.eval()(images)

    result = {
        "backbone": args.backbone,
        "output_stride": args.output_stride,
        "images": [args.batch, 3, *args.size],
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    for name, work in (("training step", step), ("forward", forward)):
        times = {upsample: [] for upsample in networks}
        for repeat in range(args.repeats + 1):
            for upsample, network in networks.items():
                spent = timed(lambda work=work, network=network: work(network))
                if repeat:  # the first is a warm-up
                    times[upsample].append(spent)
        medians = {upsample: statistics.median(spent) for upsample, spent in times.items()}
        ratio = medians["learned"] / medians["bilinear"]
        result[name] = {"ratio": ratio, **{f"{upsample}_ms": ms for upsample, ms in medians.items()}}
        print(
            f"{name:14} learned / bilinear = {ratio:.2f}   "
            f"({medians['learned']:.0f} ms and {medians['bilinear']:.0f} ms, medians of {args.repeats})"
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "upsampling.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
