"""Trainings of seconds or less, and the equality of two runs."""

import json
import os
import signal
from dataclasses import dataclass

import torch
from support import photo
from torch import nn

from segdla.checkpoints.checkpoint import Card, read_checkpoint, write_checkpoint
from segdla.config import parse
from segdla.data.labels import IGNORE_INDEX
from segdla.data.loader import Batch
from segdla.data.source import Classes
from segdla.evaluation.set_counts import counts_of
from segdla.inference.score_maps import classify
from segdla.models.dlaseg import DLASeg
from segdla.models.from_config import build_network
from segdla.models.ida import DLAUp
from segdla.models.skips import GlobalPool
from segdla.training import loop
from segdla.training.log import RunLog
from segdla.training.losses import Objective, cross_entropy
from segdla.training.state import Plan, Training
from segdla.training.step import gradients_of
from segdla.visualize import sample_grid

TINY = (
    "data: {dataset: scenes, size: [32, 48], crop: [32, 32], train: 6, val: 2, workers: 0}\n"
    "model: {backbone: dla46_c, output_stride: 8}\n"
    "train: {epochs: 6, batch_size: 4, accumulate: 2, optimizer: adamw, lr: 0.001, ema: 0.9, clip_norm: 1,\n"
    "        warmup_steps: 4, eval_every: 3, report_every: 1, device: cpu}\n"
)
"""Twelve steps, two an epoch of a step and a half, and two evaluations."""
CLASSES = Classes(("a", "b"), ((0, 0, 0), (255, 255, 255)))
CPU = torch.device("cpu")


class Pyramid(nn.Module):
    """A backbone of three convolutions, at strides 2, 4 and 8, that draws random numbers."""

    strides = (2, 4, 8)

    def __init__(self, channels):
        super().__init__()
        self.channels = channels
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.ReLU(), nn.Dropout2d(0.1))
            for i, o in zip((3, *channels), channels, strict=False)
        )

    def forward(self, images):
        maps = []
        for level in self.levels:
            images = level(images)
            maps.append(images)
        return maps


def small_network(num_classes, channels=(8, 16, 24)):
    """A segmentation network with a hundredth of the parameters and a quarter of the modules of the smallest DLA."""
    backbone = Pyramid(channels)
    decoder = DLAUp(backbone.channels, backbone.strides)
    return DLASeg(backbone, decoder, num_classes, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


class PooledPyramid(Pyramid):
    """The same for whole images, whose logits are not upsampled."""

    strides = (1, 4, 8)


def pooled_network(num_classes, channels=(8, 16, 24)):
    """A small network that labels whole images."""
    return DLASeg(PooledPyramid(channels), GlobalPool(channels[-1]), num_classes, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def use_small_networks(patch):
    """Let runs and checkpoints have a small network whatever their config says; ``patch`` is a MonkeyPatch."""

    def build(model, num_classes):
        return (pooled_network if model.decoder == "pool" else small_network)(num_classes)

    for room in ("training.own", "checkpoints"):
        patch.setattr(f"segdla.{room}.from_config.build_network", build)


def with_logits_around_0(run):
    """Give a run of head sigmoid an untrained network, each of whose logits is now above and now below 0."""
    checkpoint = read_checkpoint(run / "best.safetensors")
    number = len(checkpoint.state_dict["classifier.bias"])
    network = build_network(parse(checkpoint.card.config).model, number).eval()
    with torch.inference_mode():
        logits = network.logits(torch.from_numpy(photo(40, 56)).permute(2, 0, 1)[None]).flatten(2)[0]  # (N,hw)
    with torch.no_grad():
        network.classifier.weight /= logits.std(1)[:, None, None, None]
        network.classifier.bias.copy_((network.classifier.bias - logits.median(1).values) / logits.std(1))
    write_checkpoint(checkpoint.path, network.state_dict(), checkpoint.card)
    return run


def records(run):
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    timeless = {"step", "epoch", "loss", "lr", "mean_iou", "iou", "top1", "top5"}
    return [{key: value for key, value in json.loads(line).items() if key in timeless} for line in lines]


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    else:
        assert one == other


def assert_same_run(one, other):
    assert_same(*(torch.load(run / "last.pt", weights_only=True) for run in (one, other)))
    assert_same(*(read_checkpoint(run / "best.safetensors").state_dict for run in (one, other)))
    assert records(one) == records(other)


def batches(count, first=0):
    """Two images of 8x8 pixels a batch, whose red ones are of the second class."""
    for i in range(first, count):
        random = torch.Generator().manual_seed(i)
        images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=random)
        yield Batch(images, (images[:, 0] > 127).to(torch.uint8), (f"{i}a", f"{i}b"))


class Scaled(nn.Module):
    def forward(self, images):
        return images.float() / 255


def tiny_training(lr=1e-3, **more):
    """A network that draws random numbers (dropout), with its optimizer, for 8 steps."""
    torch.manual_seed(0)
    model = nn.Sequential(
        Scaled(), nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(4, 2, 1)
    )
    optimizer = torch.optim.SGD(model.named_parameters(), lr, momentum=0.9)
    return Training(model, optimizer, lambda step: 1 - step / 8, **more)


@dataclass
class Images:
    """Whole images to validate on."""

    batches: list[Batch]

    @property
    def num_images(self):
        return 2 * len(self.batches)

    def __iter__(self):
        return iter(self.batches)


def train_tiny(folder, training, num_steps=8, source=None, loss=cross_entropy, **changes):
    """Run the loop for ``num_steps`` steps, three an epoch; return whether it came to its end."""
    plan = {"num_steps": num_steps, "steps_per_epoch": 3, "report_every": 2, **changes}
    plan = Plan(folder, CPU, **plan)
    validation = loop.Validation(
        Images(list(batches(2))),
        lambda images: classify(training.candidate(images)),
        Card({}, CLASSES),
        lambda: counts_of(CLASSES),
        lambda samples: sample_grid(samples, CLASSES.names, CLASSES.palette, IGNORE_INDEX),
    )
    with RunLog(folder, training.step, training.evaluated, num_steps) as log:
        stopped_by = loop.train(
            training,
            gradients_of(training, training.model, Objective([(1, loss)]), plan),
            source or batches(num_steps, first=training.step),
            validation,
            log,
            plan,
        )
    return stopped_by is None


def failing(*steps, value=float("nan")):
    """Cross-entropy, but for the given steps."""
    calls = iter(range(1, 100))
    return lambda logits, targets: cross_entropy(logits, targets) * (value if next(calls) in steps else 1)


def stop_at_step(number, monkeypatch):
    """Let SIGTERM come before the step of that number; return the list that the steps taken are added to."""
    steps, take_step = [], loop.take_step

    def stopped_step(*args):
        steps.append(args)
        if len(steps) == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return take_step(*args)

    monkeypatch.setattr(loop, "take_step", stopped_step)
    return steps
