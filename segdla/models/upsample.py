"""The decoder's upsampling: (B,C,H,W) to (B,C,fH,fW), by an even factor f."""

import os
import shutil
import sysconfig
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def bilinear_kernel(factor: int) -> Tensor:
    """Return the weights (2f,2f) with which a transposed convolution of stride f interpolates bilinearly."""
    ramp = 1 - (torch.arange(2 * factor) + 0.5 - factor).abs() / factor
    return ramp[:, None] * ramp[None, :]


@cache
def register_kernels() -> bool:
    """Register ``torch.ops.segdla.upsample2`` if this machine can use it, and return whether it can.

    Triton, which does not exist for Windows, needs a C compiler and Python's headers, which slim containers lack. It
    also needs a writable cache folder and a GPU of 2017 or later.
    """
    has_compiler = any(map(shutil.which, (os.environ.get("CC", "gcc"), "clang")))
    has_headers = (Path(sysconfig.get_path("include")) / "Python.h").exists()
    if not (torch.cuda.is_available() and find_spec("triton") and has_compiler and has_headers):
        return False
    if torch.cuda.get_device_capability() < (7, 0):
        return False
    from triton.runtime.cache import get_cache_manager

    try:
        get_cache_manager("00")
    except OSError:  # the home folder is missing or not writable
        return False
    from segdla.models import upsample_cuda  # noqa: F401

    return True


class LearnedUpsample(nn.ConvTranspose2d):
    """Depthwise transposed convolution that starts as bilinear interpolation: (B,C,H,W) to (B,C,fH,fW)."""

    def __init__(self, channels: int, factor: int):
        assert factor % 2 == 0, f"factor {factor}: an odd one would not give fH x fW"
        super().__init__(
            channels, channels, 2 * factor, stride=factor, padding=factor // 2, groups=channels, bias=False
        )
        with torch.no_grad():
            self.weight.copy_(bilinear_kernel(factor).expand_as(self.weight))
        self.has_kernels = factor == 2 and register_kernels()

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # the factor fixes the output's size
        if self.has_kernels and x.is_cuda and x.dtype != torch.float64:
            return torch.ops.segdla.upsample2(x, self.weight)
        if x.device.type == "cpu" and x.dtype == torch.bfloat16:
            # For this kind of convolution, bf16 on a CPU takes a path eight times slower than float32's.
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float()).to(x.dtype)
        return super().forward(x)


class BilinearUpsample(nn.Module):
    """Fixed bilinear interpolation: (B,C,H,W) to (B,C,fH,fW)."""

    def __init__(self, channels: int, factor: int):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[-2] * self.factor, x.shape[-1] * self.factor)
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


UPSAMPLERS = {"learned": LearnedUpsample, "bilinear": BilinearUpsample}
