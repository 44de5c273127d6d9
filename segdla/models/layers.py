"""Convolutions with batch normalisation, and how they start."""

import math

from torch import nn


def conv_bn(in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1) -> list[nn.Module]:
    """A padded convolution without bias, and its batch normalisation."""
    return [
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    ]


def conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1) -> list[nn.Module]:
    return [*conv_bn(in_channels, out_channels, kernel_size, stride), nn.ReLU(inplace=True)]


def init_weights(module: nn.Module) -> None:
    """The authors' start: convolutions from N(0, 2 / (k * k * out_channels)), batch normalisation at 1 and 0."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.normal_(m.weight, std=math.sqrt(2 / (math.prod(m.kernel_size) * m.out_channels)))
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        elif isinstance(m, nn.BatchNorm2d):
            nn.init.ones_(m.weight)
            nn.init.zeros_(m.bias)
