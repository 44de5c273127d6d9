"""3x3 convolutions with a quarter of the multiplications (Winograd's F(4x4, 3x3); Lavin and Gray, CVPR 2016).

A 4x4 tile of output depends on a 6x6 tile of input. Tile and kernel are transformed into a space where convolution is
an element-wise product, which over channels is 36 matrix products. The result is transformed back.
"""

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)

_INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
_TILES = 512  # at a time, so that memory does not grow with the image

MIN_CHANNELS = 128
"""With fewer input or output channels, the transforms take longer than they save."""


class Winograd(nn.Module):
    """A 3x3 convolution of stride 1, padding 1 and one group, with a bias, by Winograd's algorithm."""

    weight: Tensor
    bias: Tensor
    transform: Tensor
    inverse: Tensor

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        assert conv.bias is not None, "batch normalisation, once folded, leaves a bias"
        kernel = torch.tensor(_KERNEL, dtype=torch.float64)
        weight = torch.einsum("ai,kcij,bj->abck", kernel, conv.weight.detach().double(), kernel).flatten(0, 1)
        dtype = conv.weight.dtype
        self.register_buffer("weight", weight.to(dtype).contiguous())  # (36,C,K)
        self.register_buffer("bias", conv.bias.detach())
        for name, rows in (("transform", _INPUT), ("inverse", _OUTPUT)):
            matrix = torch.tensor(rows, dtype=dtype)
            self.register_buffer(name, torch.kron(matrix, matrix))  # (36,36) and (16,36)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        down, across = -(-height // 4), -(-width // 4)  # tiles
        x = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 4 * across - width + 1, 1, 4 * down - height + 1))  # (B,H+2,W+2,C)
        out = x.new_empty(len(x), down, 4, across, 4, len(self.bias))  # (B,H/4,4,W/4,4,K)
        step = max(1, _TILES // across)
        for image, result in zip(x, out, strict=True):
            for top in range(0, down, step):
                rows = min(step, down - top)
                tiles = image[4 * top : 4 * (top + rows) + 2].unfold(0, 6, 4).unfold(1, 6, 4)  # (rows,across,C,6,6)
                tiles = self.transform @ tiles.permute(3, 4, 0, 1, 2).reshape(36, -1)  # (36,TC)
                products = torch.bmm(tiles.view(36, rows * across, -1), self.weight)  # (36,T,K)
                pixels = (self.inverse @ products.view(36, -1)).view(4, 4, rows, across, -1)
                torch.add(pixels.permute(2, 0, 3, 1, 4), self.bias, out=result[top : top + rows])
        return out.view(len(x), 4 * down, 4 * across, -1)[:, :height, :width].permute(0, 3, 1, 2)


def winograd(network: Network) -> Network:
    """Compute a folded network's wide 3x3 convolutions by Winograd's algorithm, in place, and return the network.

    For float32 on a CPU. The error of logits stays below a hundred-thousandth of the largest; the direct algorithm's is
    about half of that. Half precision has no digits to spare for it.
    """
    for module in network.modules():
        for name, conv in module.named_children():
            if type(conv) is nn.Conv2d and _suits(conv):  # a subclass computes something else
                setattr(module, name, Winograd(conv))
    return network


def _suits(conv: nn.Conv2d) -> bool:
    shape = (conv.kernel_size, conv.stride, conv.padding, conv.groups)
    wide = min(conv.in_channels, conv.out_channels) >= MIN_CHANNELS
    return wide and conv.bias is not None and shape == ((3, 3), (1, 1), (1, 1), 1)
