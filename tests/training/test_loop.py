import json
import multiprocessing
import os
import signal
import subprocess
import time
from dataclasses import replace

import pytest
import torch
from tiny_run import batches, failing, tiny_training, train_tiny
from torch.amp import GradScaler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from segdla.checkpoints.checkpoint import BEST, read_checkpoint
from segdla.data.loader import TrainingKeys, training_batches
from segdla.data.samples import SegmentationDataset
from segdla.data.scenes import Scenes
from segdla.errors import UserError
from segdla.evaluation.confusion import ConfusionMatrix
from segdla.training import loop, saver
from segdla.training.losses import cross_entropy
from segdla.training.state import read_state


def test_a_run_leaves_its_files(tmp_path):
    assert train_tiny(tmp_path, tiny_training())
    names = {path.name for path in tmp_path.iterdir()}
    assert {"best.safetensors", "last.pt", "metrics.jsonl", "curves.png", "samples"} <= names
    assert any("tfevents" in name for name in names)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [r["step"] for r in records if "loss" in r] == [2, 3, 4, 6, 8]
    assert [r["step"] for r in records if "mean_iou" in r] == [3, 6, 8]  # epochs end at 3 and 6, the run at 8
    assert len(list((tmp_path / "samples").iterdir())) == 3


def interrupting(stream, at, stop):
    """The stream, with a stop requested while batch ``at`` is on its way."""
    for i, batch in enumerate(stream):
        if i == at:
            stop()
        yield batch


