"""Measure the learned up-convolution beside fixed bilinear interpolation: python benchmarks/upsampling.py

On CUDA cuDNN's transposed convolution is measured too, which the learned one replaces by kernels of its own. Contenders
alternate in one process; the times are medians, written to results/upsampling_DEVICE.json.
"""

import argparse
import copy
from collections.abc import Callable
from functools import partial

import torch
from measure import alternating, machine, write
from torch.profiler import ProfilerActivity, profile

import segdla
from segdla.machine.device import choose_device, in_precision
from segdla.models.upsample import LearnedUpsample
from segdla.training.losses import cross_entropy


def kernel_milliseconds(work: Callable[[], None], times: int = 3) -> float:
    """Return the time of all kernels; a clock might measure the host, which launches them."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(times):
            work()
        torch.cuda.synchronize()
    return sum(event.device_time_total for event in profiler.key_averages()) / 1000 / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="dla34", help="(default: dla34)")
    parser.add_argument("--output-stride", type=int, default=2, help="(default: 2)")
    parser.add_argument("--size", type=int, nargs=2, default=(352, 480), metavar=("H", "W"), help="(default: 352 480)")
    parser.add_argument("--batch", type=int, default=2, help="images in a batch (default: 2)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="(default: fp32)")
    parser.add_argument("--repeats", type=int, default=7, help="calls of each contender (default: 7)")
    args = parser.parse_args()

    device = choose_device("auto")
    images = torch.randint(0, 256, (args.batch, 3, *args.size), dtype=torch.uint8, device=device)
    targets = torch.randint(0, 11, (args.batch, *args.size), device=device)
    networks = {}
    for upsample in ("learned", "bilinear"):
        network = segdla.create_model(args.backbone, 11, output_stride=args.output_stride, upsample=upsample)
        networks[upsample] = network.to(device, memory_format=torch.channels_last)
    if device.type == "cuda":
        networks["cudnn"] = copy.deepcopy(networks["learned"])
        for module in networks["cudnn"].modules():
            if isinstance(module, LearnedUpsample):
                module.has_kernels = False

    def step(network):
        cross_entropy(in_precision(network.train(), device, args.precision)(images), targets).backward()
        network.zero_grad()

    @torch.inference_mode()
    def forward(network):
        in_precision(network.eval(), device, args.precision)(images)

    result = {
        "backbone": args.backbone,
        "output_stride": args.output_stride,
        "images": [args.batch, 3, *args.size],
        "precision": args.precision,
        **machine(device),
    }
    for name, work in (("training step", step), ("forward", forward)):
        ways = {upsample: partial(work, network) for upsample, network in networks.items()}
        times = {upsample: 1000 * seconds for upsample, seconds in alternating(ways, args.repeats).items()}
        result[name] = {f"{upsample}_ms": ms for upsample, ms in times.items()}
        for other in (upsample for upsample in times if upsample != "learned"):
            result[name][f"learned over {other}"] = ratio = times["learned"] / times[other]
            print(
                f"{name:14} learned / {other} = {ratio:.2f}   "
                f"({times['learned']:.0f} ms and {times[other]:.0f} ms, medians of {args.repeats})"
            )
    if device.type == "cuda":
        result["kernels of a training step, ms"] = {
            upsample: kernel_milliseconds(partial(step, network)) for upsample, network in networks.items()
        }
        print(result["kernels of a training step, ms"])
    write(f"upsampling_{device.type}", result)


if __name__ == "__main__":
    main()
