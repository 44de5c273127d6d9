"""A run fits into minutes: the arithmetic by hand, the rehearsal without a trace, the same weights as by steps."""

import os
import signal

import pytest
import torch
import yaml
from distributed_work import train_for_minutes
from processes import run_together
from tiny_run import TINY, assert_same_run, use_small_networks

import segdla
from segdla.config import parse
from segdla.errors import UserError
from segdla.evaluation.confusion import ConfusionMatrix
from segdla.training.budget import rehearsal, time_budget
from segdla.training.budget.time_budget import Times, most_steps, run_seconds
from segdla.training.losses import cross_entropy

TIMES = Times(step=2.0, evaluation=7.0, saving=0.5)


@pytest.mark.parametrize(
    ("num_steps", "seconds"),
    [
        (1, 2 + 7 + 2 * 0.5),  # an evaluation at the end, and a saving before and after it
        (10, 20 + 7 + 2 * 0.5),
        (11, 22 + 2 * (7 + 2 * 0.5)),
        (25, 50 + 3 * (7 + 2 * 0.5) + 0.5),  # one more after 20 steps
    ],
)
def test_the_time_of_a_run_by_hand(num_steps, seconds):
    assert run_seconds(TIMES, num_steps, steps_between=10, save_every=20) == seconds
    assert most_steps(TIMES, seconds, 10, 20) == num_steps
    assert most_steps(TIMES, seconds - 0.01, 10, 20) == num_steps - 1


def test_too_short_a_time_is_answered_with_the_least():
    with pytest.raises(
        UserError, match=r"train\.minutes 0\.1 is too short: 5 s to set up.* raise it to 0\.25 at least"
    ):
        time_budget.fit(TIMES, 0.1, spent=5, steps_between=10, save_every=20)


def test_what_is_spent_is_taken_off():
    num_steps, line = time_budget.fit(TIMES, 1, spent=32, steps_between=10, save_every=100)
    assert num_steps == 10  # 28 s are left
    assert line.startswith("1 min (train.minutes) are 10 steps of 2 s and 1 evaluation of 7 s, 32 s having gone; done")


@pytest.fixture
def tiny(monkeypatch):
    """``tiny(steps)`` gives a config that trains for minutes, into which so many steps will be said to fit."""
    use_small_networks(monkeypatch)
    monkeypatch.setattr(rehearsal, "_SHORTEST", 0.0)

    def config(steps, **train):
        monkeypatch.setattr(rehearsal, "fit", lambda *_: (steps, f"{steps} steps fit"))
        values = yaml.safe_load(TINY)
        return segdla.Config.model_validate({**values, "train": {**values["train"], "minutes": 0.1, **train}})

    return config


def by_steps(config, steps, **train):
    """The same run, whose number of steps is known from the start."""
    values = config.model_dump()
    return segdla.Config.model_validate({**values, "train": {**values["train"], "minutes": None, "steps": steps}})


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_rehearsal_leaves_no_trace(tiny, tmp_path, optimizer):
    config = tiny(20, optimizer=optimizer)
    fitted = segdla.train(config, name="minutes", runs=tmp_path).folder
    told = segdla.load_config(fitted / "config.yaml").train
    assert (told.minutes, told.steps, told.warmup_steps) == (0.1, 20, 2)  # of 4 that were asked for
    whole = by_steps(config, 20)
    whole = segdla.train(whole, {"train.warmup_steps": 2}, name="steps", runs=tmp_path).folder
    assert_same_run(fitted, whole)
    assert {path.name.split(".")[0] for path in fitted.iterdir()} == {
        path.name.split(".")[0] for path in whole.iterdir()
    }


def test_a_resumed_run_keeps_its_number_of_steps(tiny, tmp_path, monkeypatch):
    whole = segdla.train(tiny(14), name="whole", runs=tmp_path).folder
    begun = tmp_path / "begun"  # killed before its first state
    begun.mkdir()
    (begun / "config.yaml").write_bytes((whole / "config.yaml").read_bytes())
    monkeypatch.setattr(rehearsal, "rehearse", lambda *_: pytest.fail("rehearsed again"))
    segdla.resume(begun)
    assert_same_run(whole, begun)


def test_more_minutes_are_fitted_anew(tiny, tmp_path):
    folder = segdla.train(tiny(6), name="mine", runs=tmp_path).folder
    with pytest.raises(UserError, match=r"mine has done its 6 steps; to go on, add train\.steps=12"):
        segdla.resume(folder)
    with pytest.raises(UserError, match="has done its 5 steps"):
        tiny(5)
        segdla.resume(folder, {"train.minutes": 0.2})
    assert segdla.load_config(folder / "config.yaml").train.steps == 6
    tiny(9)
    segdla.resume(folder, {"train.minutes": 0.3})
    assert torch.load(folder / "last.pt", weights_only=True)["step"] == 9


def test_a_stop_while_rehearsing_leaves_a_run_to_resume(tiny, tmp_path):
    calls = []

    def interrupted(logits, targets):
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return cross_entropy(logits, targets)

    stopped = segdla.train(tiny(8), name="stopped", runs=tmp_path, loss=interrupted)
    assert not stopped.finished and len(calls) == 6  # a step has two parts
    assert sorted(path.name for path in stopped.folder.iterdir()) == [".launch.json", ".lock", "config.yaml"]
    assert segdla.resume(stopped, loss=cross_entropy).finished
    assert_same_run(stopped.folder, segdla.train(tiny(8), name="whole", runs=tmp_path, loss=cross_entropy).folder)


def test_an_error_while_rehearsing_leaves_no_run(tiny, tmp_path):
    with pytest.raises(UserError, match="the loss is nan"):
        segdla.train(tiny(8), name="mine", runs=tmp_path, loss=lambda logits, targets: logits.sum() * float("nan"))
    assert not (tmp_path / "mine").exists()


def test_the_few_images_of_a_rehearsal_need_no_label(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(ConfusionMatrix, "update", lambda *_: None)
    with pytest.raises(UserError, match="no labelled pixel"):
        segdla.train(tiny(2), name="mine", runs=tmp_path)
    assert torch.load(tmp_path / "mine" / "last.pt", weights_only=True)["step"] == 2  # the run's own evaluation


def test_the_fit_is_of_what_is_timed(tiny, tmp_path, monkeypatch):
    config, seen = tiny(3), []
    monkeypatch.setattr(rehearsal, "fit", lambda *args: seen.append(args) or (3, ""))
    segdla.train(config, name="mine", runs=tmp_path)
    ((times, minutes, spent, steps_between, save_every),) = seen
    assert all(0 < seconds < spent for seconds in times)
    assert (minutes, steps_between, save_every) == (0.1, 6, 500)  # three epochs of two steps


@pytest.mark.parametrize("validated", [2, 1])  # the second process then has none of them
def test_two_processes_fit_the_same_number(tmp_path, validated):
    values = yaml.safe_load(TINY)
    values["data"]["val"] = validated
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(values), encoding="utf-8")
    assert run_together(train_for_minutes, config, tmp_path) == [0, 0]
    assert segdla.load_config(tmp_path / "tiny" / "config.yaml").train.steps == 3
    assert torch.load(tmp_path / "tiny" / "last.pt", weights_only=True)["evaluated"] == 3


def test_milestones_and_minutes_exclude_each_other():
    with pytest.raises(UserError, match="milestones are epochs, and how many epochs minutes hold is not known"):
        parse({"data": {"dataset": "scenes"}}, {"train.minutes": 3, "train.schedule": "step", "train.milestones": [2]})
