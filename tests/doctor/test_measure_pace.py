import time

import numpy as np
import pytest
import torch
from support import write

from segdla.doctor import measure_pace as module
from segdla.doctor.measure_pace import measure_pace


@pytest.fixture
def pairs(tmp_path):
    write(tmp_path / "image.png", np.zeros((20, 30, 3), np.uint8))
    write(tmp_path / "mask.png", np.zeros((20, 30), np.uint8))
    return [(tmp_path / "image.png", tmp_path / "mask.png")] * 9


def test_the_pace_is_measured_in_the_faster_precision_and_leaves_no_trace(pairs, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS", 0)
    monkeypatch.setattr(module, "_BATCH", (2, 64, 64))
    monkeypatch.setattr(module, "choose_device", lambda name: torch.device("cpu"))
    monkeypatch.setattr(module, "choose_precision", lambda name, device: name)
    times = {"bf16": 7.0, "fp32": 3.0}
    monkeypatch.setattr(module, "_step_seconds", lambda device, precision, classes: times[precision])
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    pace = measure_pace(pairs, 3)
    assert (pace.device, pace.precision, pace.step) == ("cpu", "fp32", 3.0)
    assert 0 < pace.pair < 1
    monkeypatch.undo()
    monkeypatch.setattr(module, "_SECONDS", 0)
    monkeypatch.setattr(module, "_BATCH", (2, 64, 64))
    assert 0 < module._step_seconds(torch.device("cpu"), "fp32", 3) < 1000
    assert torch.get_num_threads() == threads and torch.equal(torch.random.get_rng_state(), state)


def test_threads_that_wait_for_each_other_do_not_count(monkeypatch):
    monkeypatch.setattr(module, "_SECONDS", 0)
    sleeping = module._fastest(lambda: time.sleep(0.05), torch.device("cpu"))  # takes no processor time
    assert sleeping < 0.02


def test_a_gpu_without_memory_is_answered(pairs, monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(module, "_step_seconds", fail)
    with pytest.raises(module.UserError, match="has no memory left for a training step; free it, or draft for the"):
        measure_pace(pairs, 3)
