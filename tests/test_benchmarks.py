"""Benchmarks are run by hand; these hold that they can be."""

import subprocess
import sys

import pytest
from conftest import ROOT

from segdla.data.cache import CachedSource

BENCHMARKS = ROOT / "benchmarks"


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_each_starts(path):
    done = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_waiting_for_data_is_measured(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import data_path

    source = data_path.camera_like(tmp_path, 2, (64, 96))
    CachedSource(source, tmp_path / "cache").build()
    assert 0 <= data_path.starvation(source, tmp_path / "cache", (32, 32), 2, 0, steps=3) < 1
