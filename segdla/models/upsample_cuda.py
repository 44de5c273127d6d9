"""The decoder's learned upsampling on CUDA: ``torch.ops.segdla.upsample2``, with its gradients.

A depthwise transposed convolution of kernel 4, stride 2 and padding 1. cuDNN takes twelve times as long for it: half
the time of all the rest of a training step of DLA-34 (benchmarks/README.md). These kernels compute in float32 whatever
the maps' precision, and always in the same order, so the same input gives the same bits.

Each kernel works on channels-last memory, (pixels, C), in blocks of pixels by channels. The 16 taps of a channel's
weights lie side by side. For an input row m, and in the same way for columns::

    y[2m] = w[1] x[m] + w[3] x[m-1]      dL/dx[m] = sum over k of w[k] dL/dy[2m-1+k]
    y[2m+1] = w[2] x[m] + w[0] x[m+1]    dL/dw[k] = sum over m of x[m] dL/dy[2m-1+k]
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_PIXELS = 32  # pixels of a block
_PARTS = 64  # partial sums of the weights' gradient, each computed by itself


@triton.jit
def _forward(x, w, y, pixels, height, width, channels, block_pixels: tl.constexpr, block_channels: tl.constexpr):
    pixel = tl.program_id(0) * block_pixels + tl.arange(0, block_pixels)[:, None]
    c = tl.program_id(1) * block_channels + tl.arange(0, block_channels)[None, :]
    row, n = pixel // width, pixel % width  # rows are numbered through the batch
    m = row % height
    inside = (pixel < pixels) & (c < channels)
    y00 = tl.zeros((block_pixels, block_channels), tl.float32)
    y01, y10, y11 = y00, y00, y00
    for down in tl.static_range(-1, 2):
        for right in tl.static_range(-1, 2):
            valid = inside & (m + down >= 0) & (m + down < height) & (n + right >= 0) & (n + right < width)
            value = tl.load(x + (pixel + down * width + right).to(tl.int64) * channels + c, valid, 0.0).to(tl.float32)
            if down < 1 and right < 1:
                y00 += value * tl.load(w + c * 16 + (1 - 2 * down) * 4 + 1 - 2 * right, c < channels, 0.0)
            if down < 1 and right > -1:
                y01 += value * tl.load(w + c * 16 + (1 - 2 * down) * 4 + 2 - 2 * right, c < channels, 0.0)
            if down > -1 and right < 1:
                y10 += value * tl.load(w + c * 16 + (2 - 2 * down) * 4 + 1 - 2 * right, c < channels, 0.0)
            if down > -1 and right > -1:
                y11 += value * tl.load(w + c * 16 + (2 - 2 * down) * 4 + 2 - 2 * right, c < channels, 0.0)
    out = y + (2 * row * 2 * width + 2 * n).to(tl.int64) * channels + c
    below = 2 * width * channels
    tl.store(out, y00, inside)
    tl.store(out + channels, y01, inside)
    tl.store(out + below, y10, inside)
    tl.store(out + below + channels, y11, inside)


@triton.jit
def _gradient_at(grad_y, pixel, k, height, width, channels, c, inside):
    """Load the output's gradient at tap ``k`` (0..15, row by row) of input pixels."""
    row, n = pixel // width, pixel % width
    down, right = k // 4 - 1, k % 4 - 1
    i, j = 2 * (row % height) + down, 2 * n + right
    valid = inside & (i >= 0) & (i < 2 * height) & (j >= 0) & (j < 2 * width)
    offset = ((2 * row + down) * 2 * width + j).to(tl.int64) * channels + c
    return tl.load(grad_y + offset, valid, 0.0).to(tl.float32)


@triton.jit
def _backward_input(
    grad_y, w, grad_x, pixels, height, width, channels, block_pixels: tl.constexpr, block_channels: tl.constexpr
):
    pixel = tl.program_id(0) * block_pixels + tl.arange(0, block_pixels)[:, None]
    c = tl.program_id(1) * block_channels + tl.arange(0, block_channels)[None, :]
    inside = (pixel < pixels) & (c < channels)
    total = tl.zeros((block_pixels, block_channels), tl.float32)
    for k in tl.static_range(16):
        gradient = _gradient_at(grad_y, pixel, k, height, width, channels, c, inside)
        total += gradient * tl.load(w + c * 16 + k, c < channels, 0.0)
    tl.store(grad_x + pixel.to(tl.int64) * channels + c, total, inside)


@triton.jit
def _backward_weight(
    grad_y, x, parts, pixels, height, width, channels, block_pixels: tl.constexpr, block_channels: tl.constexpr
):
    c = tl.program_id(1) * block_channels + tl.arange(0, block_channels)[None, :]
    k = tl.program_id(2)
    total = tl.zeros((block_pixels, block_channels), tl.float32)
    for start in range(tl.program_id(0) * block_pixels, pixels, tl.num_programs(0) * block_pixels):
        pixel = start + tl.arange(0, block_pixels)[:, None]
        inside = (pixel < pixels) & (c < channels)
        value = tl.load(x + pixel.to(tl.int64) * channels + c, inside, 0.0).to(tl.float32)
        total += value * _gradient_at(grad_y, pixel, k, height, width, channels, c, inside)
    c = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    tl.store(parts + (tl.program_id(0) * 16 + k) * channels + c, tl.sum(total, 0), c < channels)


@torch.library.custom_op("segdla::upsample2", mutates_args=())
def upsample2(x: Tensor, weight: Tensor) -> Tensor:
    """Upsample maps (B,C,H,W) with float32 weights (C,1,4,4) to (B,C,2H,2W), channels-last."""
    x = x.contiguous(memory_format=torch.channels_last)
    y = _empty_twice_as_large(x)
    sizes, grid, block = _launch_of(x)
    with torch.cuda.device_of(x):
        _forward[grid](x, weight.contiguous(), y, *sizes, *block)
    return y


@upsample2.register_fake
def _(x: Tensor, weight: Tensor) -> Tensor:
    return _empty_twice_as_large(x)


@torch.library.custom_op("segdla::upsample2_backward", mutates_args=())
def _backward(gradient: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    gradient, x = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (gradient, x))
    grad_x = torch.empty_like(x)
    sizes, grid, block = _launch_of(x)
    parts = weight.new_empty(min(_PARTS, grid[0]), 16, x.shape[1])
    with torch.cuda.device_of(x):
        _backward_input[grid](gradient, weight.contiguous(), grad_x, *sizes, *block)
        _backward_weight[(len(parts), grid[1], 16)](gradient, x, parts, *sizes, *block)
    return grad_x, parts.sum(0).t().contiguous().view(weight.shape)


@_backward.register_fake
def _(gradient: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x, memory_format=torch.channels_last), torch.empty_like(weight)


def _empty_twice_as_large(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    return torch.empty(
        (batch, channels, 2 * height, 2 * width), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
    )


def _launch_of(x: Tensor) -> tuple[tuple[int, ...], tuple[int, int], tuple[int, int]]:
    """Return the sizes, the grid of blocks over the input, and a block's pixels and channels."""
    batch, channels, height, width = x.shape
    pixels, block = batch * height * width, (_PIXELS, min(32, triton.next_power_of_2(channels)))
    return (pixels, height, width, channels), (triton.cdiv(pixels, block[0]), triton.cdiv(channels, block[1])), block


def _save_inputs(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
    return _backward(gradient, *ctx.saved_tensors)


upsample2.register_autograd(_gradients, setup_context=_save_inputs)
