"""A run of seconds, and what it means that two runs are the same."""

import json

import torch

from segdla.checkpoint import read_weights

TINY = (
    "data: {dataset: scenes, size: [32, 48], crop: [32, 32], train: 10, val: 2, workers: 0}\n"
    "model: {backbone: dla46_c, output_stride: 8}\n"
    "train: {epochs: 4, batch_size: 4, accumulate: 2, optimizer: adamw, lr: 0.001, ema: 0.9, clip_norm: 1,\n"
    "        warmup_steps: 4, eval_every: 2, report_every: 1, save_every: 1, device: cpu}\n"
)


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
