"""Iterative deep aggregation, upwards: the decoder of the DLA paper.

Over the strides 4, 8, 16, 32 of a backbone, three IDAUps, each over one map more than the one before::

    4  ──────────────────────────────── node ─ node ─ node ─►
    8  ────────────────── node ─ node ───┘      │      │
    16 ──────── node ──────┘      │ ────────────┘      │
    32 ──────────┘ ───────────────┘ ───────────────────┘
"""

from collections.abc import Sequence
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdla.models.layers import conv_bn_relu, init_weights


def bilinear_kernel(factor: int) -> Tensor:
    """Weights (2f, 2f) with which a transposed convolution of stride f interpolates bilinearly."""
    ramp = 1 - (torch.arange(2 * factor) + 0.5 - factor).abs() / factor
    return ramp[:, None] * ramp[None, :]


def register_kernels() -> bool:
    """Whether this machine can use ``torch.ops.segdla.upsample2``, which then is there."""
    if not torch.cuda.is_available() or find_spec("triton") is None:  # on Windows there is no Triton
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

    def forward(self, x: Tensor) -> Tensor:
        if self.has_kernels and x.is_cuda and x.dtype != torch.float64:
            return torch.ops.segdla.upsample2(x, self.weight)
        if x.device.type == "cpu" and x.dtype == torch.bfloat16:
            # In bf16 a CPU computes this, of all convolutions, by a path eight times slower than in float32.
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


class IDAUp(nn.Module):
    """One iterative aggregation: projects and upsamples every map to the first one's shape, then merges one by one.

    ``in_channels`` and ``factors`` describe the maps, shallowest first; ``factors[0]`` is 1.
    """

    def __init__(self, out_channels: int, in_channels: Sequence[int], factors: Sequence[int], upsample: str):
        super().__init__()
        self.projs = nn.ModuleList(
            nn.Identity() if c == out_channels else nn.Sequential(*conv_bn_relu(c, out_channels)) for c in in_channels
        )
        self.ups = nn.ModuleList(nn.Identity() if f == 1 else UPSAMPLERS[upsample](out_channels, f) for f in factors)
        self.nodes = nn.ModuleList(
            nn.Sequential(*conv_bn_relu(2 * out_channels, out_channels, 3)) for _ in in_channels[1:]
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        x, *rest = (up(proj(f)) for f, proj, up in zip(features, self.projs, self.ups, strict=True))
        merged = []
        for node, y in zip(self.nodes, rest, strict=True):
            x = node(torch.cat([x, y], dim=1))
            merged.append(x)
        return merged  # one shorter than features, all at the first one's shape


class DLAUp(nn.Module):
    """The decoder: maps of the given channels and strides, shallowest first, to one at the first one's shape.

    Each stride must be an even multiple of the one before it, or equal to it.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], upsample: str = "learned"):
        super().__init__()
        assert len(channels) == len(strides) > 1, f"channels {channels}, strides {strides}"
        channels, strides = list(channels), list(strides)
        self.out_channels = channels[0]
        self.idas = nn.ModuleList()
        for i in range(len(channels) - 2, -1, -1):
            factors = [stride // strides[i] for stride in strides[i:]]
            self.idas.append(IDAUp(channels[i], channels[i:], factors, upsample))
            channels[i + 1 :] = [channels[i]] * len(channels[i + 1 :])
            strides[i + 1 :] = [strides[i]] * len(strides[i + 1 :])
        init_weights(self)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        features = list(features)
        for i, ida in enumerate(self.idas, start=1):
            features[-i:] = ida(features[-i - 1 :])
        return features[-1]
