"""Measure how much longer a training step takes with a teacher: python benchmarks/teacher.py [--size H W --batch N]

DLA-46-C at output stride 2 learns from labels alone, from the features of EfficientNet-Lite0 or Lite2 too, or from the
logits and features of a DLA-34 (`train.teacher`, with the weights of `train.distill`'s defaults). All networks have
random weights, which take as long. The contenders alternate in one process; times are medians, on a CPU of processor
time.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measure import alternating, machine, write

import segdla
from segdla.data.loader import Batch
from segdla.machine.device import choose_device
from segdla.machine.heap import keep_memory
from segdla.models.dlaseg import DLASeg
from segdla.models.fold import for_prediction
from segdla.training.losses import Objective, cross_entropy
from segdla.training.state import Plan, Training
from segdla.training.step import gradients_of, take_step
from segdla.training.teacher.student import Student, Teacher
from segdla.training.teacher.taught_objective import TaughtObjective

NUM_CLASSES = 11
ALONE = "labels alone"
TEACHERS = {
    "features of EfficientNet-Lite0": ("timm/tf_efficientnet_lite0", 0.0),
    "features of EfficientNet-Lite2": ("timm/tf_efficientnet_lite2", 0.0),
    "logits and features of DLA-34": ("dla34", 1.0),
}
TERMS = ((1.0, cross_entropy),)


def network(backbone: str) -> DLASeg:
    return segdla.create_model(backbone, NUM_CLASSES, output_stride=2)


def step(teacher: tuple[str, float] | None, batch: Batch, plan: Plan) -> Callable[[], object]:
    """Return a training step."""
    torch.manual_seed(0)
    model, objective = network("dla46_c"), Objective(TERMS)
    if teacher is not None:
        backbone, logits = teacher
        its_network = network(backbone).to(plan.device, memory_format=torch.channels_last).eval().requires_grad_(False)
        its_network = for_prediction(its_network, plan.device, plan.precision)
        model = Student(model, Teacher(its_network, logits, 0.5, 4.0, ""))
        objective = TaughtObjective(TERMS)
    model = model.to(plan.device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.named_parameters(), 0.001, fused=True)
    training = Training(model, optimizer, lambda step: 1.0)
    gradients = gradients_of(training, model, objective, plan)
    return lambda: take_step(training, gradients, (batch,), plan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="(default: 128 160, on CUDA 360 480)")
    parser.add_argument("--batch", type=int, help="images in a step (default: 4, on CUDA 16)")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each contender (default: 9)")
    args = parser.parse_args()
    device = choose_device("auto")
    on_cuda = device.type == "cuda"
    size, number = tuple(args.size or ((360, 480) if on_cuda else (128, 160))), args.batch or (16 if on_cuda else 4)
    keep_memory(device)
    images = torch.randint(0, 256, (number, 3, *size), dtype=torch.uint8, device=device)
    targets = torch.randint(0, NUM_CLASSES, (number, *size), dtype=torch.uint8, device=device)
    batch = Batch(images, targets, ("",) * number)
    plan = Plan(Path(), device, 10**6, 10**6, precision="bf16" if on_cuda else "fp32")
    steps = {ALONE: step(None, batch, plan)} | {name: step(teacher, batch, plan) for name, teacher in TEACHERS.items()}
    times = alternating(steps, args.rounds, time.perf_counter if on_cuda else time.process_time)
    rows = {}
    for name, seconds in times.items():
        rows[name] = {"time_over_alone": seconds / times[ALONE], "milliseconds": 1000 * seconds}
        print(f"{name:32} {seconds / times[ALONE]:5.2f} x  {1000 * seconds:6.0f} ms")
    result = {"batch": number, "size": size, **machine(device), "contenders": rows}
    write(f"teacher_{device.type}", result)


if __name__ == "__main__":
    main()
