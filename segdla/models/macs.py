"""The cost of a network in multiply-accumulates."""

import copy
import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_macs(network: nn.Module, height: int, width: int) -> int:
    """Count the multiply-accumulates of a forward pass of one image, without computing it.

    A deformable convolution counts as a plain one: torch's counter does not know it, and interpolation is not counted.
    """
    shadow = copy.deepcopy(network).to("meta").eval()
    # torchvision registers it, if it has been imported.
    deformable = getattr(torch.ops.torchvision, "deform_conv2d", None)
    others = {deformable: _deformable_flops} if deformable else {}
    with torch.inference_mode(), FlopCounterMode(display=False, custom_mapping=others) as counter:
        shadow(torch.zeros(1, 3, height, width, device="meta"))
    return counter.get_total_flops() // 2


def _deformable_flops(
    images: Sequence[int], weight: Sequence[int], *others: object, out_shape: Sequence[int], **keywords: object
) -> int:
    _, *taps = weight
    return 2 * math.prod(out_shape) * math.prod(taps)
