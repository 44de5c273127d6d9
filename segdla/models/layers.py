"""Convolutions with batch normalisation, and their initial weights."""

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def conv_bn(in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1) -> list[nn.Module]:
    """Return a padded convolution without bias, and its batch normalisation."""
    return [
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    ]


def conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1) -> list[nn.Module]:
    """Return a padded convolution without bias, its batch normalisation and a ReLU."""
    return [*conv_bn(in_channels, out_channels, kernel_size, stride), nn.ReLU(inplace=True)]


class GroupedConv(nn.Conv2d):
    """A convolution of groups of channels, in float32 where a processor is to compute its gradients.

    oneDNN's backward pass of one is slow in bf16, and its forward pass is not: a step of EfficientNet-Lite0 took 1.5
    times as long (``benchmarks/choices.py``).
    """

    def forward(self, x: Tensor) -> Tensor:
        is_slow = self.groups > 1 and x.device.type == "cpu" and torch.is_grad_enabled()
        if is_slow and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)


def with_grouped(network: Module) -> Module:
    """Make each convolution of groups in a network of another package a ``GroupedConv``, and return the network."""
    for module in network.modules():
        if type(module) is nn.Conv2d and module.groups > 1:
            module.__class__ = GroupedConv
    return network


class GateConv(nn.Conv2d):
    """A convolution whose outputs steer others, by a sigmoid or as offsets: its weights start so that they stay small.

    Drawn from N(0, ``gain`` / (k * k * in_channels)), its outputs have variance ``gain`` over inputs of mean square 1,
    however few they are.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, *, gain: float, bias: bool = False):
        self.gain = gain
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=math.sqrt(self.gain / (math.prod(self.kernel_size) * self.in_channels)))
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def init_weights(module: nn.Module) -> None:
    """Initialise as the authors do.

    Convolutions are drawn from N(0, 2 / (k * k * out_channels)), their biases are 0; a ``GateConv`` starts as it says.
    Batch normalisation has weights 1 and biases 0.
    """
    for m in module.modules():
        if isinstance(m, GateConv):
            m.reset_parameters()
        elif isinstance(m, nn.Conv2d):
            nn.init.normal_(m.weight, std=math.sqrt(2 / (math.prod(m.kernel_size) * m.out_channels)))
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        elif isinstance(m, nn.BatchNorm2d):
            nn.init.ones_(m.weight)
            nn.init.zeros_(m.bias)
