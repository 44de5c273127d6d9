import errno
import os

import numpy as np
import pytest
from tiny_run import failing, tiny_training, train_tiny
from torch.utils.tensorboard import SummaryWriter

from segdla import visualize
from segdla.data.images import read_image
from segdla.errors import UserError
from segdla.training import log
from segdla.training.forecast import Forecast
from segdla.training.log import RunLog
from segdla.visualize import curves


def test_records_of_what_will_come_again_are_dropped(tmp_path):
    kept = '{"step": 2, "loss": 1}\n{"step": 2, "mean_iou": 0.1}\n{"step": 3, "loss": 1}\n'
    lost = '{"step": 3, "mean_iou": 0.2}\n{"step": 4, "loss": 2}\n{"step": 6, "lo'
    (tmp_path / "metrics.jsonl").write_text(kept + lost, encoding="utf-8")
    with RunLog(tmp_path, first_step=3, evaluated=2, num_steps=8) as run_log:
        assert [record["step"] for record in run_log.records] == [2, 2, 3]
    assert (tmp_path / "metrics.jsonl").read_text(encoding="utf-8") == kept


@pytest.mark.parametrize(
    "line",
    [
        "", "{}", "[]", "7", "null", '"step"', '{"loss": 1}', '{"step": 1}', '{"step": "1", "loss": 1}', "\0",
        '{"step": [1], "loss": 1}', '{"step": true, "loss": 1}', '{"step": -1, "loss": 1}', '{"step": 1, "loss": [1]}',
        '{"step": 1, "loss": {"a": 1}}', '{"step": 1, "loss": "x"}', '{"step": 1, "mean_iou": []}', '{"step": 1, "lo',
        '{"step": 1, "loss": 1, "lr": {}}', '{"step": 1, "loss": 1e300}', '{"step": 1, "loss": Infinity}',
        '{"step": 1, "loss": 1, "iou": {"a": [1]}}', "[" * 100_000,
        '{"step": 1, "loss": ' + "[" * 500 + "]" * 500 + "}",
        '{"step": 1' + "0" * 5000 + ', "loss": 1}', '{"step": 1e400, "loss": 1}',
    ],
)  # fmt: skip
def test_a_line_that_is_no_record_is_dropped_and_told(tmp_path, capsys, line):
    good = ['{"step": 1, "loss": 1.5, "lr": null}', '{"step": 2, "mean_iou": 0.1, "iou": {"a": null}}']
    (tmp_path / "metrics.jsonl").write_text("\n".join([good[0], line, good[1], ""]), encoding="utf-8")
    with RunLog(tmp_path, first_step=3, evaluated=2, num_steps=8) as log:
        assert [record["step"] for record in log.records] == [1, 2]
        curves(log.records)
    assert "metrics.jsonl: 1 line is no record of a training, and is dropped" in capsys.readouterr().out
    assert (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines() == good


def test_a_full_disk_is_answered_whatever_it_cuts_short(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("add_scalar", "add_image", "close"):
        with monkeypatch.context() as patch, pytest.raises(UserError, match=r"cannot write in .*No space.* --resume"):
            patch.setattr(SummaryWriter, name, full)
            train_tiny(tmp_path, tiny_training())
    monkeypatch.setattr(SummaryWriter, "close", full)
    with pytest.raises(UserError, match="the loss is nan"):  # what came first is what is told
        train_tiny(tmp_path, tiny_training(), loss=failing(1))


def test_a_run_moved_to_a_place_that_is_no_text(tmp_path):
    with pytest.raises(UserError, match="can't be written as text here; rename the run"):
        train_tiny(tmp_path / os.fsdecode(b"\xe5"), tiny_training())


def test_an_evaluation_draws_curves_and_samples(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "curves", visualize.curves)
    train_tiny(tmp_path, tiny_training(), num_steps=3)
    curves, samples = (read_image(tmp_path / name) for name in ("curves.png", "samples/step_0000003.png"))
    assert min(curves.shape[:2]) > 200 and len(np.unique(curves)) > 9
    assert samples.shape[2] == 3 and len(np.unique(samples)) > 9


def test_the_time_of_a_run_is_told(tmp_path, monkeypatch, capsys):
    seconds = iter(range(0, 1000, 7))
    monkeypatch.setattr(log.time, "monotonic", lambda: next(seconds))
    with RunLog(tmp_path, 0, 0, 100, Forecast(0, 100, 100, "advice")) as run_log:
        for step in range(1, 12):
            run_log.advance(step)
    assert capsys.readouterr().out.count("about 12 min for 100 steps, and what evaluations take; done about ") == 1
