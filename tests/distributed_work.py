"""What processes of tests do: in a module of its own, because they have to find it by name."""

import json
import os
import resource
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import run_tool
from torch import nn

from segdla import distributed, prediction
from segdla.checkpoint import occupied, save_training
from segdla.data.dataset import SegmentationDataset
from segdla.data.images import read_image
from segdla.data.loader import TrainingKeys, WholeImages, training_batches
from segdla.data.scenes import Scenes
from segdla.engine.state import Plan, Training
from segdla.engine.step import gradients_of, take_step
from segdla.engine.stop import StopSignal, until_stopped
from segdla.errors import PeerError, UserError
from segdla.evaluation import evaluate
from segdla.inference.scores import classify
from segdla.losses import Objective, cross_entropy

CPU = torch.device("cpu")


class PartlyLabelled(Scenes):
    """Scenes of which each has more ignored rows than the one before: means over parts are not the mean."""

    def read(self, index):
        image, target = super().read(index)
        target = target.copy()
        target[: 4 * index] = 255
        return image, target


def images(count=7):
    return SegmentationDataset(PartlyLabelled("train", count, (32, 48)))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 9, 1))


class Floats(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.float() / 255)


def train_three_steps(folder, accumulate, class_weights=None):
    with distributed.process_group():
        _three_steps(folder, accumulate, class_weights)


def _three_steps(folder, accumulate, class_weights):
    """In a function of its own: with torch 2.11, a replica that outlives its process group may hang when it goes."""
    model = Floats(network())
    optimizer = torch.optim.SGD(model.named_parameters(), 0.1, momentum=0.9)
    training = Training(model, optimizer, lambda step: 1.0)
    plan = Plan(folder, CPU, num_steps=3, steps_per_epoch=3, accumulate=accumulate)
    keys = TrainingKeys(
        7, 4, 3, seed=0, accumulate=accumulate, rank=distributed.rank(), world_size=distributed.world_size()
    )
    learner = distributed.replicated(model, CPU)
    batches = training_batches(images(), keys, workers=0, pin=False)
    objective = Objective([(1, partial(cross_entropy, weights=class_weights))], class_weights)
    gradients = gradients_of(training, learner, objective, plan)
    losses = []
    for parts in zip(*[batches] * accumulate, strict=True):
        value, _ = take_step(training, gradients, parts, plan)
        losses.append(distributed.total(value) / distributed.world_size())
    torch.save((model.state_dict(), losses), folder / f"{distributed.rank()}.pt")


def count(folder):
    with distributed.process_group():
        model = network()

        def segment(batch):
            return classify(model(batch.float() / 255))

        shard = WholeImages(images(), 2, 0, False, distributed.rank(), distributed.world_size())
        confusion = evaluate(segment, shard, 9, CPU)
        torch.save(confusion.counts, folder / f"{distributed.world_size()}_{distributed.rank()}.pt")


def read_until_one_fails(folder):
    def items():
        for i in range(4):
            if i == 2 and distributed.rank() == 1:
                raise UserError("the third is broken")
            yield i

    seen = []
    with distributed.process_group():
        stop = StopSignal()
        for item in until_stopped(items(), stop):
            seen.append(item)
        (folder / f"{distributed.rank()}.json").write_text(json.dumps([seen, type(stop.error).__name__]))


def read_until_one_is_stopped(folder):
    seen = []
    with distributed.process_group(), StopSignal() as stop:
        for item in until_stopped(range(100), stop):
            seen.append(item)
            if item == 3 and distributed.rank() == 1:
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)  # torchrun passes it on as well
        assert stop.agreed()
    (folder / f"{distributed.rank()}{os.environ['RANK']}.json").write_text(json.dumps(seen))


def die():
    with distributed.process_group():
        if distributed.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        distributed.highest(0)


def choose():
    def refuse():
        raise UserError("no")

    with distributed.process_group():
        assert distributed.on_main(os.getpid) == distributed.gathered(os.getpid())[0]
        expected = UserError if distributed.is_main() else PeerError
        with pytest.raises(expected):
            distributed.on_main(refuse)


def save_with_little_room(folder):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    with pytest.raises(UserError, match=r"cannot write .*last\.pt: File too large; what was there before is untouched"):
        save_training(folder / "last.pt", {"x": torch.zeros(10**6)})


def find_occupied(run):
    with pytest.raises(UserError, match=r"mine is being trained by another process"), occupied(run):
        pass


def predict_as_one_of_several(folder, checkpoint):
    os.chdir(folder)

    def noted(path):
        with Path(f"read_by_{os.environ['RANK']}").open("a") as file:
            file.write(f"{path.name}\n")
        return read_image(path)

    prediction.read_image = noted  # this process is the test's own
    return run_tool("predict", "album", "--checkpoint", checkpoint, "--device", "cpu", "--output", "out")
