"""Decoders without aggregation: a sum of skips and the deepest map alone, to compare with, and its mean."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from segdla.models.ida import Upsampler
from segdla.models.layers import conv_bn, init_weights
from segdla.models.upsample import LearnedUpsample


class SkipSum(nn.Module):
    """Shallow aggregation: each map is projected once, and the sum is upsampled from level to level (FCN, CVPR 2015)::

        4  ───── project ──────────────────── + ─►
        8  ───── project ─────────── + ─ up ──┘
        16 ───── project ── + ─ up ──┘
        32 ───── project ─ up ─┘

    No ReLU follows, so with the classifier each level gives class scores of its own, which are summed as FCN's are.
    The maps have these channels and strides, shallowest first; the result has the shape of the first.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], upsampler: Upsampler = LearnedUpsample):
        super().__init__()
        assert len(channels) == len(strides) > 1, f"channels {channels}, strides {strides}"
        self.out_channels = width = channels[0]
        self.output_stride = strides[0]
        self.projs = nn.ModuleList(nn.Sequential(*conv_bn(c, width)) for c in channels)
        factors = (deeper // finer for finer, deeper in pairwise(strides))
        self.ups = nn.ModuleList(nn.Identity() if f == 1 else upsampler(width, f) for f in factors)
        init_weights(self)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        *finer, x = (proj(f) for proj, f in zip(self.projs, features, strict=True))
        for up, skip in zip(reversed(self.ups), reversed(finer), strict=True):
            x = skip + up(x)  # (B,C,H,W) to (B,C,fH,fW)
        return x


class LastMap(nn.Module):
    """No decoder: the deepest map alone, whose logits are then interpolated to the image's size."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int]):
        super().__init__()
        assert len(channels) == len(strides) == 1, f"channels {channels}, strides {strides}"
        (self.out_channels,) = channels
        (self.output_stride,) = strides

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        (deepest,) = features
        return deepest


class GlobalPool(nn.Module):
    """The mean of the deepest map over the image (B,C,1,1), for one label an image: the authors' classification head.

    Its one pixel is all of the image, so nothing is upsampled: ``output_stride`` is 1.
    """

    output_stride = 1

    def __init__(self, channels: int):
        super().__init__()
        self.out_channels = channels

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return features[-1].mean((-2, -1), keepdim=True)
