"""Measure what unlabelled images give beside few labelled ones: python benchmarks/unlabelled.py [--steps N]

Drawn scenes, of which one in eight has its labels; the others are a folder of images (`data.unlabelled`). Each way to
learn from them takes as many steps as the labelled eighth alone, and as all scenes with their labels. The last weights
(their moving average) are scored on other scenes. One core; the network is small, and seconds are processor time.
"""

import argparse
import statistics
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from measure import machine, write
from torch import nn

import segdla
from segdla.checkpoints.checkpoint import read_card
from segdla.data.image_writer import write_image
from segdla.data.labels import UNLABELLED
from segdla.data.scenes import Scenes
from segdla.machine.device import in_precision
from segdla.models.dlaseg import DLASeg
from segdla.models.ida import DLAUp
from segdla.models.layers import conv_bn_relu
from segdla.training.own import from_config
from segdla.training.pseudo_labels import PseudoLabelled, strong_views

EVERY = 8
SIZE = (64, 96)
ALL, FEW = "all labels", "an eighth"
SURE = "and the others, what the average is sure of"
SOFT = "and the others, the average's probabilities"
COLOURS = {"change": 0.5, "grey": 0.2}


class Small(nn.Module):
    """A backbone of three convolutions, at strides 2, 4 and 8: a core takes a step of it in hundredths of a second."""

    strides, channels = (2, 4, 8), (24, 48, 96)

    def __init__(self):
        super().__init__()
        pairs = zip((3, *self.channels), self.channels, strict=False)
        self.levels = nn.ModuleList(nn.Sequential(*conv_bn_relu(i, o, 3, stride=2)) for i, o in pairs)

    def forward(self, images):
        maps = []
        for level in self.levels:
            images = level(images)
            maps.append(images)
        return maps


def small(seed: int) -> DLASeg:
    """Return that backbone under IDA-up, at output stride 4."""
    torch.manual_seed(seed)
    backbone = Small()
    decoder = DLAUp(backbone.channels[1:], backbone.strides[1:])
    return DLASeg(backbone, decoder, len(Scenes.classes), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Consistency(PseudoLabelled):
    """The other way: the strong view is to have the probabilities that the average gives to the weak one."""

    def prepared(self, images, targets):
        return images, targets

    def over(self, learner, plan):
        forward = in_precision(learner, plan.device, plan.precision)

        def loss_of(images, targets, share):
            unlabelled = (targets == UNLABELLED).flatten(1).any(1)[:, None, None]
            with torch.no_grad():
                own = torch.arange(len(images))[:, None, None].expand_as(targets)
                views, owner = strong_views(images, own, unlabelled, self.change, self.grey)
                probabilities = self.answer(images).softmax(1)
                is_own = (owner == own)[:, None]
                probabilities = torch.where(is_own, probabilities, probabilities.roll(1, 0))
            logits = forward(views)
            lacking = F.cross_entropy(logits, probabilities, reduction="none")  # and a constant
            labels = targets.where(targets != UNLABELLED, self.ignore_index)
            return self(logits, labels) * share + (lacking * unlabelled).mean()

        return loss_of


WAYS = {
    SURE: {},
    f"{SURE}; other colours": COLOURS,
    SOFT: {"objective": Consistency},
    f"{SOFT}; other colours": {"objective": Consistency, **COLOURS},
}


@contextmanager
def taking(objective=PseudoLabelled, change=0.0, grey=0.0):
    """Let runs learn from unlabelled images by another objective, and on views whose colours change so much."""
    from_config.PseudoLabelled = partial(objective, change=change, grey=grey)
    try:
        yield
    finally:
        from_config.PseudoLabelled = PseudoLabelled


def config(args: argparse.Namespace, seed: int, scenes: int, **data: object) -> segdla.Config:
    augment = {"scale": [1, 1], "jitter": 0}
    data = {"dataset": "scenes", "size": SIZE, "crop": [48, 64], "train": scenes, "val": 20, "augment": augment, **data}
    train = {"steps": args.steps, "batch_size": 8, "optimizer": "adamw", "lr": 0.01, "betas": [0.9, 0.95]}
    train |= {"weight_decay": 0.01, "schedule": "cosine", "warmup_steps": args.steps // 10, "ema": 0.98, "seed": seed}
    every = {"eval_every": 10**6, "device": "cpu", "logger": []}
    values = {"data": {**data, "workers": 0}, "train": train | every, "loss": {"dice": 1}}
    return segdla.Config.model_validate(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=96, help="scenes to train on (default: 96)")
    parser.add_argument("--steps", type=int, default=1200, help="of each training (default: 1200)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    parser.add_argument("--confidence", type=float, default=0.9, help="as in data.confidence (default: 0.9)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    few, scenes = args.scenes // EVERY, Scenes("train", args.scenes, SIZE)
    rows: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        rest = Path(folder) / "rest"
        for index in range(few, args.scenes):
            write_image(rest / f"{index}.png", scenes.read(index)[0])

        def run(name: str, seed: int, asked: segdla.Config) -> None:
            start = time.process_time()
            trained = segdla.train(
                asked, name=f"{name}, seed {seed}".replace("'", ""), runs=folder, model=small(seed)
            ).folder
            seconds, scores = time.process_time() - start, read_card(trained / "best.safetensors").scores
            rows.setdefault(name, []).append({"seed": seed, "mean_iou": scores.mean_iou, "seconds": seconds})
            print(f"{name}, seed {seed}: mIoU {100 * scores.mean_iou:.1f}, {seconds:.0f} s", flush=True)

        for seed in args.seeds:
            run(ALL, seed, config(args, seed, args.scenes))
            run(FEW, seed, config(args, seed, few))
            asked = config(args, seed, few, unlabelled=str(rest), confidence=args.confidence)
            for name, ways in WAYS.items():
                with taking(**ways):
                    run(name, seed, asked)
    mean = {name: statistics.mean(result["mean_iou"] for result in results) for name, results in rows.items()}
    print("| training | mIoU | of all labels |\n|---|---|---|")
    for name, iou in mean.items():
        print(f"| {name} | {100 * iou:.1f} | {100 * iou / mean[ALL]:.0f} % |")
    facts = {"scenes": args.scenes, "labelled": few, "steps": args.steps, "trainings": rows}
    write("unlabelled", {**machine(torch.device("cpu")), **facts})


if __name__ == "__main__":
    main()
