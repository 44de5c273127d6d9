"""Two processes over gloo compute the same numbers as one, and end together."""

import json
import signal
import socket

import numpy as np
import pytest
import torch
from distributed_work import (
    choose,
    count,
    die,
    read_until_one_fails,
    read_until_one_is_stopped,
    train_three_steps,
)
from processes import run_together
from support import ROOT, run_tool

from segdla.errors import UserError
from segdla.machine.distributed import process_group

TINY = {
    "data.size": "[32, 48]", "data.crop": "[32, 32]", "data.train": 10, "data.val": 3, "data.workers": 0,
    "model.backbone": "dla46_c", "model.output_stride": 8, "loss.class_weights": "null",
    "train.epochs": 2, "train.batch_size": 4, "train.report_every": 1, "train.device": "cpu",
}  # fmt: skip
OVERRIDES = [f"{key}={value}" for key, value in TINY.items()]
QUICKSTART = ROOT / "configs" / "quickstart.yaml"
RARE_ONES_COUNT = torch.linspace(0, 20, 9)  # a class more than the one before


@pytest.mark.parametrize("class_weights", [None, RARE_ONES_COUNT], ids=["alike", "weighted"])
@pytest.mark.parametrize(("world_size", "accumulate"), [(1, 2), (1, 4), (2, 1), (2, 2)])
def test_steps_are_those_of_one_process_with_the_whole_batch(tmp_path, world_size, accumulate, class_weights):
    for name in ("one", "parts"):
        (tmp_path / name).mkdir()
    train_three_steps(tmp_path / "one", 1, class_weights)
    state, losses = torch.load(tmp_path / "one" / "0.pt")
    if world_size == 1:
        train_three_steps(tmp_path / "parts", accumulate, class_weights)
    else:
        assert run_together(train_three_steps, tmp_path / "parts", accumulate, class_weights) == [0, 0]
    for rank in range(world_size):
        same_state, same_losses = torch.load(tmp_path / "parts" / f"{rank}.pt")
        torch.testing.assert_close(same_losses, losses)
        for name, tensor in state.items():
            torch.testing.assert_close(same_state[name], tensor)


def test_the_confusion_matrix_is_that_of_one_process(tmp_path):
    count(tmp_path)
    assert run_together(count, tmp_path) == [0, 0]
    whole = torch.load(tmp_path / "1_0.pt")
    assert whole.sum() == 7 * 32 * 48  # every pixel once: seven images are no even number of them
    assert torch.equal(torch.load(tmp_path / "2_0.pt"), whole)
    assert torch.equal(torch.load(tmp_path / "2_1.pt"), whole)


def test_one_that_cannot_read_ends_all(tmp_path):
    assert run_together(read_until_one_fails, tmp_path) == [0, 0]
    assert json.loads((tmp_path / "0.json").read_text()) == [[0, 1], "PeerError"]
    assert json.loads((tmp_path / "1.json").read_text()) == [[0, 1], "UserError"]


def test_a_signal_to_one_stops_all_after_the_same_step(tmp_path):
    assert run_together(read_until_one_is_stopped, tmp_path) == [0, 0]
    for rank in range(2):
        assert json.loads((tmp_path / f"0{rank}.json").read_text()) == [0, 1, 2, 3]


def test_one_that_is_killed_leaves_no_other_waiting():
    first, second = run_together(die)
    assert first != 0 and second == -signal.SIGKILL


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


def test_a_process_that_is_alone_says_so(monkeypatch):
    monkeypatch.setenv("SEGDLA_COLLECTIVE_TIMEOUT", "1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(UserError, match=r"began within 1 s|have not begun within 1 s"), process_group():
        pass
