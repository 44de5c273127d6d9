"""Measure a training step of DLA-34 beside its peers: python benchmarks/training_step.py [--authors DIR]

Contenders are our training loop (on CUDA also with a step as one graph), a bare loop over our network,
segmentation-models-pytorch's FPN and U-Net over timm's dla34, and the authors' dla34up if DIR is a checkout of
github.com/ucbdrive/dla. Each has the precision and memory layout in which it is fastest. They alternate in one process;
the times are medians, written to results/training_step_DEVICE.json.
"""

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from measure import alternating, machine, write
from torch import Tensor, nn

import segdla
from segdla.data.labels import IGNORE_INDEX
from segdla.data.loader import Batch
from segdla.machine.device import choose_device
from segdla.machine.heap import keep_memory
from segdla.training.cuda_graph import Recorded
from segdla.training.log import RunLog
from segdla.training.loop import train_steps
from segdla.training.losses import Objective, cross_entropy
from segdla.training.state import Plan, Training
from segdla.training.step import gradients_of
from segdla.training.stop import StopSignal

NUM_CLASSES = 11
FORMS = [(precision, layout) for precision in ("fp32", "bf16") for layout in ("contiguous", "channels_last")]


def images_and_targets(device: torch.device, batch: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8, device=device)
    return images, torch.randint(0, NUM_CLASSES, (batch, *size), dtype=torch.uint8, device=device)


def ours(output_stride: int) -> nn.Module:
    return segdla.create_model("dla34", NUM_CLASSES, output_stride=output_stride)


class Normalised(nn.Module):
    """A peer that takes the same images as ours: bytes."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - 117.0) / 58.0)


def peer(kind: str) -> nn.Module:
    import segmentation_models_pytorch as smp

    return Normalised(getattr(smp, kind)("tu-dla34", encoder_weights=None, classes=NUM_CLASSES))


def theirs(authors: str) -> nn.Module:
    sys.path.insert(0, authors)
    import dla_up

    class FirstOutput(Normalised):  # the second one is for their own use; log-probabilities are logits too
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images)[0]

    return FirstOutput(dla_up.dla34up(NUM_CLASSES, pretrained_base=None))


def bare_loop(make: Callable[[], nn.Module], form: tuple[str, str], device, batch, size, steps) -> Callable[[], None]:
    """Return some steps of the loop that a tutorial would write."""
    precision, layout = form
    network = make().to(device, memory_format=getattr(torch, f"{layout}_format" if "cont" in layout else layout))
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=1e-4, fused=True)
    images, targets = images_and_targets(device, batch, size)

    def loop():
        network.train()
        for _ in range(steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                logits = network(images)
            F.cross_entropy(logits.float(), targets.long(), ignore_index=IGNORE_INDEX).backward()
            optimizer.step()
            optimizer.zero_grad()

    return loop


def our_loop(
    make: Callable[[], nn.Module], form: tuple[str, str], device, batch, size, steps, graph: bool = False
) -> Callable[[], None]:
    """Return some steps of our loop, with its reports, records and checks."""
    precision, layout = form
    network = make().to(device, memory_format=getattr(torch, f"{layout}_format" if "cont" in layout else layout))
    optimizer = torch.optim.SGD(network.named_parameters(), 0.01, momentum=0.9, weight_decay=1e-4, fused=True)
    training = Training(network, optimizer, lambda step: 1.0)
    folder = Path(tempfile.mkdtemp())
    log = RunLog(folder, 0, 0, 10**6)
    plan = Plan(folder, device, num_steps=10**6, steps_per_epoch=10**6, precision=precision)
    images, targets = images_and_targets(device, batch, size)
    parts = (Batch(images, targets, ("",) * batch),)
    gradients = gradients_of(training, network, Objective([(1, cross_entropy)]), plan)
    if graph:
        gradients = Recorded(gradients, network)
    return lambda: train_steps(training, gradients, [parts] * steps, log, plan, StopSignal())


def fastest_form(loop, device, batch, size) -> tuple[str, str]:
    """Return the precision and the memory layout in which a contender is fastest."""
    seconds = {form: alternating({"": loop(form, device, batch, size, 1)}, 2)[""] for form in FORMS}
    return min(seconds, key=seconds.get)


def peak_memory(loop, form, device, batch, size) -> float:
    """Return the MiB that a network and its steps take; on a CPU they are measured in a process of their own."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        loop(form, device, batch, size, 2)()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_resident, (loop, form, device, batch, size))


