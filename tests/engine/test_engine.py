import errno
import json
import multiprocessing
import os
import signal
import subprocess
import time

import pytest
import torch
from torch import nn
from torch.amp import GradScaler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter

from segdla import build, config, engine
from segdla.build.predictor import predictor
from segdla.checkpoint import BEST, read_weights
from segdla.data.dataset import SegmentationDataset
from segdla.data.loader import Batch, TrainingKeys, WholeImages, training_batches
from segdla.data.scenes import Scenes
from segdla.engine.state import Plan, Training
from segdla.engine.step import gradients_of
from segdla.engine.stop import StopSignal, until_stopped
from segdla.errors import UserError
from segdla.evaluation import evaluate
from segdla.inference.scores import classify
from segdla.losses import Objective, cross_entropy
from segdla.metrics import ConfusionMatrix
from segdla.report import RunLog

NAMES, PALETTE = ("a", "b"), ((0, 0, 0), (255, 255, 255))


def batches(count, first=0):
    for i in range(first, count):
        random = torch.Generator().manual_seed(i)
        images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=random)
        yield Batch(images, (images[:, 0] > 127).to(torch.uint8), (f"{i}a", f"{i}b"))


class Scaled(nn.Module):
    def forward(self, images):
        return images.float() / 255


def tiny(lr=1e-3, **more):
    """A network that draws random numbers (dropout), with its optimizer, for 8 steps."""
    torch.manual_seed(0)
    model = nn.Sequential(
        Scaled(), nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(4, 2, 1)
    )
    optimizer = torch.optim.SGD(model.named_parameters(), lr, momentum=0.9)
    return Training(model, optimizer, lambda step: 1 - step / 8, **more)


class Validation(list):
    num_images = 4


def run(folder, training, num_steps=8, source=None, loss=cross_entropy, **changes):
    plan = {"num_steps": num_steps, "steps_per_epoch": 3, "report_every": 2, **changes}
    plan = Plan(folder, torch.device("cpu"), **plan)
    with RunLog(folder, NAMES, PALETTE, training.step, training.evaluated, num_steps) as log:
        return engine.train(
            training,
            gradients_of(training, training.model, Objective([(1, loss)]), plan),
            source or batches(num_steps, first=training.step),
            Validation(batches(2)),
            lambda images: classify(training.kept(images)),
            log,
            {"classes": NAMES, "protocol": ""},
            plan,
        )