@pytest.mark.parametrize("stopped_after", [2, 3, 5])
def test_a_stopped_run_resumes_to_the_same_weights(tmp_path, stopped_after, capsys):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, first = tiny_training(), tiny_training()
    assert train_tiny(tmp_path / "whole", whole)
    source = interrupting(batches(8), stopped_after - 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert not train_tiny(tmp_path / "parts", first, source=source)
    assert first.step == stopped_after
    assert f"SIGTERM after step {stopped_after} of 8" in capsys.readouterr().out

    second = tiny_training()
    second.load_state_dict(read_state(tmp_path / "parts"))
    assert train_tiny(tmp_path / "parts", second)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
    steps = [
        json.loads(line)["step"]
        for line in (tmp_path / "parts" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert steps == sorted(steps)


def test_what_was_learnt_before_an_unreadable_image_is_kept(tmp_path):
    def broken():
        yield from batches(5)
        raise UserError("image 5 is broken")

    training = tiny_training()
    with pytest.raises(UserError, match="image 5 is broken"):
        train_tiny(tmp_path, training, source=broken(), steps_per_epoch=8)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert state["step"] == 5
    assert torch.equal(state["model"]["1.weight"], training.model[1].weight)


def test_half_precision_that_never_recovers_is_answered(tmp_path):
    training = tiny_training(scaler=GradScaler("cpu", init_scale=1e-4))
    with pytest.raises(UserError, match=r"fp16 overflows .* set train\.precision to bf16 or fp32"):
        train_tiny(tmp_path, training)


def test_the_scale_of_half_precision_is_resumed(tmp_path):
    def scaled():
        return tiny_training(scaler=GradScaler("cpu", init_scale=4.0, growth_interval=2))

    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, first, second = scaled(), scaled(), scaled()
    assert train_tiny(tmp_path / "whole", whole)
    source = interrupting(batches(8), 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert not train_tiny(tmp_path / "parts", first, source=source)
    second.load_state_dict(read_state(tmp_path / "parts"))
    assert second.scaler.get_scale() == 16  # doubled after steps 2 and 4
    assert train_tiny(tmp_path / "parts", second)
    assert whole.scaler.state_dict() == second.scaler.state_dict()
    assert torch.equal(whole.model[1].weight, second.model[1].weight)


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_images(tmp_path):
    with pytest.raises(UserError, match=r"the loss is nan on 1a, 1b; lower train\.lr \(now 0\.001\)"):
        train_tiny(tmp_path, tiny_training(), loss=failing(2))


def test_steps_without_a_finite_loss_are_left_out_by_choice(tmp_path, capsys):
    training = tiny_training()
    assert train_tiny(tmp_path, training, loss=failing(2, 5), skip_nonfinite=2)
    assert training.skipped == 2
    assert training.is_finite() and all(buffer.isfinite().all() for buffer in training.model.buffers())
    assert "step 5 left out: loss or gradient not finite on 4a, 4b" in capsys.readouterr().out
    losses = [json.loads(line).get("loss") for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert all(loss is None or loss < 2 for loss in losses)


def test_a_step_that_is_left_out_changes_nothing(tmp_path):
    trained = tiny_training()
    before = {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}
    train_tiny(tmp_path, trained, num_steps=3, loss=failing(1, 2, 3), skip_nonfinite=3)
    assert (trained.step, trained.skipped) == (3, 3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.model.state_dict().items())


def test_too_many_steps_left_out_stop_the_run(tmp_path):
    with pytest.raises(UserError, match=r"on 4a, 4b, and 2 steps were left out already .*\(--resume"):
        train_tiny(tmp_path, tiny_training(), loss=failing(1, 2, 5), skip_nonfinite=2)


def test_best_weights_are_those_of_the_best_score(tmp_path):
    training = tiny_training()
    train_tiny(tmp_path, training)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    scores = [r["mean_iou"] for r in records if "mean_iou" in r]
    assert training.best == max(scores) == read_checkpoint(tmp_path / BEST).card.scores.mean_iou


def test_a_state_that_is_not_finite_replaces_no_other(tmp_path):
    with pytest.raises(UserError, match=r"nan on 4a, 4b.* resume from the last state that was good"):
        train_tiny(tmp_path, tiny_training(), loss=failing(5))  # which no report of every other step sees
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert state["step"] == 3 and all(tensor.isfinite().all() for tensor in state["model"].values())


def test_weights_that_a_finite_loss_spoiled_replace_no_others(tmp_path):
    training = tiny_training()

    def spoiling(logits, targets):  # the loss of the epoch's last step is fine, and its gradient is not
        if training.step == 5:
            logits.register_hook(lambda gradient: gradient * float("inf"))
        return cross_entropy(logits, targets)

    with pytest.raises(UserError, match="a weight is not finite after step 6"):
        train_tiny(tmp_path, training, loss=spoiling)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 3


def test_state_is_saved_every_few_steps(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(saver, "write_state", lambda _, state: steps.append(state["step"]))
    train_tiny(tmp_path, tiny_training(), save_every=2)
    assert steps == [2, 3, 3, 4, 6, 6, 8, 8]  # epochs end at 3 and 6, before and after their evaluation


def test_the_end_of_an_epoch_alone_saves_nothing(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(saver, "write_state", lambda _, state: steps.append(state["step"]))
    train_tiny(tmp_path, tiny_training(), eval_every=2)
    assert steps == [6, 6, 8, 8]  # before and after the evaluations; the first epoch ends at 3


@pytest.mark.parametrize(("trains_on_val", "kept"), [(False, 3), (True, 8)])
def test_the_last_weights_are_kept_where_val_is_trained_on(tmp_path, monkeypatch, trains_on_val, kept):
    falling = iter((0.9, 0.5, 0.1))  # after steps 3, 6 and 8

    scores_of = ConfusionMatrix.scores

    def lower_scores(*args, **options):
        return replace(scores_of(*args, **options), mean_iou=next(falling))

    monkeypatch.setattr(ConfusionMatrix, "scores", lower_scores)
    train_tiny(tmp_path, tiny_training(), trains_on_val=trains_on_val)
    assert read_checkpoint(tmp_path / BEST).card.step == kept


def test_algorithms_are_searched_for_crops_not_for_whole_images(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(loop, "take_step", noting(seen, "step", loop.take_step))
    monkeypatch.setattr(loop, "count_batches", noting(seen, "evaluation", loop.count_batches))
    train_tiny(tmp_path, tiny_training(), num_steps=6)
    assert set(seen) == {("step", True), ("evaluation", False)}


def noting(seen, name, function):
    def noted(*args):
        seen.append((name, torch.backends.cudnn.benchmark))
        return function(*args)

    return noted


def test_the_moving_average_is_what_is_evaluated_and_kept(tmp_path):
    ema = AveragedModel(tiny_training().model, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
    training = tiny_training(ema=ema)
    train_tiny(tmp_path, training, num_steps=3)
    kept = read_checkpoint(tmp_path / BEST).state_dict
    assert all(torch.equal(tensor, ema.module.state_dict()[name]) for name, tensor in kept.items())
    assert not torch.equal(kept["1.weight"], training.model.state_dict()["1.weight"])


def test_an_evaluation_that_a_stop_left_out_is_made_up_for(tmp_path):
    first = tiny_training()
    source = interrupting(batches(8), 2, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert not train_tiny(tmp_path, first, source=source)
    assert first.step == 3 and first.evaluated == 0
    second = tiny_training()
    second.load_state_dict(read_state(tmp_path))
    assert train_tiny(tmp_path, second)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [r["step"] for r in records if "mean_iou" in r] == [3, 6, 8]


def test_workers_that_a_signal_took_are_no_error(tmp_path):
    def losing_workers():
        yield from batches(1)
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("DataLoader worker exited unexpectedly")

    training = tiny_training()
    assert not train_tiny(tmp_path, training, source=losing_workers())
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 1


def test_a_signal_to_the_workers_as_well_costs_no_step(tmp_path):
    dataset = SegmentationDataset(Scenes("train", 64, (32, 32)))
    calls = []

    def struck(logits, targets):
        calls.append(len(calls))
        if len(calls) == 3:
            workers = [str(worker.pid) for worker in multiprocessing.active_children()]
            # From another process, as a job's manager does it: torch's workers obey their parent in a way of their own.
            subprocess.run(["kill", "-TERM", str(os.getpid()), *workers], check=True)
            time.sleep(1)  # they die in the midst of this step
        return logits.square().mean()

    stream = training_batches(dataset, TrainingKeys(64, 2, 500, 0), workers=2, pin=False)
    assert not train_tiny(tmp_path, tiny_training(), num_steps=500, source=stream, loss=struck, steps_per_epoch=500)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 3


def test_nothing_labelled_in_validation_is_answered(tmp_path, monkeypatch):
    monkeypatch.setattr(ConfusionMatrix, "update", lambda *_: None)
    with pytest.raises(UserError, match="no labelled pixel"):
        train_tiny(tmp_path, tiny_training())


def test_a_signal_while_validating_ends_it_and_leaves_it_to_the_resumed_run(tmp_path, monkeypatch):
    training, prediction, seen = tiny_training(), loop.Prediction, []

    def once(class_ids):
        seen.append(class_ids)
        if len(seen) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return prediction(class_ids)

    monkeypatch.setattr(loop, "Prediction", once)
    assert not train_tiny(tmp_path, training)
    assert len(seen) == 1 and (training.step, training.evaluated, training.best) == (3, 0, -1.0)
