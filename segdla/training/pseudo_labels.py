"""Learning from images without labels by what the average of the weights is sure of, on views that are made harder."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segdla.data.labels import UNLABELLED
from segdla.inference.head import SOFTMAX, Head
from segdla.machine.device import in_precision
from segdla.training.losses import Objective, PartLoss
from segdla.training.state import Plan

CHANGE = 0.5  # of brightness, contrast and saturation, to either side
GREY = 0.2  # share of the views without colour
_SIDES = 0.25, 0.75  # of a pasted rectangle, as shares of the image's


@dataclass(frozen=True)
class PseudoLabelled(Objective):
    """The labels' loss, in which unlabelled pixels have the labels that the moving average of the weights gives them.

    The average sees the crop (the weak view), and answers that are less probable than ``confidence`` are ignored. The
    network then sees the strong view: other colours, and a rectangle of another image of the batch, whose labels come
    with it (Sohn et al., FixMatch, NeurIPS 2020; French et al., BMVC 2020). Labelled images stay as they are. All
    numbers are drawn on the device, so that ``train.cuda_graph`` draws new ones too.
    """

    confidence: float = 0.9
    head: Head = SOFTMAX

    def over(self, learner: nn.Module, plan: Plan, average: nn.Module | None = None) -> PartLoss:
        forward = in_precision(learner, plan.device, plan.precision)
        answer = in_precision(average or learner, plan.device, plan.precision)

        def loss_of(images: Tensor, targets: Tensor, share: Tensor | float) -> Tensor:
            unlabelled = targets == UNLABELLED
            with torch.no_grad():
                targets = torch.where(unlabelled, self._labels(answer(images)), targets)
                views, targets = strong_views(images, targets, unlabelled.flatten(1).any(1)[:, None, None])
            return self(forward(views), targets) * share

        return loss_of

    def amount(self, targets: Tensor) -> Tensor:
        """Return the number of labelled pixels as ``Objective`` does, and of all that may get a label."""
        unlabelled = targets == UNLABELLED
        return super().amount(targets.where(~unlabelled, self.ignore_index)) + unlabelled.sum()

    def _labels(self, logits: Tensor) -> Tensor:
        """Return the targets (B,H,W) int64 that logits are sure of."""
        class_ids = self.head.decide(logits)
        is_sure = self.head.confidence(self.head.probabilities(logits), class_ids) >= self.confidence
        return class_ids.long().where(is_sure, self.ignore_index)


def strong_views(images: Tensor, targets: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Return images (B,3,H,W) in 0..255 as float32, and targets (B,H,W), with the ``chosen`` (B,1,1) made harder."""
    number, _, height, width = images.shape
    device = images.device
    images = images.float()
    views = _coloured(images)
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


def _coloured(images: Tensor) -> Tensor:
    """Change brightness, contrast and saturation of images (B,3,H,W) in 0..255, each image's by factors of its own."""
    device, number = images.device, len(images)
    brightness, contrast, saturation = torch.empty(3, number, 1, 1, 1, device=device).uniform_(1 - CHANGE, 1 + CHANGE)
    saturation = torch.where(torch.rand(number, 1, 1, 1, device=device) < GREY, 0, saturation)
    grey = (images * images.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    images = grey + saturation * (images - grey)
    mean = grey.mean((2, 3), keepdim=True)
    return (brightness * (mean + contrast * (images - mean))).clamp(0, 255)
