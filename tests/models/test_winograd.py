import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segdla.models.fold import folded
from segdla.models.from_config import create_model
from segdla.models.winograd import Winograd, winograd


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 8, 8), (2, 5, 7), (1, 1, 1), (1, 200, 50)])
def test_winograd_computes_the_convolution(batch, height, width):
    conv = nn.Conv2d(6, 9, 3, padding=1).double()
    images = torch.randn(batch, 6, height, width, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(Winograd(conv)(images), F.conv2d(images, conv.weight, conv.bias, padding=1))


def test_rounding_stays_below_a_hundred_thousandth():
    network = folded(create_model("dla34", 5, output_stride=8).eval())
    images = torch.randint(0, 256, (1, 3, 70, 101), dtype=torch.uint8)
    with torch.no_grad():
        logits = winograd(copy.deepcopy(network)).logits(images)
        exact = network.double().logits(images)
    assert 0 < (logits - exact).abs().max() <= 1e-5 * exact.abs().max()


def test_only_wide_convolutions_are_replaced():
    network = winograd(folded(create_model("dla34", 5, output_stride=8).eval()))
    assert sum(isinstance(m, Winograd) for m in network.modules()) > 10
    others = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    others = [conv for conv in others if conv.kernel_size == (3, 3) and conv.stride == (1, 1)]
    assert max(min(conv.in_channels, conv.out_channels) for conv in others) < 128
