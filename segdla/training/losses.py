"""Losses over logits (B,C,H,W) and targets (B,H,W) int64, in which ``IGNORE_INDEX`` marks unlabelled pixels.

The ``binary`` ones and ``focal`` are of head sigmoid: each logit says alone if its class is there. Bit c of a target
says so for logit c, and of two classes, whose one logit is the second's, that bit is their id 0 or 1.

Targets of whole images may be the shares (B,C,1,1) of their classes, in float32, for ``cross_entropy`` alone.

All are 0 if no pixel is labelled. None waits for the device, and none uses an operation for which CUDA has no
deterministic implementation.
"""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdla.data.labels import IGNORE_INDEX
from segdla.machine.device import in_precision
from segdla.training.state import Plan

PartLoss = Callable[[Tensor, Tensor, Tensor | float], Tensor]
"""Takes images (B,3,H,W) and targets (B,H,W) of a part of a step, and the part's share of the labelled pixels."""


@dataclass(frozen=True)
class Objective:
    """The function that training minimises: a sum of losses, each multiplied by its share.

    ``class_weights`` (C,) are those of the cross-entropy among them. Targets of ``ignore_index`` are not labelled.
    """

    terms: Sequence[tuple[float, Callable[[Tensor, Tensor], Tensor]]]
    class_weights: Tensor | None = None
    ignore_index: int = IGNORE_INDEX

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of logits (B,C,H,W) and targets (B,H,W)."""
        return reduce(operator.add, (share * loss(logits, targets) for share, loss in self.terms))

    def prepared(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return images (B,3,H,W) and targets (B,H,W) of a part of a step as they are learned from."""
        return images, targets

    def over(self, learner: nn.Module, plan: Plan) -> PartLoss:
        """Return the loss of a prepared part of a step, of what ``learner`` makes of it in the plan's precision."""
        forward = in_precision(learner, plan.device, plan.precision)
        return lambda images, targets, share: self(forward(images), targets) * share

    def amount(self, targets: Tensor) -> Tensor:
        """Return the number of labelled pixels, each counted with the weight of its class."""
        return _label_weights(targets, self.class_weights, self.ignore_index).sum()


def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """Mean cross-entropy over the labelled pixels, weighted by class (C,); 0 if all pixels have weight 0.

    As torch's, except that under label smoothing a pixel of a class of weight 0 counts as ignored. Torch would still
    learn from it, by the share that smoothing spreads over the other classes, and leave it out of the divisor.
    """
    losses = F.cross_entropy(
        logits, targets, weights, ignore_index=ignore_index, reduction="none", label_smoothing=label_smoothing
    )
    weight = _label_weights(targets, weights, ignore_index)
    return losses.where(weight > 0, 0).sum() / weight.sum().clamp(min=1e-6)


def ohem(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    threshold: float = 0.7,
    min_kept: float = 0.0625,
) -> Tensor:
    """Mean cross-entropy over the hard pixels: online hard example mining (Shrivastava et al., CVPR 2016).

    A pixel is hard if its true class has a probability below ``threshold``, or if it is among the share ``min_kept`` of
    all pixels that have the highest loss.
    """
    losses = F.cross_entropy(logits, targets, ignore_index=IGNORE_INDEX, reduction="none")
    num_kept = max(1, int(min_kept * losses.numel()))
    least = losses.detach().flatten().topk(num_kept).values[-1]
    hard = (losses.detach() >= least.clamp(max=-math.log(threshold))) & (targets != IGNORE_INDEX)
    weight = _pixel_weights(targets, weights, hard)
    return (losses * weight).sum() / weight.sum().clamp(min=1e-6)


def dice(logits: Tensor, targets: Tensor) -> Tensor:
    """One minus the soft Dice coefficient of each class over the batch, averaged; a class without pixels counts 0."""
    return _dice(logits.softmax(1), _one_hot(targets, logits.shape[1]), targets)


def _dice(probs: Tensor, truth: Tensor, targets: Tensor) -> Tensor:
    """Return ``dice`` of probabilities and truth (B,C,H,W), which is true nowhere at ignored pixels."""
    probs = probs * (targets != IGNORE_INDEX)[:, None]
    hits = (probs * truth).sum((0, 2, 3))
    pixels = truth.sum((0, 2, 3))
    coefficient = 2 * hits / (probs.sum((0, 2, 3)) + pixels).clamp(min=1e-7)
    return ((1 - coefficient) * (pixels > 0)).mean()


def lovasz(logits: Tensor, targets: Tensor) -> Tensor:
    """Lovasz-softmax (Berman et al., CVPR 2018) over the batch: the mean over the classes in it."""
    labelled = targets != IGNORE_INDEX
    probs = logits.softmax(1, dtype=torch.promote_types(logits.dtype, torch.float32))  # halves can't count pixels
    total, present = probs.new_zeros(()), probs.new_zeros(())
    for class_id in range(logits.shape[1]):
        truth = targets == class_id
        # Ignored pixels have error 0 and so come last, where they weigh nothing.
        errors = ((truth.to(probs.dtype) - probs[:, class_id]).abs() * labelled).flatten()
        errors, order = errors.sort(descending=True)
        is_present = truth.any()
        total = total + errors.dot(_lovasz_gradient(truth.flatten()[order], probs.dtype)) * is_present
        present = present + is_present
    return total / present.clamp(min=1)


