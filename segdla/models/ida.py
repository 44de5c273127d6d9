"""Iterative deep aggregation, upwards: the decoder of the DLA paper.

Over the strides 4, 8, 16, 32 of a backbone, three IDAUps, each over one map more than the one before::

    4  ──────────────────────────────── node ─ node ─ node ─►
    8  ────────────────── node ─ node ───┘      │      │
    16 ──────── node ──────┘      │ ────────────┘      │
    32 ──────────┘ ───────────────┘ ───────────────────┘
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segdla.models.layers import conv_bn_relu, init_weights
from segdla.models.upsample import UPSAMPLERS


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
