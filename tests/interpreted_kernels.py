"""Compare the kernels of ``upsample_cuda`` with torch's transposed convolution; models/test_upsample.py runs this."""

import itertools

import torch
import torch.nn.functional as F
import triton
from triton.runtime import interpreter

from segdla.models.upsample_cuda import upsample2

SIZES = ((1, 1, 1, 1), (2, 5, 3, 4), (1, 48, 2, 37))  # one pixel, few channels, more than a block of either

if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 8):
    # Triton 3.6, torch 2.11's, makes an index of a tensor by int() of an array (1,), which numpy 2.4 no longer takes.
    # Without one, a loop to a bound that is a tensor ends in a TypeError. Later versions squeeze the array, as here.
    patch_tensor = interpreter._patch_lang_tensor

    def with_index(tensor, scope):
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.squeeze()))

    interpreter._patch_lang_tensor = with_index

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
    if size == SIZES[1]:  # it runs each kernel many times over
        # The kernels give the sizes and layouts that compilation is told.
        torch.library.opcheck(upsample2, (x, weight))
        torch.library.opcheck(torch.ops.segdla.upsample2_backward, (gradient, x.detach(), weight.detach()))
