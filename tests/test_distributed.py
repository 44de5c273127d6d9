"""Two processes over gloo: the same numbers as one, and an end together."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run_tool
from processes import run_together
from torch import nn

from segdla import distributed
from segdla.data.dataset import SegmentationDataset
from segdla.data.loader import TrainingKeys, WholeImages, training_batches
from segdla.data.scenes import Scenes
from segdla.errors import PeerError, UserError
from segdla.evaluation import evaluate
from segdla.losses import cross_entropy
from segdla.scores import classify
from segdla.state import Plan, Training
from segdla.step import take_step
from segdla.stop import StopSignal, until_stopped

CPU = torch.device("cpu")
TINY = {
    "data.size": "[32, 48]", "data.crop": "[32, 32]", "data.train": 10, "data.val": 3, "data.workers": 0,
    "model.backbone": "dla46_c", "model.output_stride": 8, "loss.class_weights": "null",
    "train.epochs": 2, "train.batch_size": 4, "train.report_every": 1, "train.device": "cpu",
}  # fmt: skip
OVERRIDES = [f"{key}={value}" for key, value in TINY.items()]
QUICKSTART = Path(__file__).parents[1] / "configs" / "quickstart.yaml"


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


def train_three_steps(folder, accumulate):
    with distributed.process_group():
        model = Floats(network())
        optimizer = torch.optim.SGD(model.named_parameters(), 0.1, momentum=0.9)
        training = Training(model, optimizer, lambda step: 1.0)
        plan = Plan(folder, CPU, num_steps=3, steps_per_epoch=3, accumulate=accumulate)
        keys = TrainingKeys(
            7, 4, 3, seed=0, accumulate=accumulate, rank=distributed.rank(), world_size=distributed.world_size()
        )
        learner = distributed.replicated(model, CPU)
        batches = training_batches(images(), keys, workers=0, pin=False)
        losses = []
        for parts in zip(*[batches] * accumulate, strict=True):
            value, _ = take_step(training, learner, cross_entropy, parts, plan)
            losses.append(distributed.total(value) / distributed.world_size())
        torch.save((model.state_dict(), losses), folder / f"{distributed.rank()}.pt")


@pytest.mark.parametrize(("world_size", "accumulate"), [(1, 2), (1, 4), (2, 1), (2, 2)])
def test_steps_are_those_of_one_process_with_the_whole_batch(tmp_path, world_size, accumulate):
    for name in ("one", "parts"):
        (tmp_path / name).mkdir()
    train_three_steps(tmp_path / "one", 1)
    state, losses = torch.load(tmp_path / "one" / "0.pt")
    if world_size == 1:
        train_three_steps(tmp_path / "parts", accumulate)
    else:
        assert run_together(train_three_steps, tmp_path / "parts", accumulate) == [0, 0]
    for rank in range(world_size):
        same_state, same_losses = torch.load(tmp_path / "parts" / f"{rank}.pt")
        torch.testing.assert_close(same_losses, losses)
        for name, tensor in state.items():
            torch.testing.assert_close(same_state[name], tensor)


def count(folder):
    with distributed.process_group():
        model = network()

        def segment(batch):
            return classify(model(batch.float() / 255))

        shard = WholeImages(images(), 2, 0, False, distributed.rank(), distributed.world_size())
        confusion = evaluate(segment, shard, 9, CPU)
        torch.save(confusion.counts, folder / f"{distributed.world_size()}_{distributed.rank()}.pt")


def test_the_confusion_matrix_is_that_of_one_process(tmp_path):
    count(tmp_path)
    assert run_together(count, tmp_path) == [0, 0]
    whole = torch.load(tmp_path / "1_0.pt")
    assert whole.sum() == 7 * 32 * 48  # every pixel once: seven images are no even number of them
    assert torch.equal(torch.load(tmp_path / "2_0.pt"), whole)
    assert torch.equal(torch.load(tmp_path / "2_1.pt"), whole)


def read_until_one_fails(folder):
    def items():
        for i in range(4):
            if i == 2 and distributed.rank() == 1:
                raise UserError("the third is broken")
            yield i

    seen = []
    with distributed.process_group():
        try:
            for item in until_stopped(items(), StopSignal()):
                seen.append(item)
        except UserError as error:
            (folder / f"{distributed.rank()}.json").write_text(json.dumps([seen, type(error).__name__]))


def test_one_that_cannot_read_ends_all(tmp_path):
    assert run_together(read_until_one_fails, tmp_path) == [0, 0]
    assert json.loads((tmp_path / "0.json").read_text()) == [[0, 1], "PeerError"]
    assert json.loads((tmp_path / "1.json").read_text()) == [[0, 1], "UserError"]


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


def test_a_signal_to_one_stops_all_after_the_same_step(tmp_path):
    assert run_together(read_until_one_is_stopped, tmp_path) == [0, 0]
    for rank in range(2):
        assert json.loads((tmp_path / f"0{rank}.json").read_text()) == [0, 1, 2, 3]


def die():
    with distributed.process_group():
        if distributed.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        distributed.highest(0)


def test_one_that_is_killed_leaves_no_other_waiting():
    first, second = run_together(die)
    assert first != 0 and second == -signal.SIGKILL


def choose():
    def refuse():
        raise UserError("no")

    with distributed.process_group():
        assert distributed.on_main(os.getpid) == distributed.gathered(os.getpid())[0]
        expected = UserError if distributed.is_main() else PeerError
        with pytest.raises(expected):
            distributed.on_main(refuse)


def test_the_main_process_decides_for_all():
    assert run_together(choose) == [0, 0]


def test_train_and_test_in_two_processes_and_resume_in_one(tmp_path):
    train = ("train", QUICKSTART, "--runs", tmp_path, "--name", "two", *OVERRIDES)
    assert run_together(run_tool, *train) == [0, 0]
    run = tmp_path / "two"
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["step"] for record in steps if "loss" in record] == [1, 2, 3, 4, 5, 6]  # one writes, and once
    assert run_together(run_tool, "test", run, "--device", "cpu") == [0, 0]
    assert run_tool("test", run, "--device", "cpu") == 0
    in_two, in_one = (json.loads((run / name).read_text()) for name in ("eval_val.json", "eval_val-2.json"))
    assert in_two["iou"] == pytest.approx(in_one["iou"], nan_ok=True)
    assert np.isfinite(in_one["mean_iou"])
    assert run_tool("train", "--resume", run, "train.epochs=3") == 0


def test_a_batch_that_cannot_be_dealt_out(tmp_path):
    train = ("train", QUICKSTART, "--runs", tmp_path, *OVERRIDES, "train.batch_size=5")
    assert run_together(run_tool, *train) == [2, 2]
    assert not any(tmp_path.iterdir())
