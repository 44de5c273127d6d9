"""Loggers: what they get, that none stops a run, and that a resumed run goes on in the same record."""

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
import yaml
from tiny_run import TINY, assert_same_run, use_small_networks

import segdla
from segdla.training import loggers
from segdla.training.loggers import LOGGERS, Logger


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch):
    use_small_networks(monkeypatch)


def config(*names, **train):
    values = yaml.safe_load(TINY)
    values["train"] |= {"epochs": 3, "logger": list(names), **train}
    return segdla.Config.model_validate(values)


class Noted:
    """A logger that notes all, and fails at the step and in the call that it is told to."""

    def __init__(self, monkeypatch, fails_in=None):
        self.scalars, self.pictures, self.opened, self.closed, self.calls = [], [], [], 0, 0
        self.fails_in = fails_in
        monkeypatch.setitem(LOGGERS, "wandb", self.open)
        monkeypatch.setattr(loggers, "find_spec", lambda name: name)

    def fail(self, call):
        self.calls += 1
        if call == self.fails_in:
            raise ConnectionError("no way\nto the server")

    def open(self, record):
        self.opened.append(record)
        self.fail("open")
        return Logger("id 7", self.note, self.picture, self.close)

    def note(self, values, step):
        self.scalars.append((step, values))
        self.fail("scalars")

    def picture(self, name, pixels, step):
        self.pictures.append((name, step, pixels.ndim))
        self.fail("picture")

    def close(self):
        self.closed += 1
        self.fail("close")


def test_a_logger_gets_the_numbers_of_metrics_jsonl(tmp_path, monkeypatch):
    noted = Noted(monkeypatch)
    folder = segdla.train(config("wandb"), runs=tmp_path, name="mine").folder
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [step for step, _ in noted.scalars] == [record["step"] for record in records]
    for (_, values), record in zip(noted.scalars, records, strict=True):
        key = "loss" if "loss" in record else "mean_iou"
        assert values[f"{'train' if key == 'loss' else 'val'}/{key}"] == record[key]
    assert noted.scalars[-1][1]["val/iou/sky"] == records[-1]["iou"]["sky"]
    assert noted.pictures == [("val/samples", 6, 3)]
    assert noted.closed == 1
    (record,) = noted.opened
    assert (record.folder, record.settings["train"]["lr"], record.known) == (folder, 0.001, None)
    assert not list(folder.glob("*tfevents*"))  # which were not asked for


@pytest.mark.parametrize("call", ["open", "scalars", "picture", "close"])
def test_a_logger_that_fails_is_told_once_and_stops_no_run(tmp_path, monkeypatch, capsys, call):
    noted = Noted(monkeypatch, call)
    failing = segdla.train(config("tensorboard", "wandb"), runs=tmp_path, name="failing")
    assert failing.finished
    printed = capsys.readouterr().out
    assert printed.count("wandb fails, and records no more of this run: no way to the server") == 1
    assert {"open": 1, "scalars": 2}.get(call, noted.calls) == noted.calls  # then it is used no more
    assert_same_run(failing.folder, segdla.train(config(), runs=tmp_path, name="alone").folder)


@pytest.mark.parametrize("damage", [None, "{", "[]", '{"wandb": 7}'])
def test_a_resumed_run_goes_on_in_its_record(tmp_path, monkeypatch, damage):
    noted = Noted(monkeypatch)
    folder = segdla.train(config("wandb"), runs=tmp_path, name="mine").folder
    if damage:
        (folder / "loggers.json").write_text(damage, encoding="utf-8")
    segdla.resume(folder, {"train.epochs": 6})
    assert [record.known for record in noted.opened] == [None, None if damage else "id 7"]
    assert [record.first_step for record in noted.opened] == [0, 6]


def test_a_missing_package_is_answered_before_anything_else(two_folders, fails, monkeypatch, tmp_path):
    monkeypatch.setattr(loggers, "find_spec", lambda name: None if name == "mlflow" else name)
    message = fails("train", two_folders, "train.logger=[tensorboard, mlflow]")
    assert 'train.logger names mlflow, which is not installed; pip install "segdla[mlflow]", or leave it out' in message
    assert not (tmp_path / "runs").exists()


def in_a_process_of_its_own(folder, *argv):
    """``segdla train`` with the libraries' own ways of working without a network; returns what it prints."""
    missing = str(folder / "no such server")
    variables = {
        "WANDB_MODE": "offline", "WANDB_SILENT": "true", "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "TRACKIO_DIR": str(folder / "trackio"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HTTPS_PROXY": missing,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "segdla", "train", *map(str, argv)],
        cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "fails, and records no more" not in done.stdout, done.stdout


@pytest.fixture
def twice(tmp_path):
    """``twice(name)`` trains with a logger for a step, resumes to the second, and returns the run's folder."""

    def train(name):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f'needs {name}: pip install "segdla[{name}]"')
        path = tmp_path / "tiny.yaml"
        path.write_text(TINY, encoding="utf-8")
        in_a_process_of_its_own(tmp_path, path, f"train.logger=[{name}]", "train.steps=1", "train.ema=null")
        in_a_process_of_its_own(tmp_path, "--resume", "runs/tiny", "train.steps=2")
        return tmp_path / "runs" / "tiny"

    return train


def test_wandb_keeps_a_record_offline(twice):
    folder = twice("wandb")
    name = json.loads((folder / "loggers.json").read_text(encoding="utf-8"))["wandb"]
    assert len(list(folder.glob(f"wandb/offline-run-*-{name}/run-{name}.wandb"))) == 2  # one of each part, to be synced


def test_mlflow_keeps_one_record_in_a_file(twice, tmp_path):
    folder = twice("mlflow")
    name = json.loads((folder / "loggers.json").read_text(encoding="utf-8"))["mlflow"]
    with sqlite3.connect(tmp_path / "mlflow.db") as base:
        rows = base.execute("select run_uuid, step from metrics where key = 'train/loss' order by step").fetchall()
        assert rows == [(name, 1), (name, 2)]
        assert base.execute("select value from params where key = 'lr'").fetchall() == [("0.001",)]
    base.close()


def test_trackio_keeps_one_record_in_a_file(twice, tmp_path):
    twice("trackio")
    with sqlite3.connect(tmp_path / "trackio" / "segdla.db") as base:
        rows = base.execute("select distinct run_name, step from metrics order by step").fetchall()
    base.close()
    assert rows == [("tiny", 1), ("tiny", 2)]


def test_a_full_disk_is_told_once_and_not_by_tensorboards_thread(tmp_path, monkeypatch, capfd):
    from tensorboard.summary.writer.record_writer import RecordWriter

    def full(self, content):
        raise OSError(28, "No space left on device")

    before = threading.excepthook
    record = loggers.Loggers(["tensorboard"], tmp_path, {}, 0)
    monkeypatch.setattr(RecordWriter, "write", full)
    with pytest.raises(OSError, match="No space left"):
        for step in range(1000):
            record.scalars({"loss": 1.0}, step)
            time.sleep(0.01)
    with pytest.raises(OSError, match="No space left"):
        record.close()
    assert capfd.readouterr().err == ""
    assert threading.excepthook is before
