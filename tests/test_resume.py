"""A run can't be lost: killed anywhere, resumed, and equal to the run that was not."""

import json
import random
import time

import torch
from conftest import run_tool
from processes import start

from segdla.checkpoint import read_weights

NUM_KILLS = 20
TINY = (
    "data: {dataset: scenes, size: [32, 48], crop: [32, 32], train: 10, val: 2, workers: 0}\n"
    "model: {backbone: dla46_c, output_stride: 8}\n"
    "train: {epochs: 4, batch_size: 4, accumulate: 2, optimizer: adamw, lr: 0.001, ema: 0.9, clip_norm: 1,\n"
    "        warmup_steps: 4, eval_every: 2, report_every: 1, save_every: 1, device: cpu}\n"
)


def begin(folder, *argv):
    return start(run_tool, "train", "--runs", folder, *argv)


def records(run):
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    timeless = {"step", "epoch", "loss", "lr", "mean_iou", "iou"}
    return [{key: value for key, value in json.loads(line).items() if key in timeless} for line in lines]


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    else:
        assert one == other


def assert_same_run(one, other):
    assert_same(*(torch.load(run / "last.pt", weights_only=True) for run in (one, other)))
    assert_same(*(read_weights(run / "best.safetensors").state_dict for run in (one, other)))
    assert records(one) == records(other)


def test_killed_twenty_times_and_resumed_to_the_same_bits(tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY, encoding="utf-8")
    start(time.sleep, 0).join()  # what processes are forked from has to start first
    started = time.monotonic()
    whole = begin(tmp_path, config, "--name", "whole")
    whole.join()
    life = time.monotonic() - started
    assert whole.exitcode == 0

    draw = random.Random(0)
    kills, runs = 0, 1
    while True:
        run = tmp_path / f"killed {runs}"
        going_on = (run / "config.yaml").exists()
        process = begin(tmp_path, *(("--resume", run) if going_on else (config, "--name", run.name)))
        process.join(draw.uniform(0, life) if kills < NUM_KILLS else None)
        if process.is_alive():
            process.kill()
            process.join()
            kills += 1
            continue
        assert process.exitcode == 0
        assert_same_run(tmp_path / "whole", run)
        if kills == NUM_KILLS:
            return
        runs += 1
