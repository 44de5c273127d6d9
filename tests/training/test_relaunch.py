"""Runs that torchrun starts again, and those that a cluster asks to stop."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import pytest
import torch
from support import ROOT
from tiny_run import TINY, assert_same_run

from segdla.errors import UserError
from segdla.machine import distributed
from segdla.training.relaunch import Launch, interrupted, same_parts

OURS = ("host none_abc",)
LONG = TINY.replace("epochs: 6", "epochs: 30").replace("accumulate: 2", "accumulate: 1, save_every: 5, logger: []")


@pytest.fixture
def torchrun(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "host")
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", "/tmp/torchelastic_x/none_abc/attempt_1/0/error.json")


@pytest.mark.parametrize(
    ("processes", "accumulate", "now", "expected"),
    [(2, 1, 2, 1), (2, 1, 1, 2), (1, 2, 2, 1), (8, 1, 3, 4), (8, 3, 3, 8), (1, 1, 6, 1), (3, 2, 4, 2), (12, 4, 1, 48)],
)
def test_parts_stay_as_large_where_the_number_of_processes_changes(
    tmp_path, monkeypatch, processes, accumulate, now, expected
):
    Launch((), "1", processes).write(tmp_path)
    monkeypatch.setattr(distributed, "world_size", lambda: now)
    assert same_parts(tmp_path, 48, accumulate) == expected


def test_processes_that_a_batch_cannot_be_dealt_out_to_are_answered(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    assert same_parts(tmp_path, 16, 2) == 2  # nothing is known of the run; the config's own check answers
    Launch((), "1", 4).write(tmp_path)
    with pytest.raises(UserError, match=r"batch_size 16, which can't be dealt out .* 3 processes; .*: 1, 2, 4, 8, 16$"):
        same_parts(tmp_path, 16, 2)


def test_a_run_is_found_by_the_torchrun_that_began_it(torchrun, tmp_path):
    def run(name, torchruns=OURS, process="host 1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()
        Launch(torchruns, process, 1).write(tmp_path / name)

    def found(name=None):
        path = interrupted(tmp_path, name, "mine", "config.yaml")
        return path and path.name

    assert Launch.here().torchruns == OURS
    run("mine", ("host none_xyz",))  # another torchrun's
    run("mine-2", process=Launch.here().process)  # this process's own, as of a program that trains twice
    run("mine-tuned")
    assert found() is None
    run("mine-10")
    run("mine-9", (*OURS, "lost none_def"))  # a machine of two was lost
    assert found() == "mine-9" and found("mine-10") == "mine-10" and found("mine") is None
    (tmp_path / "mine-9" / "config.yaml").unlink()
    (tmp_path / "mine-10" / ".launch.json").write_text("{")
    assert found() is None


def command(folder, *words):
    return [*words, "-m", "segdla", "train", folder / "tiny.yaml", "--runs", folder]


def begin(folder, name, *options):
    """Start a training in two processes, of which torchrun is the parent."""
    (folder / "tiny.yaml").write_text(LONG, encoding="utf-8")
    torchrun = command(folder, sys.executable, "-m", "torch.distributed.run", *options)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*torchrun, "--name", name], cwd=ROOT, env=environment)


def children(process):
    """The processes that torchrun started, by their rank."""
    path = f"/proc/{process.pid}/task/{process.pid}/children"
    with open(path) as file:  # noqa: PTH123
        return [int(word) for word in file.read().split()]


def wait_for_step(run, step):
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8") if (run / "metrics.jsonl").exists() else ""
        if f'"step": {step}, ' in lines:
            return
        time.sleep(0.05)
    pytest.fail(f"{run} has not come to step {step}")


needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


TWO = ("--nproc_per_node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An undisturbed run in two processes."""
    folder = tmp_path_factory.mktemp("whole")
    assert begin(folder, "whole", *TWO).wait(900) == 0
    return folder / "whole"


@pytest.mark.slow
@needs_linux
def test_a_worker_that_is_killed_is_replaced_and_the_run_ends_with_the_same_bits(tmp_path, whole):
    killed = begin(tmp_path, "killed", *TWO, "--max-restarts", "3")
    wait_for_step(tmp_path / "killed", 12)
    os.kill(children(killed)[0], signal.SIGKILL)  # the one that saves
    assert killed.wait(900) == 0
    assert_same_run(whole, tmp_path / "killed")


@pytest.mark.slow
@needs_linux
def test_a_machine_that_is_lost_leaves_the_run_to_the_other_one(tmp_path):
    options = ("--nnodes", "1:2", "--nproc_per_node", "1", "--max-restarts", "3", "--rdzv-backend", "c10d")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options += ("--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "lost")
    first = begin(tmp_path, "lost", *options)
    while True:  # until it holds the rendezvous, which is not to be lost
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
    second = begin(tmp_path, "lost", *options)
    wait_for_step(tmp_path / "lost", 12)
    for pid in (second.pid, *children(second)):  # the whole machine
        os.kill(pid, signal.SIGKILL)
    second.wait()
    assert first.wait(900) == 0
    assert torch.load(tmp_path / "lost" / "last.pt", weights_only=True)["evaluated"] == 60
    assert "accumulate: 2" in (tmp_path / "lost" / "config.yaml").read_text(encoding="utf-8")


@pytest.mark.slow
@needs_linux
def test_a_notice_to_one_process_stops_all_and_is_resumed(tmp_path, whole):
    stopped = begin(tmp_path, "stopped", *TWO)
    wait_for_step(tmp_path / "stopped", 12)
    started = time.monotonic()
    os.kill(children(stopped)[1], signal.SIGUSR1)
    assert stopped.wait(900) != 0
    assert time.monotonic() - started < 30
    assert 12 <= torch.load(tmp_path / "stopped" / "last.pt", weights_only=True)["step"] < 60
    words = [sys.executable, "-m", "torch.distributed.run", *TWO, "-m", "segdla", "train"]
    subprocess.run([*words, "--resume", tmp_path / "stopped"], cwd=ROOT, check=True)
    assert_same_run(whole, tmp_path / "stopped")


@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 75), ("SIGUSR1", 75), ("SIGINT", 130)])
def test_the_exit_status_says_whether_to_resume(tmp_path, monkeypatch, number, status):
    from support import run_tool
    from tiny_run import use_small_networks

    from segdla.training import loop

    def stopped_step(*args):
        os.kill(os.getpid(), getattr(signal, number))
        return take_step(*args)

    use_small_networks(monkeypatch)
    take_step = loop.take_step
    monkeypatch.setattr(loop, "take_step", stopped_step)
    (tmp_path / "tiny.yaml").write_text(LONG, encoding="utf-8")
    assert run_tool("train", tmp_path / "tiny.yaml", "--runs", tmp_path, "--name", "run") == status
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["step"] == 1
    assert json.loads((tmp_path / "run" / ".launch.json").read_text(encoding="utf-8"))["world_size"] == 1
