"""The paper's figure 2: six ways to aggregate the blocks of a level, on the same blocks.

Each turns a map (B,in_channels,H,W) into one (B,out_channels,H/stride,W/stride) by 2^depth blocks, drawn here for four.
With ``level_root``, the last node merges the level's own pooled input too, which the drawings leave out. In each node
the newer map comes first, so a residual node adds that one back. At depth 1, (b) to (f) are the same function.
"""

from collections.abc import Callable

from torch import Tensor, nn

from segdla.models.dla import Block, Root, RootBuilder, Tree
from segdla.models.layers import conv_bn

Merge = Callable[[Tensor, Tensor], Tensor]


class Stack(nn.Module):
    """(a) No aggregation: blocks in a row::

    x ── block ── block ── block ── block ──►
    """

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
    ):
        super().__init__()
        self.downsample = nn.MaxPool2d(stride) if stride > 1 else nn.Identity()
        same = in_channels == out_channels
        self.project = nn.Identity() if same else nn.Sequential(*conv_bn(in_channels, out_channels))
        following = (block(out_channels, out_channels) for _ in range(2**depth - 1))
        self.blocks = nn.ModuleList([block(in_channels, out_channels, stride), *following])

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(x, self.downsample(x))[-1]

    def outputs(self, x: Tensor, bottom: Tensor) -> list[Tensor]:
        """Return the output of each block, the first one's first; ``bottom`` is the level's own pooled input."""
        first, *following = self.blocks
        outputs = [first(x, self.project(bottom))]  # (B,in_channels,H,W) to (B,out_channels,H/stride,W/stride)
        for block in following:
            outputs.append(block(outputs[-1]))
        return outputs


class _Aggregated(Stack):
    """Blocks in a row, and a node fewer than blocks, each of two maps."""

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
    ):
        super().__init__(depth, block, in_channels, out_channels, stride)
        self.level_root = level_root
        two = (out_channels, out_channels)
        last = (*two, in_channels) if level_root else two
        self.nodes = nn.ModuleList([*(node(two, out_channels) for _ in range(2**depth - 2)), node(last, out_channels)])

    def forward(self, x: Tensor) -> Tensor:
        bottom = self.downsample(x)  # (B,in_channels,H,W) to (B,in_channels,H/stride,W/stride)
        *nodes, last = self.nodes
        if not self.level_root:
            return self.aggregate(x, bottom, [*nodes, last])
        return self.aggregate(x, bottom, [*nodes, lambda newer, older: last(newer, older, bottom)])

    def aggregate(self, x: Tensor, bottom: Tensor, nodes: list[Merge]) -> Tensor:
        """Return the level's output; each node is used once, in order."""
        raise NotImplementedError


class Shallow(_Aggregated):
    """(b) Shallow aggregation: from the deepest block back, so the first block's output passes one node alone::

    x ── block ─┬─ block ─┬─ block ─┬─ block ── node ── node ── node ──►
                │         │         └────────────┘       │       │
                │         └──────────────────────────────┘       │
                └────────────────────────────────────────────────┘
    """

    def aggregate(self, x: Tensor, bottom: Tensor, nodes: list[Merge]) -> Tensor:
        *earlier, merged = self.outputs(x, bottom)
        for node, output in zip(nodes, reversed(earlier), strict=True):
            merged = node(merged, output)
        return merged


class Iterative(_Aggregated):
    """(c) Iterative deep aggregation: from the first block on, whose output passes every node::

    x ── block ─┬─ block ─┬─ block ─┬─ block ─┐
                └─────── node ──── node ──── node ──►
    """

    def aggregate(self, x: Tensor, bottom: Tensor, nodes: list[Merge]) -> Tensor:
        merged, *following = self.outputs(x, bottom)
        for node, output in zip(nodes, following, strict=True):
            merged = node(output, merged)
        return merged


class Treelike(_Aggregated):
    """(d) Tree-structured aggregation: pairs of blocks, then pairs of pairs; each output passes ``depth`` nodes::

    x ── block ─┬─ block ─┬─ block ─┬─ block ─┐
                └─────── node       └─────── node
                          └────────────────── node ──►
    """

    def aggregate(self, x: Tensor, bottom: Tensor, nodes: list[Merge]) -> Tensor:
        return _merged_pairwise(self.outputs(x, bottom), nodes)


class Reentrant(_Aggregated):
    """(e) Re-entrant aggregation: the tree of (d), but each subtree is fed the aggregation of the one before it::

    x ── block ─┬─ block ── node ─┬─ block ─┬─ block ── node ── node ──►
                └────────────┘    │         └────────────┘       │
                                  └──────────────────────────────┘
    """

    def aggregate(self, x: Tensor, bottom: Tensor, nodes: list[Merge]) -> Tensor:
        first, *following = self.blocks
        subtrees = [first(x, self.project(bottom))]  # aggregated so far, ever smaller ones
        unused = iter(nodes)
        for number, block in enumerate(following, start=2):
            merged = block(subtrees[-1])
            while number % 2 == 0:  # each subtree that ends with this block
                merged, number = next(unused)(merged, subtrees.pop()), number // 2
            subtrees.append(merged)
        return subtrees[0]


def _merged_pairwise(outputs: list[Tensor], nodes: list[Merge]) -> Tensor:
    """Merge 2^n maps by a balanced tree of nodes."""
    while len(outputs) > 1:
        pairs = zip(outputs[::2], outputs[1::2], strict=True)
        outputs = [node(newer, older) for node, (older, newer) in zip(nodes, pairs, strict=False)]
        nodes = nodes[len(outputs) :]
    return outputs[0]


AGGREGATIONS = {
    "none": Stack,
    "shallow": Shallow,
    "iterative": Iterative,
    "tree": Treelike,
    "reentrant": Reentrant,
    "hierarchical": Tree,  # (f), drawn in dla.py
}
