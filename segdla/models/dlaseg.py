"""The segmentation network: normalise, backbone, decoder, classifier, logits at the images' size."""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdla.models.layers import init_weights


class Backbone(Protocol):
    """A module that gives maps to a decoder: ``DLA``, or any other ``nn.Module`` with the same attributes.

    It turns normalised images (B,3,H,W) into maps (B,channels[i],H/strides[i],W/strides[i]), finest first. H and W are
    multiples of the last stride.
    """

    @property
    def channels(self) -> Sequence[int]: ...
    @property
    def strides(self) -> Sequence[int]: ...
    def __call__(self, images: Tensor, /) -> Sequence[Tensor]: ...


class Decoder(Protocol):
    """A module that merges maps: ``DLAUp``, or any other ``nn.Module`` with the same attributes.

    It turns the backbone's maps from ``output_stride`` on into one (B,out_channels,h,w) at that stride.
    """

    @property
    def output_stride(self) -> int: ...
    @property
    def out_channels(self) -> int: ...
    def __call__(self, features: Sequence[Tensor], /) -> Tensor: ...


class DLASeg(nn.Module):
    """A fully convolutional network of a backbone, a decoder and a classifier; its parts are handed in, built.

    ``mean`` and ``std`` are those of RGB images scaled to 0..1.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: Backbone, decoder: Decoder, num_classes: int, mean: Sequence[float], std: Sequence[float]
    ):
        super().__init__()
        strides = tuple(backbone.strides)
        assert decoder.output_stride in strides, f"output stride {decoder.output_stride} of {strides}"
        assert isinstance(backbone, nn.Module) and isinstance(decoder, nn.Module), "parts without weights to train"
        self.output_stride = decoder.output_stride
        self.first_level = strides.index(self.output_stride)
        self.divisor = strides[-1]
        self.backbone = backbone
        self.decoder = decoder
        self.classifier = nn.Conv2d(decoder.out_channels, num_classes, 1)
        init_weights(self.classifier)
        # Both are part of the architecture and stand in the checkpoint's config, not in the state dict, so that the
        # authors' weights load strictly.
        self.register_buffer("mean", 255 * torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B,C,H,W) of RGB images (B,3,H,W), uint8 or float in 0..255, of any height and width."""
        height, width = images.shape[-2:]
        return at_image_size(self.logits(images), self.output_stride, (height, width))

    def logits(self, images: Tensor) -> Tensor:
        """Return logits (B,C,h,w) at the output stride, of the images padded at the bottom and the right."""
        return self.decoded(self.maps(images))

    def maps(self, images: Tensor) -> Sequence[Tensor]:
        """Return the backbone's maps, finest first, of the images padded at the bottom and the right."""
        height, width = images.shape[-2:]
        any_size = torch.SymInt in map(type, images.shape)  # when exporting: one graph for all
        if any_size or height % self.divisor or width % self.divisor:
            images = padded(images, self.divisor)
        x = (images - self.mean) / self.std
        return self.backbone(x)  # (B,channels[i],H/strides[i],W/strides[i])

    def decoded(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the logits (B,C,h,w) that the backbone's maps give."""
        logits = self.classifier(self.decoder(maps[self.first_level :]))  # (B,C,h,w)
        # Interpolated in half precision, many near ties would change sides; rounded here, few do.
        return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def padded(images: Tensor, divisor: int) -> Tensor:
    """Pad images (B,3,H,W) at the bottom and the right, by reflection, to multiples of ``divisor``.

    Training crops are padded in the same way beyond an image's border. Zeros would be an edge to the network; repeated
    pixels, which it has never seen, put a strip of wrong classes along the bottom. An image too small to be reflected
    once is continued with its first pixel.
    """
    height, width = images.shape[-2:]
    return padded_to(images, (height + -height % divisor, width + -width % divisor))


def padded_to(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Pad images (B,3,H,W) to a size (height, width), as ``padded`` does."""
    for dim, length in zip((-2, -1), size, strict=True):
        side = images.shape[dim]
        position = torch.arange(length, device=images.device)
        images = images.index_select(dim, torch.minimum(position, 2 * (side - 1) - position).clamp(min=0))
    return images


def at_image_size(logits: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Upsample logits (B,C,h,w) by ``stride`` and cut off the padding at the bottom and the right: (B,C,H,W)."""
    height, width = size
    padded_size = [side * stride for side in logits.shape[-2:]]
    # Equal to the authors' fixed transposed convolution except at the border, which theirs darkens.
    return F.interpolate(logits, size=padded_size, mode="bilinear", align_corners=False)[..., :height, :width]
