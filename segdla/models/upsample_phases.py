"""The learned upsampling without a transposed convolution, for runtimes that lack it for groups."""

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdla.models.upsample import LearnedUpsample

Network = TypeVar("Network", bound=nn.Module)


class PhaseUpsample(nn.Module):
    """The same function as a ``LearnedUpsample``: (B,C,H,W) to (B,C,fH,fW), by f*f depthwise convolutions of 3x3.

    Output pixels f*i + a, for a in 0..f-1, are a phase: each is a sum over the input pixels i-1, i and i+1.
    """

    def __init__(self, upsample: LearnedUpsample):
        super().__init__()
        self.factor = factor = int(upsample.stride[0])
        taps = torch.zeros(factor, 3, 2 * factor)  # of each phase: which weight is for which input pixel
        for phase in range(factor):
            for k in range(2 * factor):
                distance, rest = divmod(phase + factor // 2 - k, factor)
                if rest == 0:
                    taps[phase, distance + 1, k] = 1
        weights = torch.einsum("aik,bjl,cokl->abcoij", taps, taps, upsample.weight.detach()).flatten(0, 1)
        self.weights = nn.ParameterList(nn.Parameter(phase.contiguous(), requires_grad=False) for phase in weights)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        # As (B,H,W,C) a row of phases is a concatenation, and their order in memory is that of the pixels.
        phases = [F.conv2d(x, weight, padding=1, groups=channels).permute(0, 2, 3, 1) for weight in self.weights]
        rows = []
        for first in range(0, len(phases), self.factor):
            row = torch.cat(phases[first : first + self.factor], dim=3)
            rows.append(row.reshape(batch, height, self.factor * width, channels))
        merged = torch.cat(rows, dim=2).reshape(batch, self.factor * height, self.factor * width, channels)
        return merged.permute(0, 3, 1, 2)


def with_phases(network: Network) -> Network:
    """Put a ``PhaseUpsample`` in the place of each learned upsampling, in place, and return the network."""
    for module in [*network.modules()]:
        for name, child in list(module.named_children()):
            if isinstance(child, LearnedUpsample):
                setattr(module, name, PhaseUpsample(child))
    return network
