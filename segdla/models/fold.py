"""Batch normalisation folded into convolutions: the same function in fewer passes over memory."""

import copy
from collections.abc import Iterable
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from segdla.models.timm_backbone import TimmBackbone
from segdla.models.timm_trunk import TimmTrunk
from segdla.models.winograd import winograd

Network = TypeVar("Network", bound=nn.Module)
_ROUNDING = 1e-3  # share of a map's largest value; float32 alone makes less than a tenth of this


def for_prediction(network: Network, device: torch.device, precision: str) -> Network:
    """Bring a network, in evaluation, into its fastest form, in place, and return it.

    Batch normalisation is folded into convolutions. In float32 on a CPU, wide 3x3 convolutions then use Winograd's
    algorithm.
    """
    network = folded(network)
    return winograd(network) if device.type == "cpu" and precision == "fp32" else network


def folded(network: Network) -> Network:
    """Fold each batch normalisation into the convolution before it, in place, and return the network.

    The network must be in evaluation, and can't be trained afterwards. In exact arithmetic it is the same function. In
    float32 its logits differ by about a hundred-thousandth of the largest, so near ties may change sides.

    In a backbone of timm, modules may be called in another order than they stand in. It is folded only if it then
    computes the same.
    """
    assert not network.training, "a batch's statistics can't be folded: call eval() first"
    for backbone in [module for module in network.modules() if isinstance(module, TimmBackbone)]:
        body = copy.deepcopy(backbone.body)
        before = _maps(backbone)
        _fold(backbone.body.modules())
        if not all(map(_alike, _maps(backbone), before)):
            backbone.body = body
    foreign = [module for module in network.modules() if isinstance(module, TimmBackbone | TimmTrunk)]
    theirs = {inner for backbone in foreign for inner in backbone.modules()}
    _fold(module for module in network.modules() if module not in theirs)
    return network


def _fold(modules: Iterable[nn.Module]) -> None:
    for module in [*modules]:
        for (conv_name, conv), (bn_name, bn) in pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, bn).requires_grad_(False))
                setattr(module, bn_name, getattr(bn, "act", nn.Identity()))  # timm's may end in an activation


@torch.no_grad()
def _maps(backbone: TimmBackbone) -> list[Tensor]:
    """Return the maps of a small image of noise."""
    like = next(backbone.parameters())
    size = (1, 3, 3 * backbone.strides[-1], 2 * backbone.strides[-1])
    image = torch.randn(size, generator=torch.Generator().manual_seed(0))
    return backbone(image.to(like))


def _alike(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= _ROUNDING * other.abs().max())