def test_a_run_leaves_its_files(tmp_path):
    assert run(tmp_path, tiny())
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
def test_a_stopped_run_resumes_to_the_same_weights(tmp_path, stopped_after):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, first = tiny(), tiny()
    assert run(tmp_path / "whole", whole)
    source = interrupting(batches(8), stopped_after - 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert not run(tmp_path / "parts", first, source=source)
    assert first.step == stopped_after

    second = tiny()
    second.load_state_dict(torch.load(tmp_path / "parts" / "last.pt", weights_only=True))
    assert run(tmp_path / "parts", second)
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

    training = tiny()
    with pytest.raises(UserError, match="image 5 is broken"):
        run(tmp_path, training, source=broken(), steps_per_epoch=8)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert state["step"] == 5
    assert torch.equal(state["model"]["1.weight"], training.model[1].weight)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_moments_are_resumed_in_another_memory_layout(kind):
    def one(layout):
        torch.manual_seed(0)
        model = nn.Conv2d(4, 8, 3).to(memory_format=layout)
        momentum = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        return Training(model, kind(model.named_parameters(), 0.1, fused=True, **momentum), lambda step: 1.0)

    def step(training, seed):
        x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
        training.model(x).square().mean().backward()
        training.optimizer.step()
        training.optimizer.zero_grad()

    whole, first, second = one(torch.channels_last), one(torch.channels_last), one(torch.contiguous_format)
    step(whole, 0)
    step(whole, 1)
    step(first, 0)
    second.load_state_dict(first.state_dict())
    step(second, 1)
    torch.testing.assert_close(second.model.weight, whole.model.weight)


def test_the_moving_average_is_torchs():
    ours, theirs = (
        tiny(ema=AveragedModel(tiny().model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)) for _ in "ab"
    )
    for _ in range(3):
        for training in (ours, theirs):
            with torch.no_grad():
                for tensor in (*training.model.parameters(), training.model[2].running_mean):
                    tensor.add_(1)
        ours.average()
        theirs.ema.update_parameters(theirs.model)
    for name, tensor in theirs.ema.module.state_dict().items():
        torch.testing.assert_close(ours.ema.module.state_dict()[name], tensor)


def test_half_precision_that_never_recovers_is_answered(tmp_path):
    training = tiny(scaler=GradScaler("cpu", init_scale=1e-4))
    with pytest.raises(UserError, match=r"fp16 overflows .* set train\.precision to bf16 or fp32"):
        run(tmp_path, training)


def test_the_scale_of_half_precision_is_resumed(tmp_path):
    def scaled():
        return tiny(scaler=GradScaler("cpu", init_scale=4.0, growth_interval=2))

    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, first, second = scaled(), scaled(), scaled()
    assert run(tmp_path / "whole", whole)
    source = interrupting(batches(8), 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert not run(tmp_path / "parts", first, source=source)
    second.load_state_dict(torch.load(tmp_path / "parts" / "last.pt", weights_only=True))
    assert second.scaler.get_scale() == 16  # doubled after steps 2 and 4
    assert run(tmp_path / "parts", second)
    assert whole.scaler.state_dict() == second.scaler.state_dict()
    assert torch.equal(whole.model[1].weight, second.model[1].weight)


def test_records_of_what_will_come_again_are_dropped(tmp_path):
    kept = '{"step": 2, "loss": 1}\n{"step": 2, "mean_iou": 0.1}\n{"step": 3, "loss": 1}\n'
    lost = '{"step": 3, "mean_iou": 0.2}\n{"step": 4, "loss": 2}\n{"step": 6, "lo'
    (tmp_path / "metrics.jsonl").write_text(kept + lost, encoding="utf-8")
    with RunLog(tmp_path, NAMES, PALETTE, first_step=3, evaluated=2, num_steps=8) as log:
        assert [record["step"] for record in log.records] == [2, 2, 3]
    assert (tmp_path / "metrics.jsonl").read_text(encoding="utf-8") == kept


def failing(*steps, value=float("nan")):
    """Cross-entropy, but for the given steps."""
    calls = iter(range(1, 100))
    return lambda logits, targets: cross_entropy(logits, targets) * (value if next(calls) in steps else 1)


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_images(tmp_path):
    with pytest.raises(UserError, match=r"the loss is nan on 1a, 1b; lower train\.lr \(now 0\.001\)"):
        run(tmp_path, tiny(), loss=failing(2))


def test_steps_without_a_finite_loss_are_left_out_by_choice(tmp_path, capsys):
    training = tiny()
    assert run(tmp_path, training, loss=failing(2, 5), skip_nonfinite=2)
    assert training.skipped == 2
    assert training.is_finite() and all(buffer.isfinite().all() for buffer in training.model.buffers())
    assert "step 5 left out: loss or gradient not finite on 4a, 4b" in capsys.readouterr().out
    losses = [json.loads(line).get("loss") for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert all(loss is None or loss < 2 for loss in losses)


def test_a_step_that_is_left_out_changes_nothing(tmp_path):
    trained = tiny()
    before = {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}
    run(tmp_path, trained, num_steps=3, loss=failing(1, 2, 3), skip_nonfinite=3)
    assert (trained.step, trained.skipped) == (3, 3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.model.state_dict().items())


def test_too_many_steps_left_out_stop_the_run(tmp_path):
    with pytest.raises(UserError, match=r"on 4a, 4b, and 2 steps were left out already .* --resume"):
        run(tmp_path, tiny(), loss=failing(1, 2, 5), skip_nonfinite=2)


def test_best_weights_are_those_of_the_best_score(tmp_path):
    training = tiny()
    run(tmp_path, training)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    scores = [r["mean_iou"] for r in records if "mean_iou" in r]
    assert training.best == max(scores) == read_weights(tmp_path / BEST).card["scores"]["mean_iou"]


def test_a_state_that_is_not_finite_replaces_no_other(tmp_path):
    with pytest.raises(UserError, match=r"nan on 4a, 4b.* go on from the last state that was good with --resume"):
        run(tmp_path, tiny(), loss=failing(5))  # which no report of every other step sees
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert state["step"] == 3 and all(tensor.isfinite().all() for tensor in state["model"].values())


def test_weights_that_a_finite_loss_spoiled_replace_no_others(tmp_path):
    training = tiny()

    def spoiling(logits, targets):  # the loss of the epoch's last step is fine, and its gradient is not
        if training.step == 5:
            logits.register_hook(lambda gradient: gradient * float("inf"))
        return cross_entropy(logits, targets)

    with pytest.raises(UserError, match="a weight is no number any more after step 6"):
        run(tmp_path, training, loss=spoiling)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 3


def test_state_is_saved_every_few_steps(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(engine, "save_training", lambda path, state: saved.append(state["step"]))
    run(tmp_path, tiny(), save_every=2)
    assert saved == [2, 3, 3, 4, 6, 6, 8, 8]  # epochs end at 3 and 6, before and after their evaluation


def test_the_end_of_an_epoch_alone_saves_nothing(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(engine, "save_training", lambda path, state: saved.append(state["step"]))
    run(tmp_path, tiny(), eval_every=2)
    assert saved == [6, 6, 8, 8]  # before and after the evaluations; the first epoch ends at 3


@pytest.mark.parametrize(("trains_on_val", "kept"), [(False, 3), (True, 8)])
def test_the_last_weights_are_kept_where_val_is_trained_on(tmp_path, monkeypatch, trains_on_val, kept):
    falling = iter((0.9, 0.5, 0.1))  # after steps 3, 6 and 8

    def evaluate_worse(*args):
        confusion = evaluate(*args)
        scores = {**confusion.scores(NAMES), "mean_iou": next(falling)}
        confusion.scores = lambda names: scores
        return confusion

    monkeypatch.setattr(engine, "evaluate", evaluate_worse)
    run(tmp_path, tiny(), trains_on_val=trains_on_val)
    assert read_weights(tmp_path / BEST).card["step"] == kept


def test_algorithms_are_searched_for_crops_not_for_whole_images(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(engine, "take_step", noting(seen, "step", engine.take_step))
    monkeypatch.setattr(engine, "evaluate", noting(seen, "evaluation", engine.evaluate))
    run(tmp_path, tiny(), num_steps=6)
    assert set(seen) == {("step", True), ("evaluation", False)}


def noting(seen, name, function):
    def noted(*args):
        seen.append((name, torch.backends.cudnn.benchmark))
        return function(*args)

    return noted


def test_the_moving_average_is_what_is_evaluated_and_kept(tmp_path):
    ema = AveragedModel(tiny().model, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
    training = tiny(ema=ema)
    run(tmp_path, training, num_steps=3)
    kept = read_weights(tmp_path / BEST).state_dict
    assert all(torch.equal(tensor, ema.module.state_dict()[name]) for name, tensor in kept.items())
    assert not torch.equal(kept["1.weight"], training.model.state_dict()["1.weight"])


def test_an_evaluation_that_a_stop_left_out_is_made_up_for(tmp_path):
    first = tiny()
    source = interrupting(batches(8), 2, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert not run(tmp_path, first, source=source)
    assert first.step == 3 and first.evaluated == 0
    second = tiny()
    second.load_state_dict(torch.load(tmp_path / "last.pt", weights_only=True))
    assert run(tmp_path, second)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [r["step"] for r in records if "mean_iou" in r] == [3, 6, 8]


def test_a_signal_to_the_group_spares_the_workers():
    dataset = SegmentationDataset(Scenes("train", 8, (32, 32)))
    with StopSignal() as stop:
        images = iter(WholeImages(dataset, 1, workers=1, pin=False))
        next(images)
        os.kill(os.getpid(), signal.SIGTERM)
        for worker in multiprocessing.active_children():
            assert os.getpgid(worker.pid) != os.getpgrp()
        assert stop.requested
        assert len(list(images)) == 7


def test_workers_that_a_signal_took_are_no_error(tmp_path):
    def losing_workers():
        yield from batches(1)
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("DataLoader worker exited unexpectedly")

    training = tiny()
    assert not run(tmp_path, training, source=losing_workers())
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
    assert not run(tmp_path, tiny(), num_steps=500, source=stream, loss=struck, steps_per_epoch=500)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 3


def test_a_resumed_run_obeys_the_config(tmp_path):
    run(tmp_path, tiny(lr=0.5), num_steps=3)
    resumed = tiny(lr=0.01)
    resumed.load_state_dict(torch.load(tmp_path / "last.pt", weights_only=True))
    assert resumed.step == 3
    resumed.set_lr()
    assert resumed.optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * (1 - 3 / 8))


def test_a_full_disk_is_answered_whatever_it_cuts_short(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("add_scalar", "add_image", "close"):
        with monkeypatch.context() as patch, pytest.raises(UserError, match=r"cannot write in .*No space.* --resume"):
            patch.setattr(SummaryWriter, name, full)
            run(tmp_path, tiny())
    monkeypatch.setattr(SummaryWriter, "close", full)
    with pytest.raises(UserError, match="the loss is nan"):  # what came first is what is told
        run(tmp_path, tiny(), loss=failing(1))


def test_nothing_labelled_in_validation_is_answered(tmp_path, monkeypatch):
    monkeypatch.setattr(ConfusionMatrix, "update", lambda *_: None)
    with pytest.raises(UserError, match="no labelled pixel"):
        run(tmp_path, tiny())


def test_evaluation_counts_every_pixel_once():
    threshold = nn.Conv2d(3, 2, 1)
    with torch.no_grad():
        threshold.weight.zero_()
        threshold.weight[1, 0], threshold.bias[:] = 1, torch.tensor([127.5, 0])

    shown = []
    confusion = evaluate(
        lambda images: classify(threshold(images.float())),
        batches(3),
        2,
        torch.device("cpu"),
        keep=lambda batch, prediction: shown.append((batch.names, torch.equal(prediction, batch.targets))),
    )
    assert shown == [((f"{i}a", f"{i}b"), True) for i in range(3)]
    expected = ConfusionMatrix(2)
    for batch in batches(3):
        expected.update(batch.targets, batch.targets)
    assert torch.equal(confusion.matrix, expected.matrix)
    assert confusion.matrix.sum() == 3 * 2 * 64


def test_predictor_without_options_is_the_model_itself():
    settings = config.parse({"data": {"dataset": "scenes"}}, ["model.backbone=dla46_c", "model.output_stride=8"])
    network = build.model(settings, 9).eval()
    images = torch.randint(0, 256, (1, 3, 40, 56), dtype=torch.uint8)
    with torch.no_grad():
        ids = predictor(network.logits, 8, settings.eval)(images)
        assert torch.equal(ids, network(images).argmax(1).to(torch.uint8))
        assert predictor(network.logits, 8, settings.eval, with_flip=True)(images).shape == (1, 40, 56)


def test_an_absent_device_is_answered():
    with pytest.raises(UserError, match="try auto or cpu"):
        build.device("no_such_device")


def test_an_error_of_ours_keeps_its_traceback():
    def broken():
        yield 1
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        list(until_stopped(broken(), StopSignal()))
