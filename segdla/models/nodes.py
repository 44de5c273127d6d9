"""Aggregation nodes, by name: modules that merge maps of one size into one.

The backbone's, like ``Root``, merge two or more maps, the newest first, of any number of channels. The decoder's, like
``ConcatNode``, merge two of the same number, the shallower first, and convolve them by 3x3.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from segdla.errors import UserError
from segdla.models.dla import Root, RootBuilder
from segdla.models.ida import ConcatNode, Node
from segdla.models.layers import GateConv, conv_bn, conv_bn_relu


class ResidualNode(nn.Module):
    """The paper's residual node in the decoder: the deeper map is added before the ReLU, as a residual Root does."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv, self.bn = conv_bn(2 * channels, channels, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(torch.cat([x, y], dim=1))) + y)  # (B,2C,H,W) to (B,C,H,W)


class SumNode(nn.Sequential):
    """The paper's node over the sum of the maps, in place of their concatenation: half the convolution."""

    def __init__(self, channels: int):
        super().__init__(*conv_bn_relu(channels, channels, 3))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]  # a node has two inputs, not one
        return super().forward(x + y)


class SumRoot(nn.Module):
    """The backbone's Root over the sum of its children; those of another width are projected first."""

    def __init__(self, in_channels: Sequence[int], out_channels: int):
        super().__init__()
        self.projects = _projections(in_channels, out_channels)
        self.conv, self.bn = conv_bn(out_channels, out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, *children: Tensor) -> Tensor:
        first, *others = (project(child) for project, child in zip(self.projects, children, strict=True))
        return self.relu(self.bn(self.conv(sum(others, first))))


class SpatialAttention(nn.Sequential):
    """A weight in 0..1 for each pixel: maps (B,C,H,W) to (B,1,H,W)."""

    def __init__(self, channels: int):
        super().__init__(
            *conv_bn_relu(channels, channels, 3),
            *conv_bn_relu(channels, channels, 3),
            GateConv(channels, 1, gain=2),
            nn.Sigmoid(),
        )


class ChannelAttention(nn.Sequential):
    """A weight in 0..1 for each channel, from its mean and its maximum over the map: (B,C,H,W) to (B,C,1,1).

    In training these are normalised over the batch, which must be of two images or more.
    """

    def __init__(self, channels: int):
        narrow = max(1, channels // 16)
        super().__init__(
            GateConv(channels, narrow, gain=2),
            nn.BatchNorm2d(narrow),
            nn.ReLU(inplace=True),
            GateConv(narrow, channels, gain=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        forward = super().forward
        return torch.sigmoid(forward(x.amax((2, 3), keepdim=True)) + forward(x.mean((2, 3), keepdim=True)))


class AttentionNode(nn.Module):
    """Attentive feature aggregation of two maps (AFA-DLA: Yang et al., WACV 2023; github.com/SysCV/dla-afa).

    The shallower map says where it is to be trusted (s, by pixel), the deeper one in which channels it is (c)::

        x ──┬─────────────► s (1 - c) x ─┐
            └─ spatial  s                + ─►
            ┌─ channel  c                │
        y ──┴─────────────► (1 - s) c y ─┘
    """

    def __init__(self, channels: int):
        super().__init__()
        self.spatial = SpatialAttention(channels)
        self.channel = ChannelAttention(channels)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        s, c = self.spatial(x), self.channel(y)  # (B,1,H,W) and (B,C,1,1)
        return s * (1 - c) * x + (1 - s) * c * y


class AttentionRoot(nn.Module):
    """Attentive feature aggregation of several maps: each takes its share of what the newer ones have left.

    Children of another width are projected first; all share the two attentions.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int):
        super().__init__()
        self.projects = _projections(in_channels, out_channels)
        self.spatial = SpatialAttention(out_channels)
        self.channel = ChannelAttention(out_channels)

    def forward(self, *children: Tensor) -> Tensor:
        first, *others = (project(child) for project, child in zip(self.projects, children, strict=True))
        s, c = self.spatial(first), self.channel(first)  # (B,1,H,W) and (B,C,1,1)
        merged, s_left, c_left = s * c * first, 1 - s, 1 - c
        for child in others:
            s, c = self.spatial(child), self.channel(child)
            merged = merged + s_left * s * c_left * c * child
            s_left, c_left = s_left * (1 - s), c_left * (1 - c)
        return merged


class DeformableConv(nn.Conv2d):
    """A modulated deformable convolution (DCNv2; Zhu et al., CVPR 2019), of stride 1 and padded.

    Offsets and weights of its taps are computed from the map itself. Offsets start as 0, weights as a half.

    Raises UserError if torchvision, which computes it, is missing or broken.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int):
        require_deformable()
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.taps = kernel_size**2
        self.offsets = GateConv(in_channels, 3 * self.taps, kernel_size, gain=0, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        dtype = torch.promote_types(x.dtype, torch.float32)  # half precision is too coarse to interpolate in
        steering = self.offsets(x).to(dtype)  # (B,3*taps,H,W)
        offsets, weights = steering[:, : 2 * self.taps], steering[:, 2 * self.taps :].sigmoid()
        bias = self.weight.new_zeros(self.out_channels) if self.bias is None else self.bias
        padding = self.kernel_size[0] // 2
        out = torch.ops.torchvision.deform_conv2d(
            *(x.to(dtype), self.weight.to(dtype), offsets, weights, bias.to(dtype)),
            *(1, 1, padding, padding, 1, 1, 1, 1, True),  # stride, padding, dilation, groups of channels and of offsets
        )
        return out.to(x.dtype)


class DeformableNode(nn.Sequential):
    """A deformable convolution of the sum of two maps, as in CenterNet's decoder (Zhou et al., 2019)."""

    def __init__(self, channels: int):
        super().__init__(DeformableConv(channels, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]  # a node has two inputs, not one
        return super().forward(x + y)


class DeformableRoot(Root):
    """The backbone's Root, whose 1x1 convolution looks where it chooses to."""

    def __init__(self, in_channels: Sequence[int], out_channels: int):
        super().__init__(in_channels, out_channels)
        self.conv = DeformableConv(sum(in_channels), out_channels, 1)


def require_deformable() -> None:
    """Import torchvision's operators, which register the deformable convolution.

    Raises UserError if torchvision is missing, or broken, as one of another version than torch is.
    """
    try:
        import torchvision.ops  # noqa: F401

        torch.ops.torchvision.deform_conv2d  # noqa: B018  # missing if its compiled part isn't loaded
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        words = " ".join(str(error).split())[:200]
        raise UserError(
            f"deformable convolutions are torchvision's, which can't be imported ({words}); install the torchvision "
            "that belongs to this torch, or choose another model.node"
        ) from error


def _projections(in_channels: Sequence[int], out_channels: int) -> nn.ModuleList:
    """Return modules that bring maps to ``out_channels``, without a ReLU, as a Tree's ``project`` does."""
    return nn.ModuleList(
        nn.Identity() if c == out_channels else nn.Sequential(*conv_bn(c, out_channels)) for c in in_channels
    )


class NodeKind(NamedTuple):
    """One kind of node, as the backbone and the decoder have it."""

    backbone: RootBuilder
    decoder: Node


NODES = {
    "concat": NodeKind(Root, ConcatNode),
    "residual": NodeKind(partial(Root, residual=True), ResidualNode),
    "sum": NodeKind(SumRoot, SumNode),
    "attention": NodeKind(AttentionRoot, AttentionNode),
    "deformable": NodeKind(DeformableRoot, DeformableNode),
}
