"""Deep Layer Aggregation (Yu, Wang, Shelhamer, Darrell, CVPR 2018): the backbone and its ten variants.

A hierarchical tree of depth 2, as at levels 3 and 4 of DLA-34. Data flows from left to right. The right subtree owns
the one Root, which merges its two blocks, the left subtree's output and (``level_root``) the level's own pooled input::

    x ──┬─ block ─ block ─ Root ──┬─ block ─┬─ block ─ Root ─►
        │         (tree1)         │         └───────────┤
        │                         └──────  x1  ─────────┤
        └─ max pool ── bottom  (level_root) ────────────┘

Modules have the authors' names (github.com/ucbdrive/dla), so their weights and timm's load as they are.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from segdla.models.layers import GroupedConv, conv_bn, conv_bn_relu, init_weights

Block = Callable[..., nn.Module]
"""Builds a block from its input channels, its output channels and, unless that is 1, its stride."""

RootBuilder = Callable[[Sequence[int], int], nn.Module]
"""Builds an aggregation node from its children's channels, newest child first, and its output channels."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.conv1, self.bn1 = conv_bn(in_channels, out_channels, 3, stride)
        self.conv2, self.bn2 = conv_bn(out_channels, out_channels, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        shortcut = x if shortcut is None else shortcut
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return self.relu(x + shortcut)


class Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1 around a shortcut.

    The 3x3 convolution is half as wide as the block. With ``groups`` (ResNeXt) it is grouped, and
    ``out_channels * groups / 32`` wide.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, groups: int = 1):
        super().__init__()
        width = out_channels // 2 if groups == 1 else out_channels * groups // 32
        self.conv1, self.bn1 = conv_bn(in_channels, width)
        convolution = nn.Conv2d if groups == 1 else GroupedConv
        self.conv2 = convolution(width, width, 3, stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv_bn(width, out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        shortcut = x if shortcut is None else shortcut
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return self.relu(x + shortcut)


class Root(nn.Module):
    """The backbone's aggregation node: one 1x1 convolution over all children; ``residual`` adds the first one back."""

    def __init__(self, in_channels: Sequence[int], out_channels: int, residual: bool = False):
        super().__init__()
        self.conv, self.bn = conv_bn(sum(in_channels), out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.residual = residual

    def forward(self, *children: Tensor) -> Tensor:
        x = self.bn(self.conv(torch.cat(children, dim=1)))  # (B,sum(in_channels),H,W) to (B,out_channels,H,W)
        return self.relu(x + children[0] if self.residual else x)


class Tree(nn.Module):
    """Hierarchical aggregation: at depth 1 two blocks and a Root, else two Trees, of which the right one owns the Root.

    ``children_channels`` are those of the maps that ancestors hand down to this tree's Root, which ``node`` builds.
    """

    root: nn.Module | None

    def __init__(
        self,
        depth: int,
        block: Block,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        level_root: bool = False,
        node: RootBuilder = Root,
        children_channels: tuple[int, ...] = (),
    ):
        super().__init__()
        self.level_root = level_root
        self.downsample = nn.MaxPool2d(stride) if stride > 1 else nn.Identity()
        if level_root:
            children_channels += (in_channels,)
        if depth == 1:
            self.tree1 = block(in_channels, out_channels, stride)
            self.tree2 = block(out_channels, out_channels)
            same = in_channels == out_channels
            self.project = nn.Identity() if same else nn.Sequential(*conv_bn(in_channels, out_channels))
            self.root = node((out_channels, out_channels, *children_channels), out_channels)
        else:
            subtree = partial(Tree, depth - 1, block, node=node)
            self.tree1 = subtree(in_channels, out_channels, stride)
            self.tree2 = subtree(out_channels, out_channels, children_channels=(*children_channels, out_channels))
            self.root = None

    def forward(self, x: Tensor, children: Sequence[Tensor] = ()) -> Tensor:
        bottom = self.downsample(x)  # (B,in_channels,H,W) to (B,in_channels,H/stride,W/stride)
        if self.level_root:
            children = (*children, bottom)
        if self.root is None:
            x1 = self.tree1(x)
            return self.tree2(x1, (*children, x1))
        x1 = self.tree1(x, self.project(bottom))  # (B,out_channels,H/stride,W/stride), like all that follow
        x2 = self.tree2(x1)
        return self.root(x2, x1, *children)


class DLA(nn.Module):
    """The backbone: normalised images (B,3,H,W) to six maps, level i at stride 2^i.

    H and W must be multiples of 32. ``channels`` and ``strides`` describe the maps. Levels 2 to 5 are Trees, or another
    ``level`` of ``aggregation.py``. Their nodes are Roots, residual ones if ``root_residual``, or other ``node``s.
    """

    strides = (1, 2, 4, 8, 16, 32)

    def __init__(
        self,
        depths: Sequence[int],
        channels: Sequence[int],
        block: Block,
        root_residual: bool = False,
        *,
        level: Callable[..., nn.Module] = Tree,
        node: RootBuilder | None = None,
    ):
        super().__init__()
        self.channels = tuple(channels)
        c0, c1, c2, c3, c4, c5 = channels
        _, _, d2, d3, d4, d5 = depths
        tree = partial(level, block=block, stride=2, node=node or partial(Root, residual=root_residual))
        self.base_layer = nn.Sequential(*conv_bn_relu(3, c0, 7))  # (B,c0,H,W)
        self.level0 = nn.Sequential(*conv_bn_relu(c0, c0, 3))
        self.level1 = nn.Sequential(*conv_bn_relu(c0, c1, 3, stride=2))  # (B,c1,H/2,W/2)
        self.level2 = tree(d2, in_channels=c1, out_channels=c2)  # (B,c2,H/4,W/4)
        self.level3 = tree(d3, in_channels=c2, out_channels=c3, level_root=True)  # (B,c3,H/8,W/8)
        self.level4 = tree(d4, in_channels=c3, out_channels=c4, level_root=True)  # (B,c4,H/16,W/16)
        self.level5 = tree(d5, in_channels=c4, out_channels=c5, level_root=True)  # (B,c5,H/32,W/32)
        init_weights(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.base_layer(x)
        features = []
        for level in (self.level0, self.level1, self.level2, self.level3, self.level4, self.level5):
            x = level(x)
            features.append(x)
        return features


_SLIM = (16, 32, 64, 64, 128, 256)
_WIDE = (16, 32, 128, 256, 512, 1024)
_X32 = partial(Bottleneck, groups=32)
_X64 = partial(Bottleneck, groups=64)

VARIANTS = {
    "dla34": partial(DLA, (1, 1, 1, 2, 2, 1), (16, 32, 64, 128, 256, 512), BasicBlock),
    "dla46_c": partial(DLA, (1, 1, 1, 2, 2, 1), _SLIM, Bottleneck),
    "dla46x_c": partial(DLA, (1, 1, 1, 2, 2, 1), _SLIM, _X32),
    "dla60x_c": partial(DLA, (1, 1, 1, 2, 3, 1), _SLIM, _X32),
    "dla60": partial(DLA, (1, 1, 1, 2, 3, 1), _WIDE, Bottleneck),
    "dla60x": partial(DLA, (1, 1, 1, 2, 3, 1), _WIDE, _X32),
    "dla102": partial(DLA, (1, 1, 1, 3, 4, 1), _WIDE, Bottleneck, root_residual=True),
    "dla102x": partial(DLA, (1, 1, 1, 3, 4, 1), _WIDE, _X32, root_residual=True),
    "dla102x2": partial(DLA, (1, 1, 1, 3, 4, 1), _WIDE, _X64, root_residual=True),
    "dla169": partial(DLA, (1, 1, 2, 3, 5, 1), _WIDE, Bottleneck, root_residual=True),
}