def _resident(loop, form, device, batch, size) -> float:
    before = _high_water()
    loop(form, device, batch, size, 2)()
    return (_high_water() - before) / 1024


def _high_water() -> int:
    """Return the KiB that this process ever had in memory; getrusage would count its parent process too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0])


def is_itself(name: str) -> bool:
    """Return whether a contender is not another form of ours."""
    return "bare loop" not in name and "graph" not in name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--authors", help="a checkout of github.com/ucbdrive/dla")
    parser.add_argument(
        "--size", type=int, nargs=2, metavar=("H", "W"), help="(default: 352 480 on a CPU, else 832 832)"
    )
    parser.add_argument("--batch", type=int, help="images in a batch (default: 2 on a CPU, else 16)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender (default: 7)")
    parser.add_argument("--steps", type=int, help="steps in a turn (default: 3 on a CPU, else 20)")
    form = "form of all contenders (default: each one's fastest)"
    parser.add_argument("--form", nargs=2, metavar=("PRECISION", "LAYOUT"), help=form)
    others = "contenders to leave out, other than ours and the bare loop"
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="NAME", help=others)
    args = parser.parse_args()
    device = choose_device("auto")
    on_cpu = device.type == "cpu"
    size = tuple(args.size or ((352, 480) if on_cpu else (832, 832)))
    batch = args.batch or (2 if on_cpu else 16)
    steps = args.steps or (3 if on_cpu else 20)
    torch.backends.cudnn.benchmark = True
    keep_memory(device)

    contenders = {
        "ours, stride 4": partial(our_loop, partial(ours, 4)),
        "bare loop, stride 4": partial(bare_loop, partial(ours, 4)),
        "smp FPN": partial(bare_loop, partial(peer, "FPN")),
        "smp U-Net": partial(bare_loop, partial(peer, "Unet")),
        "ours, stride 2": partial(our_loop, partial(ours, 2)),
        "bare loop, stride 2": partial(bare_loop, partial(ours, 2)),
    }
    if not on_cpu:
        contenders |= {f"ours, stride {s}, one graph": partial(our_loop, partial(ours, s), graph=True) for s in (4, 2)}
    if args.authors:
        contenders["authors, stride 2"] = partial(bare_loop, partial(theirs, args.authors))
    contenders = {name: loop for name, loop in contenders.items() if name not in args.leave_out}
    forms = {
        name: args.form or fastest_form(loop, device, batch, size)
        for name, loop in contenders.items()
        if is_itself(name)
    }
    forms |= {name: forms[f"ours, stride {2 if 'stride 2' in name else 4}"] for name in contenders.keys() - forms}
    memory = {name: peak_memory(loop, forms[name], device, batch, size) for name, loop in contenders.items()}
    loops = {name: loop(forms[name], device, batch, size, steps) for name, loop in contenders.items()}
    times = {name: seconds / steps for name, seconds in alternating(loops, args.rounds).items()}

    rows = {}
    for name, seconds in times.items():
        reference = times["ours, stride 2" if "stride 2" in name else "ours, stride 4"]
        rows[name] = {
            "time_over_ours": seconds / reference,
            "milliseconds": 1000 * seconds,
            "images_per_second": batch / seconds,
            "peak_mib": memory[name],
            "form": " ".join(forms[name]),
        }
        print(
            f"{name:25} {seconds / reference:5.2f} x ours  {1000 * seconds:7.0f} ms  {batch / seconds:6.1f} images/s  "
            f"{memory[name]:6.0f} MiB  {' '.join(forms[name])}"
        )
    overhead = {}
    for stride in (2, 4):  # a difference of a few percent takes more rounds, and no contenders in between
        pair = {name: loops[f"{name}, stride {stride}"] for name in ("ours", "bare loop")}
        seconds = alternating(pair, 3 * args.rounds)
        overhead[f"stride {stride}"] = seconds["ours"] / seconds["bare loop"]
        print(f"our loop / bare loop, stride {stride}: {overhead[f'stride {stride}']:.3f}")
    result = {"batch": batch, "size": size, **machine(device), "contenders": rows, "engine_over_bare_loop": overhead}
    write(f"training_step_{device.type}", result)


if __name__ == "__main__":
    main()
