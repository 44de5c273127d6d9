"""The segmentation network: normalise, backbone, decoder, classifier, logits at the input's size."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdla.models.ida import DLAUp
from segdla.models.layers import init_weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class DLASeg(nn.Module):
    """A backbone and IDA-up, as one fully convolutional network.

    ``backbone`` is any module that turns images (B,3,H,W) into a list of maps described by its ``channels`` and
    ``strides``; ``output_stride`` names the finest of them that the decoder uses. ``mean`` and ``std`` are those of
    images scaled to 0..1.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        output_stride: int = 2,
        upsample: str = "learned",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ):
        super().__init__()
        assert output_stride in backbone.strides[:-1], f"output stride {output_stride} of {backbone.strides}"
        self.output_stride = output_stride
        self.first = backbone.strides.index(output_stride)
        self.divisor = backbone.strides[-1]
        self.backbone = backbone
        self.decoder = DLAUp(backbone.channels[self.first :], backbone.strides[self.first :], upsample)
        self.classifier = nn.Conv2d(self.decoder.out_channels, num_classes, 1)
        init_weights(self.classifier)
        # Part of the architecture, written in the checkpoint's config: not in the state dict, so that the authors'
        # weights load strictly.
        self.register_buffer("mean", 255 * torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """RGB images (B,3,H,W), uint8 or float in 0..255, any H and W, to logits (B,C,H,W)."""
        return at_image_size(self.logits(images), self.output_stride, tuple(images.shape[-2:]))

    def logits(self, images: Tensor) -> Tensor:
        """The logits (B,C,h,w) at the output stride, of the images padded at the bottom and the right."""
        height, width = images.shape[-2:]
        if torch.compiler.is_exporting() or height % self.divisor or width % self.divisor:
            images = padded(images, self.divisor)  # exported, one graph does for all sizes
        x = (images - self.mean) / self.std
        features = self.backbone(x)[self.first :]
        logits = self.classifier(self.decoder(features))
        # In half precision, interpolation would let near ties change sides; here they are few.
        return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def padded(images: Tensor, divisor: int) -> Tensor:
    """Images (B,3,H,W), reflected at the bottom and the right to multiples of ``divisor``.

    As training crops are beyond an image's border. Zeros would be an edge to the network, and repeated pixels, which it
    has not seen before, put a strip of wrong classes along the bottom. What is too small to be reflected once ends in
    its first pixel.
    """
    for dim in (-2, -1):
        side = images.shape[dim]
        place = torch.arange(side + -side % divisor, device=images.device)
        images = images.index_select(dim, torch.minimum(place, 2 * (side - 1) - place).clamp(min=0))
    return images


def at_image_size(logits: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Logits (B,C,h,w) at a stride, of images padded at the bottom and the right, to (B,C,H,W) of their size."""
    height, width = size
    padded = [side * stride for side in logits.shape[-2:]]
    # Equal to the authors' fixed transposed convolution but at the border, which theirs darkens.
    return F.interpolate(logits, size=padded, mode="bilinear", align_corners=False)[..., :height, :width]
