"""Work for processes of tests, in a module of its own because they have to find it by name."""

import json
import os
import resource
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from support import run_tool
from tiny_run import small_network, tiny_training, train_tiny, use_small_networks
from torch import nn

from segdla.data.images import read_image
from segdla.data.loader import TrainingKeys, WholeImages, training_batches
from segdla.data.samples import SegmentationDataset
from segdla.data.scenes import Scenes
from segdla.errors import PeerError, UserError
from segdla.evaluation.confusion import ConfusionMatrix
from segdla.evaluation.count import count_batches
from segdla.evaluation.evaluator import Prediction
from segdla.evaluation.top_scores import TopCounts
from segdla.inference.score_maps import classify
from segdla.machine import distributed
from segdla.machine.files import owned, write_whole
from segdla.media import run
from segdla.training import log, loop
from segdla.training.budget import batch_fit, rehearsal
from segdla.training.losses import Objective, cross_entropy
from segdla.training.run_folder import occupied
from segdla.training.state import Plan, Training, read_state, restore
from segdla.training.step import gradients_of, take_step
from segdla.training.stop import StopSignal, until_stopped
from segdla.training.teacher.student import Student, Teacher
from segdla.training.teacher.taught_objective import TaughtObjective

CPU = torch.device("cpu")


class PartlyLabelled(Scenes):
    """Scenes, each with more ignored rows than the one before: the mean over parts is not the mean over all."""

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


def train_three_steps(folder, accumulate, class_weights=None, taught=False):
    with distributed.process_group():
        _three_steps(folder, accumulate, class_weights, taught)


def student():
    """A student of a teacher's logits, whose statistics stay as they are."""
    torch.manual_seed(0)
    return Student(small_network(9), Teacher(small_network(9).eval(), 1.0, 0.0, 2.0, "")).eval()


def _three_steps(folder, accumulate, class_weights, taught):
    """A function of its own: with torch 2.11, a replica that outlives its process group may hang when it is freed."""
    model = student() if taught else Floats(network())
    optimizer = torch.optim.SGD(model.named_parameters(), 0.1, momentum=0.9)
    training = Training(model, optimizer, lambda step: 1.0)
    plan = Plan(folder, CPU, num_steps=3, steps_per_epoch=3, accumulate=accumulate)
    keys = TrainingKeys(
        7, 4, 3, seed=0, accumulate=accumulate, rank=distributed.rank(), world_size=distributed.world_size()
    )
    learner = distributed.replicated(model, CPU)
    batches = training_batches(images(), keys, workers=0, pin=False)
    kind = TaughtObjective if taught else Objective
    objective = kind([(1, partial(cross_entropy, weights=class_weights))], class_weights)
    gradients = gradients_of(training, learner, objective, plan)
    losses = []
    for parts in zip(*[batches] * accumulate, strict=True):
        value, _ = take_step(training, gradients, parts, plan)
        losses.append(distributed.total(value) / distributed.world_size())
    torch.save((model.state_dict(), losses), folder / f"{distributed.rank()}.pt")


def count(folder):
    with distributed.process_group():
        model = network()

        def predict(batch):
            return Prediction(classify(model(batch.float() / 255)))

        shard = WholeImages(images(), 2, 0, False, distributed.rank(), distributed.world_size())
        confusion = ConfusionMatrix(9)
        count_batches(predict, shard, [confusion], CPU)
        torch.save(confusion.counts, folder / f"{distributed.world_size()}_{distributed.rank()}.pt")


def top_of(rank, world_size):
    """The counts of seven drawn images of two classes, as far as they are a process's."""
    source = Scenes("train", 7, (32, 48))
    counts = TopCounts()
    for index in range(rank, len(source), world_size):
        image, _ = source.read(index)
        target = torch.full((1, 1, 1), index % 2, dtype=torch.int16)
        best = torch.tensor([int(image.sum()) % 2, 0])[None, :, None, None]
        counts.update(torch.empty(0), target, Prediction(best))
    counts.reduce()
    return counts


def count_top(folder):
    with distributed.process_group():
        counts = top_of(distributed.rank(), distributed.world_size())
        torch.save(counts.result(), folder / f"{distributed.rank()}.pt")


