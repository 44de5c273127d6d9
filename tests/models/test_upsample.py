import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from segdla.models import upsample
from segdla.models.upsample import LearnedUpsample


def test_learned_upsampling_starts_as_bilinear_interpolation():
    up = LearnedUpsample(3, 2)
    x = torch.randn(1, 3, 6, 5)
    expected = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(up(x)[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])  # its border pads with zeros


def test_upsampling_in_bf16_is_that_of_float32_rounded():
    up = LearnedUpsample(3, 2)
    x = torch.randn(1, 3, 6, 5).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        out = up(x)
    assert torch.equal(out, up(x.float()).bfloat16())


@pytest.mark.skipif(find_spec("triton") is None, reason="there is no Triton for this system")
def test_kernels_compute_the_transposed_convolution_and_its_gradients():
    """On a CPU, in Triton's interpreter, which must be chosen before Triton is imported."""
    script = Path(__file__).parents[1] / "interpreted_kernels.py"
    subprocess.run([sys.executable, script], env={**os.environ, "TRITON_INTERPRET": "1"}, check=True)


@pytest.mark.parametrize("lacking", ["a compiler", "the headers", "a cache folder"])
def test_without_what_triton_needs_there_are_no_kernels(lacking, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(upsample.shutil, "which", lambda name: None if lacking == "a compiler" else name)
    headers = tmp_path / "none" if lacking == "the headers" else tmp_path
    monkeypatch.setattr(upsample.sysconfig, "get_path", lambda name: str(headers))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "Python.h" / "cache"))  # below a file
    assert not upsample.register_kernels.__wrapped__()  # past the cache of its answer
