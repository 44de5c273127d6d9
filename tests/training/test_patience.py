"""A run ends early when evaluations stop to get better, and counts them across a stop and in all processes."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from distributed_work import train_until_patience_ends
from processes import run_together
from tiny_run import batches, tiny_training, train_tiny, use_small_networks

from segdla.checkpoints.checkpoint import BEST, read_checkpoint
from segdla.config import parse
from segdla.errors import UserError
from segdla.evaluation.confusion import ConfusionMatrix
from segdla.training.state import read_state, restore


@pytest.fixture
def scoring(monkeypatch):
    """``scoring(0.5, 0.4, ...)`` makes these the mIoU of the evaluations to come."""
    scores_of = ConfusionMatrix.scores

    def give(*values):
        coming = iter(values)
        monkeypatch.setattr(
            ConfusionMatrix, "scores", lambda *args, **more: replace(scores_of(*args, **more), mean_iou=next(coming))
        )

    return give


@pytest.mark.parametrize(
    ("patience", "scores", "end"),
    [
        (1, (0.5, 0.5), 6),  # as good is not better
        (2, (0.5, 0.4, 0.6, 0.6, 0.5), 15),  # evaluations after steps 3, 6, ...; the third starts the count again
        (0, (0.5, 0.4, 0.3, 0.2, 0.1, 0.0), 18),
        (6, (0.5, 0.4, 0.3, 0.2, 0.1, 0.0), 18),
    ],
)
def test_a_run_ends_after_evaluations_that_are_no_better(tmp_path, scoring, capsys, patience, scores, end):
    scoring(*scores)
    training = tiny_training()
    assert train_tiny(tmp_path, training, num_steps=18, patience=patience)
    assert (training.step, training.evaluated) == (end, end)
    line = f"no better mIoU in {patience} evaluations (train.patience): the run ends after step {end} of 18"
    assert (line in capsys.readouterr().out) == (end < 18)


@pytest.mark.parametrize("stopped_after", [4, 6, 8])
def test_a_stopped_run_counts_on(tmp_path, scoring, stopped_after):
    scores = {3: 0.5, 6: 0.4, 9: 0.3}
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, first, second = tiny_training(), tiny_training(), tiny_training()
    scoring(*scores.values())
    assert train_tiny(tmp_path / "whole", whole, num_steps=18, patience=2)

    def stopping():
        for i, batch in enumerate(batches(18)):
            if i == stopped_after - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    scoring(*scores.values())
    assert not train_tiny(tmp_path / "parts", first, num_steps=18, source=stopping(), patience=2)
    restore(second, read_state(tmp_path / "parts"), tmp_path / "parts")
    scoring(*(score for step, score in scores.items() if step > first.evaluated))
    assert train_tiny(tmp_path / "parts", second, num_steps=18, patience=2)
    assert (whole.step, second.step) == (9, 9)
    assert all(torch.equal(t, second.model.state_dict()[name]) for name, t in whole.model.state_dict().items())
    assert read_checkpoint(tmp_path / "parts" / BEST).card.step == 3


def test_a_state_of_a_version_that_did_not_count_starts_at_0(tmp_path):
    train_tiny(tmp_path, tiny_training(), num_steps=3)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    del state["waited"]
    torch.save(state, tmp_path / "last.pt")
    assert read_state(tmp_path).waited == 0


def test_all_processes_end_together_though_one_alone_has_the_run_s_files(tmp_path):
    for rank in (0, 1):
        (tmp_path / str(rank)).mkdir()
    assert run_together(train_until_patience_ends, tmp_path) == [0, 0]
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)] == [[6, 1], [6, 1]]


def test_a_run_that_has_ended_early_says_how_to_go_on(two_folders, tool, fails, scoring, monkeypatch):
    use_small_networks(monkeypatch)
    scoring(0.5, 0.4, 0.3)
    assert tool("train")(two_folders, "train.patience=1", "train.epochs=3") == 0
    message = fails("train", "--resume", "runs/two_folders")
    assert "has ended after 1 evaluations without a better score (train.patience); to go on, add" in message
    assert tool("train")("--resume", "runs/two_folders", "train.patience=0") == 0
    assert torch.load("runs/two_folders/last.pt", weights_only=True)["evaluated"] == 6


def test_patience_needs_images_that_are_not_trained_on():
    values = {"data": {"dataset": "folder", "root": ".", "classes": ["a", "b"], "train_on_val": True}}
    values["data"] |= {split: {"images": "i", "masks": "m"} for split in ("train", "val")}
    with pytest.raises(UserError, match=r"train\.patience waits for a better mIoU.* set it to 0, or"):
        parse(values, {"train.patience": 3})
