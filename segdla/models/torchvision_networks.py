"""Networks of torchvision to compare with: FCN, DeepLab v3 and LR-ASPP, as parts of a ``DLASeg``.

Loader, normalisation, padding, loss and evaluation are then the same. With the same weights they compute what
torchvision's do. Its auxiliary classifiers, which its own training adds with half the weight, are left out.

torchvision is imported when one of them is asked for: a build that does not match torch can't be imported at all.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdla.errors import UserError, one_line
from segdla.models.dlaseg import DLASeg
from segdla.models.layers import with_grouped


class Body(nn.Module):
    """A dilated classification network without its head: normalised images (B,3,H,W) to maps at ``strides``."""

    def __init__(self, layers: nn.Module, channels: Sequence[int], strides: Sequence[int]):
        super().__init__()
        self.layers = layers
        self.channels, self.strides = tuple(channels), tuple(strides)

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(self.layers(images).values())  # (B,channels[i],H/strides[i],W/strides[i])


class HeavyHead(nn.Module):
    """The head of FCN or DeepLab v3 without its classifier: the one map of a body to one of the same size."""

    output_stride = 8

    def __init__(self, layers: Sequence[nn.Module], out_channels: int):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.out_channels = out_channels

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.layers(features[0])


class LiteHead(nn.Module):
    """The head of LR-ASPP without its two classifiers: a fine map, and a coarse one that is scaled by its content.

    The sum of two classifiers is one classifier of both maps together.
    """

    output_stride = 8

    def __init__(self, convolution: nn.Module, scale: nn.Module, out_channels: int):
        super().__init__()
        self.convolution, self.scale = convolution, scale
        self.out_channels = out_channels

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        fine, coarse = features
        x = self.convolution(coarse) * self.scale(coarse)
        x = F.interpolate(x, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return torch.cat([fine, x], dim=1)


class Parts(NamedTuple):
    """A network's parts, and its classifier's initial weight (C,out_channels,1,1) and bias (C)."""

    backbone: Body
    decoder: HeavyHead | LiteHead
    weight: Tensor
    bias: Tensor


def _resnet_parts(network: Any) -> Parts:
    *layers, classifier = network.classifier
    return Parts(
        Body(network.backbone, (2048,), (8,)),
        HeavyHead(layers, classifier.in_channels),
        classifier.weight,
        classifier.bias,
    )


def _lite_parts(network: Any) -> Parts:
    head = network.classifier
    fine, coarse = head.low_classifier, head.high_classifier
    body = Body(network.backbone, (fine.in_channels, head.cbr[0].in_channels), (8, 16))
    weight = torch.cat([fine.weight, coarse.weight], dim=1)
    return Parts(body, LiteHead(head.cbr, head.scale, weight.shape[1]), weight, fine.bias + coarse.bias)


NETWORKS: dict[str, tuple[Callable[[Any], Parts], dict[str, Any]]] = {
    "torchvision/fcn_resnet50": (_resnet_parts, {"aux_loss": False}),
    "torchvision/deeplabv3_resnet50": (_resnet_parts, {"aux_loss": False}),
    "torchvision/lraspp_mobilenet_v3_large": (_lite_parts, {}),
}
"""How each is taken apart, and with which settings torchvision builds it."""


def build_torchvision(name: str, num_classes: int, mean: Sequence[float], std: Sequence[float]) -> DLASeg:
    """Return one of ``NETWORKS``, freshly initialised as torchvision does. Raises UserError if that is missing."""
    take_apart, settings = NETWORKS[name]
    try:
        from torchvision.models import segmentation
    except Exception as error:  # built for another torch, it fails in ways of its own
        missing = isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("torchvision")
        reason = "is not installed" if missing else f"can't be imported ({one_line(error, 150)})"
        remedy = "pip install the torchvision that belongs to your torch, or leave model.network out"
        raise UserError(f"{name}: the package torchvision {reason}; {remedy}") from error
    build = getattr(segmentation, name.removeprefix("torchvision/"))
    network = with_grouped(build(weights=None, weights_backbone=None, num_classes=num_classes, **settings))
    parts = take_apart(network)
    ours = DLASeg(parts.backbone, parts.decoder, num_classes, mean, std)
    ours.classifier.load_state_dict({"weight": parts.weight, "bias": parts.bias})
    return ours