def _lovasz_gradient(truth: Tensor, dtype: torch.dtype) -> Tensor:
    """Return each pixel's share of the Jaccard loss 1 - intersection / union, pixels sorted by error: (P,) to (P,).

    A true pixel takes one from the intersection, any other pixel adds one to the union. The difference that each makes
    is computed from integer counts: differences of float sums would drown in a batch's millions of pixels.
    """
    missed = truth.cumsum(0)
    intersection = missed[-1] - missed
    union = missed[-1] + torch.arange(1, len(truth) + 1, device=truth.device) - missed
    union, intersection = union.to(dtype), intersection.to(dtype)
    return torch.where(truth, 1 / union.clamp(min=1), intersection / (union * (union - 1)).clamp(min=1))


def boundary(logits: Tensor, targets: Tensor, tolerance: int = 2) -> Tensor:
    """One minus the F1 score of soft boundaries, matched within ``tolerance`` pixels (Bokhovkin and Burnaev, 2019).

    It is averaged over images and the classes with a boundary in them. There is no boundary at ignored pixels.
    """
    labelled = (targets != IGNORE_INDEX)[:, None]
    truth = _edges(_one_hot(targets, logits.shape[1]).to(logits.dtype), labelled)
    predicted = _edges(logits.softmax(1), labelled)
    window = 2 * tolerance + 1
    near_truth, near_predicted = (F.max_pool2d(e, window, 1, tolerance) for e in (truth, predicted))
    precision = (predicted * near_truth).sum((2, 3)) / predicted.sum((2, 3)).clamp(min=1e-6)
    recall = (truth * near_predicted).sum((2, 3)) / truth.sum((2, 3)).clamp(min=1e-6)
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-6)
    has_boundary = truth.sum((2, 3)) > 0
    return ((1 - f1) * has_boundary).sum() / has_boundary.sum().clamp(min=1)


def binary_cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Mean binary cross-entropy (BCE) over logits and labelled pixels; ``weights`` (2,) are of targets 0 and 1."""
    return _mean(_binary(logits, targets, label_smoothing), targets, weights)


def focal(logits: Tensor, targets: Tensor, weights: Tensor | None = None, gamma: float = 2.0) -> Tensor:
    """Binary cross-entropy, each term times the doubt in the truth to the power ``gamma`` (Lin et al., ICCV 2017).

    The doubt is one minus the probability of what is true.
    """
    losses = _binary(logits, targets)
    doubt = -torch.expm1(-losses)
    return _mean(losses * doubt.clamp(min=1e-6) ** gamma, targets, weights)  # at 0 a root has no slope


def binary_dice(logits: Tensor, targets: Tensor) -> Tensor:
    """One minus the soft Dice coefficient of each logit's class, as ``dice``."""
    return _dice(logits.sigmoid(), _members(targets, logits.shape[1]), targets)


def _binary(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the binary cross-entropy (B,C,H,W) of each logit."""
    truth = _members(targets, logits.shape[1]).to(logits.dtype)
    truth = truth * (1 - label_smoothing) + label_smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, truth, reduction="none")


def _mean(losses: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean of losses (B,C,H,W) over classes and labelled pixels, weighted by target."""
    weight = _pixel_weights(targets, weights, targets != IGNORE_INDEX)
    return (losses.mean(1).where(weight > 0, 0) * weight).sum() / weight.sum().clamp(min=1e-6)


def _members(targets: Tensor, num_classes: int) -> Tensor:
    """Return the bits of targets (B,H,W) as (B,C,H,W) bool; ignored pixels are of no class."""
    bits = targets.where(targets != IGNORE_INDEX, 0)[:, None]
    return (bits >> torch.arange(num_classes, device=targets.device)[:, None, None]) & 1 > 0


def _edges(members: Tensor, labelled: Tensor) -> Tensor:
    """Return a soft boundary map, (B,C,H,W) in 0..1 like ``members``: pixels of a class that touch another class."""
    outside = (1 - members) * labelled
    return (F.max_pool2d(outside, 3, 1, 1) - outside) * labelled


def _one_hot(targets: Tensor, num_classes: int) -> Tensor:
    """Return targets (B,H,W) as (B,C,H,W) bool; ignored pixels are of no class."""
    return targets[:, None] == torch.arange(num_classes, device=targets.device)[:, None, None]


def _label_weights(targets: Tensor, weights: Tensor | None, ignore_index: int) -> Tensor:
    """Return each pixel's weight in a mean (B,H,W): that of its class, or of its classes by their shares."""
    if targets.is_floating_point():
        return (targets if weights is None else targets * weights[:, None, None]).sum(1)
    return _pixel_weights(targets, weights, targets != ignore_index)


def _pixel_weights(targets: Tensor, weights: Tensor | None, is_counted: Tensor) -> Tensor:
    """Return each pixel's weight in a mean (B,H,W): its class's weight, or 1; 0 if it is not counted."""
    return is_counted if weights is None else weights[targets.where(is_counted, 0)] * is_counted