def read_until_one_fails(folder):
    def items():
        for i in range(4):
            if i == 2 and distributed.rank() == 1:
                raise UserError("the third is broken")
            yield i

    items_read = []
    with distributed.process_group():
        stop = StopSignal()
        for item in until_stopped(items(), stop):
            items_read.append(item)
        (folder / f"{distributed.rank()}.json").write_text(json.dumps([items_read, type(stop.error).__name__]))


def read_until_one_is_stopped(folder):
    items_read = []
    with distributed.process_group(), StopSignal() as stop:
        for item in until_stopped(range(100), stop):
            items_read.append(item)
            if item == 3 and distributed.rank() == 1:
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)  # torchrun passes it on as well
        assert stop.agreed()
    (folder / f"{distributed.rank()}{os.environ['RANK']}.json").write_text(json.dumps(items_read))


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
        write_whole(folder / "last.pt", lambda file: torch.save({"x": torch.zeros(10**6)}, file), durable=True)


def own(path):
    with owned(path) as is_ours:
        return int(is_ours)


def find_occupied(run):
    with pytest.raises(UserError, match=r"mine is being trained by another process"), occupied(run):
        pass


def predict_as_one_of_several(folder, checkpoint):
    os.chdir(folder)

    def noting_its_name(path, sample_range):
        with Path(f"read_by_{os.environ['RANK']}").open("a") as file:
            file.write(f"{path.name}\n")
        return read_image(path, sample_range)

    run.read_image = noting_its_name  # this process is the test's own
    words = ("--checkpoint", checkpoint, "--device", "cpu", "--output", "out", "--output-kind", "color,coco")
    return run_tool("predict", "album", *words)


def train_until_patience_ends(folder):
    """Train an epoch, and resume with a patience of 1; each process has a folder, as on machines of their own."""
    scores_of, mine = ConfusionMatrix.scores, folder / os.environ["RANK"]
    scores = iter((0.5, 0.4, 0.3))
    with pytest.MonkeyPatch.context() as patch, distributed.process_group():
        patch.setattr(
            ConfusionMatrix, "scores", lambda *args, **more: replace(scores_of(*args, **more), mean_iou=next(scores))
        )
        patch.setattr(log, "curves", lambda _: np.zeros((8, 8, 3), np.uint8))
        train_tiny(mine, tiny_training(), num_steps=3)
        resumed = tiny_training()
        restore(resumed, distributed.on_main(lambda: read_state(mine)), mine)
        train_tiny(mine, resumed, num_steps=9, patience=1)
        (folder / f"{distributed.rank()}.json").write_text(json.dumps([resumed.step, resumed.waited]))


def train_for_minutes(config, runs):
    with pytest.MonkeyPatch.context() as patch:
        use_small_networks(patch)
        patch.setattr(log, "curves", lambda _: np.zeros((8, 8, 3), np.uint8))
        patch.setattr(rehearsal, "_SHORTEST", 0.0)
        patch.setattr(rehearsal, "fit", lambda *_: (3, ""))
        return run_tool("train", config, "train.minutes=1", "train.accumulate=1", "--runs", runs)


def train_until_one_sleeps(config, runs, seconds):
    """Train; in the third step the second process sleeps so long that the first one misses it."""

    def sleepy_step(*args):
        calls.append(args)
        if len(calls) == 3 and distributed.rank() == 1:
            time.sleep(seconds)
        return take_step(*args)

    calls = []
    with pytest.MonkeyPatch.context() as patch:
        use_small_networks(patch)
        patch.setattr(loop, "take_step", sleepy_step)
        return run_tool("train", config, "--runs", runs, "--name", "run")


def train_with_less_room(config, runs):
    """Train with ``auto``; eight images fit into the first process, four into the second."""
    with pytest.MonkeyPatch.context() as patch:
        use_small_networks(patch)
        patch.setattr(log, "curves", lambda _: np.zeros((8, 8, 3), np.uint8))
        patch.setattr(batch_fit, "largest_batch", lambda *_: 8 >> distributed.rank())
        return run_tool("train", config, "--runs", runs)
