"""Compares the kernels of ``upsample_cuda`` with torch's transposed convolution; run by models/test_upsample.py."""

import itertools

import torch
import torch.nn.functional as F

from segdla.models.upsample_cuda import upsample2

SIZES = ((1, 1, 1, 1), (2, 5, 3, 4), (1, 48, 2, 37))  # of one pixel, of few channels, of more than a block of either

for size, layout in itertools.product(SIZES, (torch.contiguous_format, torch.channels_last)):
    torch.manual_seed(0)
    x = torch.randn(size).to(memory_format=layout).requires_grad_()
    weight = torch.randn(size[1], 1, 4, 4, requires_grad=True)
    expected = F.conv_transpose2d(x, weight, stride=2, padding=1, groups=size[1])
    upsampled = upsample2(x, weight)
    torch.testing.assert_close(upsampled, expected)
    gradient = torch.randn(expected.shape)
    for ours, theirs in zip(
        *(torch.autograd.grad(y, (x, weight), gradient) for y in (upsampled, expected)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    # What compilation is told of sizes and layouts is what the kernels give.
    torch.library.opcheck(upsample2, (x, weight))
    torch.library.opcheck(torch.ops.segdla.upsample2_backward, (gradient, x.detach(), weight.detach()))
