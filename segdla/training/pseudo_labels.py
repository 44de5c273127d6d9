"""Learning from images without labels by what the average of the weights is sure of, on views that are made harder."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from segdla.data.labels import UNLABELLED
from segdla.inference.head import SOFTMAX, Head
from segdla.training.losses import Objective

_SIDES = 0.25, 0.75  # of a pasted rectangle, as shares of the image's


@dataclass(frozen=True, kw_only=True)
class PseudoLabelled(Objective):
    """The labels' loss, in which unlabelled pixels have the labels that the moving average of the weights gives them.

    The average sees the crop (the weak view) and gives its logits, ``answer``; what is less probable than
    ``confidence`` is ignored. The network then sees the strong view: other colours, and a rectangle of another image
    of the part. That image's labels come with it (Sohn et al., FixMatch, NeurIPS 2020; French et al., BMVC 2020).

    ``change`` is the largest relative change of brightness, contrast and saturation, to either side, and ``grey`` the
    share of views without colour. Labelled images stay as they are. All numbers are drawn on the device, so that
    ``train.cuda_graph`` draws new ones too.
    """

    answer: Callable[[Tensor], Tensor]
    confidence: float = 0.9
    head: Head = SOFTMAX
    change: float = 0.5
    grey: float = 0.2

    @torch.no_grad()
    def prepared(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the views, and the targets with the average's labels: parts then count by all that is learned."""
        unlabelled = targets == UNLABELLED
        targets = torch.where(unlabelled, self._labels(self.answer(images)), targets)
        return strong_views(images, targets, unlabelled.flatten(1).any(1)[:, None, None], self.change, self.grey)

    def _labels(self, logits: Tensor) -> Tensor:
        """Return the targets (B,H,W) int64 that logits are sure of."""
        class_ids = self.head.decide(logits)
        is_sure = self.head.confidence(self.head.probabilities(logits), class_ids) >= self.confidence
        return class_ids.long().where(is_sure, self.ignore_index)


def strong_views(images: Tensor, targets: Tensor, chosen: Tensor, change: float, grey: float) -> tuple[Tensor, Tensor]:
    """Return images (B,3,H,W) in 0..255 as float32, and targets (B,H,W), with the ``chosen`` (B,1,1) made harder."""
    number, _, height, width = images.shape
    device = images.device
    images = images.float()
    views = _coloured(images, change, grey)
    # Each chosen image gets a rectangle of the image before it.
    low, high = _SIDES
    tall, wide = torch.empty(2, number, 1, 1, device=device).uniform_(low, high)
    top, left = torch.rand(2, number, 1, 1, device=device) * (1 - torch.stack([tall, wide]))
    rows = torch.arange(height, device=device)[:, None] / height
    columns = torch.arange(width, device=device) / width
    inside = (rows >= top) & (rows < top + tall) & (columns >= left) & (columns < left + wide)  # (B,H,W)
    views = torch.where(inside[:, None], views.roll(1, 0), views)
    mixed = torch.where(inside, targets.roll(1, 0), targets)
    return torch.where(chosen[:, None], views, images), torch.where(chosen, mixed, targets)


def _coloured(images: Tensor, change: float, share_of_grey: float) -> Tensor:
    """Change brightness, contrast and saturation of images (B,3,H,W) in 0..255, each image's by factors of its own."""
    device, number = images.device, len(images)
    brightness, contrast, saturation = torch.empty(3, number, 1, 1, 1, device=device).uniform_(1 - change, 1 + change)
    saturation = torch.where(torch.rand(number, 1, 1, 1, device=device) < share_of_grey, 0, saturation)
    grey = (images * images.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    images = grey + saturation * (images - grey)
    mean = grey.mean((2, 3), keepdim=True)
    return (brightness * (mean + contrast * (images - mean))).clamp(0, 255)
