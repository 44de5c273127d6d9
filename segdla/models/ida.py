"""Iterative deep aggregation, upwards: the decoder of the DLA paper.

Over strides 4, 8, 16 and 32 of a backbone there are three IDAUps, each over one map more than the one before::

    4  ──────────────────────────────── node ─ node ─ node ─►
    8  ────────────────── node ─ node ───┘      │      │
    16 ──────── node ──────┘      │ ────────────┘      │
    32 ──────────┘ ───────────────┘ ───────────────────┘
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from segdla.models.layers import conv_bn_relu, init_weights
from segdla.models.upsample import LearnedUpsample

Node = Callable[[int], nn.Module]
"""Builds an aggregation node for C channels: a module that merges two maps (B,C,H,W) into one."""

Upsampler = Callable[[int, int], nn.Module]
"""Builds a module for C channels and a factor f: it upsamples (B,C,H,W) to (B,C,fH,fW)."""


class ConcatNode(nn.Sequential):
    """The paper's aggregation node: concatenation, 3x3 convolution, batch normalisation, ReLU.

    It is a ``Sequential`` because trained weights are named like one's: ``nodes.0.0.weight``.
    """

    def __init__(self, channels: int):
        super().__init__(*conv_bn_relu(2 * channels, channels, 3))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]  # a node has two inputs, not one
        return super().forward(torch.cat([x, y], dim=1))  # (B,2C,H,W) to (B,C,H,W)


class IDAUp(nn.Module):
    """One iterative aggregation: project and upsample every map to the shape of the first, then merge one by one.

    ``in_channels`` and ``factors`` describe the maps, shallowest first; ``factors[0]`` is 1.
    """

    def __init__(
        self, out_channels: int, in_channels: Sequence[int], factors: Sequence[int], upsampler: Upsampler, node: Node
    ):
        super().__init__()
        self.projs = nn.ModuleList(
            nn.Identity() if c == out_channels else nn.Sequential(*conv_bn_relu(c, out_channels)) for c in in_channels
        )
        self.ups = nn.ModuleList(nn.Identity() if f == 1 else upsampler(out_channels, f) for f in factors)
        self.nodes = nn.ModuleList(node(out_channels) for _ in in_channels[1:])

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        x, *rest = (up(proj(f)) for f, proj, up in zip(features, self.projs, self.ups, strict=True))
        merged = []
        for node, y in zip(self.nodes, rest, strict=True):
            x = node(x, y)
            merged.append(x)
        return merged  # one fewer than features, each of the shape of the first


class DLAUp(nn.Module):
    """The decoder: maps of these channels and strides, shallowest first, to one of the shape of the first.

    With ``LearnedUpsample`` each stride must be an even multiple of the one before it, or equal to it.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        upsampler: Upsampler = LearnedUpsample,
        node: Node = ConcatNode,
    ):
        super().__init__()
        assert len(channels) == len(strides) > 1, f"channels {channels}, strides {strides}"
        channels, strides = list(channels), list(strides)
        self.out_channels = channels[0]
        self.output_stride = strides[0]
        self.idas = nn.ModuleList()
        for i in range(len(channels) - 2, -1, -1):
            factors = [stride // strides[i] for stride in strides[i:]]
            self.idas.append(IDAUp(channels[i], channels[i:], factors, upsampler, node))
            channels[i + 1 :] = [channels[i]] * len(channels[i + 1 :])
            strides[i + 1 :] = [strides[i]] * len(strides[i + 1 :])
        init_weights(self)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        features = list(features)
        for i, ida in enumerate(self.idas, start=1):
            features[-i:] = ida(features[-i - 1 :])
        return features[-1]
