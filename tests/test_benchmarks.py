"""Benchmarks are run by hand; these tests hold that they can be."""

import runpy
import sys
from functools import partial

import pytest
import torch
from support import ROOT

from segdla.data.cache import CachedSource

BENCHMARKS = ROOT / "benchmarks"
SCRIPTS = [path for path in sorted(BENCHMARKS.glob("*.py")) if path.stem != "measure"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_each_starts(path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert ended.value.code == 0


def test_waiting_for_data_is_measured(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import data_path

    source = data_path.camera_like(tmp_path, 2, (64, 96))
    CachedSource(source, tmp_path / "cache").build()
    assert 0 <= data_path.starvation(source, tmp_path / "cache", (32, 32), 2, 0, steps=3) < 1


def test_a_training_step_is_measured(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import training_step

    work = (("fp32", "contiguous"), torch.device("cpu"), 2, (32, 64), 1)
    for loop in (training_step.our_loop, training_step.bare_loop):
        loop(partial(training_step.ours, 4), *work)()
