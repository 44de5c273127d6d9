import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from segdla import build, config, engine
from segdla.checkpoint import BEST, read_weights
from segdla.data.dataset import SegmentationDataset
from segdla.data.loader import Batch, WholeImages
from segdla.data.scenes import Scenes
from segdla.errors import UserError
from segdla.evaluation import evaluate
from segdla.inference import Segmenter
from segdla.metrics import ConfusionMatrix
from segdla.models.dla import VARIANTS
from segdla.models.segmenter import DLASeg
from segdla.report import RunLog
from segdla.scores import classify
from segdla.stop import StopSignal
from segdla.trained import predictor

NAMES, PALETTE = ("a", "b"), ((0, 0, 0), (255, 255, 255))


def batches(count, first=0):
    for i in range(first, count):
        random = torch.Generator().manual_seed(i)
        images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=random)
        yield Batch(images, (images[:, 0] > 127).to(torch.uint8), (f"{i}a", f"{i}b"))


def tiny(lr=1e-3):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9)
    return engine.Training(model, optimizer, lambda step: 1 - step / 8)


class Validation(list):
    num_images = 4


def run(folder, training, num_steps=8, source=None, loss=None):
    with RunLog(folder, NAMES, PALETTE, training.step, training.evaluated, num_steps) as log:
        return engine.train(
            training,
            lambda images: training.model(images.float() / 255),
            loss or nn.functional.cross_entropy,
            source or batches(num_steps, first=training.step),
            Validation(batches(2)),
            log,
            {"classes": NAMES, "protocol": ""},
            device=torch.device("cpu"),
            num_steps=num_steps,
            steps_per_epoch=3,
            eval_every=1,
            report_every=2,
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


def test_records_of_what_will_come_again_are_dropped(tmp_path):
    kept = '{"step": 2, "loss": 1}\n{"step": 2, "mean_iou": 0.1}\n{"step": 3, "loss": 1}\n'
    lost = '{"step": 3, "mean_iou": 0.2}\n{"step": 4, "loss": 2}\n{"step": 6, "lo'
    (tmp_path / "metrics.jsonl").write_text(kept + lost, encoding="utf-8")
    with RunLog(tmp_path, NAMES, PALETTE, first_step=3, evaluated=2, num_steps=8) as log:
        assert [record["step"] for record in log.records] == [2, 2, 3]
    assert (tmp_path / "metrics.jsonl").read_text(encoding="utf-8") == kept


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    with pytest.raises(UserError, match=r"the loss is nan at step 2; lower train\.lr"):
        run(tmp_path, tiny(), loss=lambda logits, targets: logits.mean() * float("nan"))


def test_best_weights_are_those_of_the_best_score(tmp_path):
    training = tiny()
    run(tmp_path, training)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    scores = [r["mean_iou"] for r in records if "mean_iou" in r]
    assert training.best == max(scores) == read_weights(tmp_path / BEST).card["scores"]["mean_iou"]


def test_a_state_that_is_not_finite_replaces_no_other(tmp_path):
    calls = iter(range(10))

    def failing(logits, targets):  # at step 5, which no report of every other step sees
        return nn.functional.cross_entropy(logits, targets) * (float("nan") if next(calls) == 4 else 1)

    with pytest.raises(UserError, match=r"nan at step 6.* go on from the last epoch with --resume"):
        run(tmp_path, tiny(), loss=failing)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert state["step"] == 3 and all(tensor.isfinite().all() for tensor in state["model"].values())


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


def test_a_resumed_run_obeys_the_config(tmp_path):
    run(tmp_path, tiny(lr=0.5), num_steps=3)
    resumed = tiny(lr=0.01)
    resumed.load_state_dict(torch.load(tmp_path / "last.pt", weights_only=True))
    assert resumed.step == 3
    assert resumed.scheduler().get_last_lr() == [pytest.approx(0.01 * (1 - 3 / 8))]


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


def test_bf16_gives_float32_logits():
    model = nn.Conv2d(3, 2, 1)
    logits = engine.in_precision(model, torch.device("cpu"), "bf16")(torch.rand(1, 3, 4, 4))
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, model(torch.rand(1, 3, 4, 4)))


@pytest.mark.parametrize(
    ("step", "share"),
    [(0, 0.01), (5, 0.505 * 0.95**0.9), (10, 0.9**0.9), (50, 0.5**0.9), (100, 0)],
)
def test_poly_with_warm_up_by_hand(step, share):
    assert build.poly(step, num_steps=100, power=0.9, warmup_steps=10) == pytest.approx(share)


def test_predictor_without_options_is_the_model_itself():
    settings = config.parse({"data": {"dataset": "scenes"}}, ["model.backbone=dla46_c", "model.output_stride=8"])
    network = build.model(settings, 9).eval()
    images = torch.randint(0, 256, (1, 3, 40, 56), dtype=torch.uint8)
    with torch.no_grad():
        ids = predictor(settings, network, torch.device("cpu"))(images)
        assert torch.equal(ids, network(images).argmax(1).to(torch.uint8))
        assert predictor(settings, network, torch.device("cpu"), with_flip=True)(images).shape == (1, 40, 56)


def test_class_weights_must_fit():
    settings = config.parse({"data": {"dataset": "scenes"}}, ["train.class_weights=[1, 2]"])
    with pytest.raises(UserError, match="2 numbers for 9 classes"):
        build.loss(settings, 9, torch.device("cpu"))


def test_an_absent_device_is_answered():
    with pytest.raises(UserError, match="try auto or cpu"):
        build.device("no_such_device")


def test_segmenter_predicts_at_the_images_size():
    model = DLASeg(VARIANTS["dla46_c"](), 2, 8).eval()
    segmenter = Segmenter(lambda images: classify(model(images)), NAMES, PALETTE, torch.device("cpu"), Path("x"))
    ids = segmenter.predict(np.zeros((21, 35, 3), np.uint8))
    assert ids.shape == (21, 35) and ids.dtype == np.uint8
    with pytest.raises(UserError, match="uint8"):
        segmenter.predict(np.zeros((21, 35, 3), np.float32))
