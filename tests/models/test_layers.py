"""Grouped convolutions are computed in float32 where a processor is to find their gradients in mixed precision."""

import pytest
import torch
from torch import nn

from segdla.models.dla import VARIANTS
from segdla.models.layers import GroupedConv, with_grouped


@pytest.fixture
def grouped():
    torch.manual_seed(0)
    return GroupedConv(8, 8, 3, padding=1, groups=4)


def gradients(conv, images):
    conv.zero_grad()
    conv(images).square().sum().backward()
    return [parameter.grad for parameter in conv.parameters()]


def test_gradients_under_autocast_are_those_of_float32(grouped):
    images = torch.randn(2, 8, 6, 5).bfloat16()  # as a layer before it gives them
    expected = gradients(grouped, images.float())
    with torch.autocast("cpu", torch.bfloat16):
        assert all(map(torch.equal, gradients(grouped, images), expected))
        assert grouped(images).dtype == torch.float32


def test_without_groups_it_is_in_bf16_throughout():
    with torch.autocast("cpu", torch.bfloat16):
        assert GroupedConv(8, 8, 1)(torch.randn(1, 8, 4, 4)).dtype == torch.bfloat16


def test_predictions_under_autocast_stay_in_bf16(grouped):
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        assert grouped(torch.randn(1, 8, 4, 4)).dtype == torch.bfloat16


def test_other_precisions_stay_what_they_are(grouped):
    assert grouped.double()(torch.randn(1, 8, 4, 4, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize(("name", "are_grouped"), [("dla46_c", False), ("dla46x_c", True)])
def test_those_of_the_x_variants_are_such_ones(name, are_grouped):
    convolutions = [m for m in VARIANTS[name]().modules() if isinstance(m, nn.Conv2d)]
    assert any(isinstance(conv, GroupedConv) for conv in convolutions) == are_grouped
    assert all(isinstance(conv, GroupedConv) == (conv.groups > 1) for conv in convolutions)


def test_other_packages_networks_get_such_ones():
    network = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, groups=2), nn.ConvTranspose2d(4, 4, 2, groups=4))
    assert [type(module) for module in with_grouped(network)] == [nn.Conv2d, GroupedConv, nn.ConvTranspose2d]
