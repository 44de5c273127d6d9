"""Losses over logits (B,C,H,W) and targets (B,H,W), int64 with ``IGNORE_INDEX`` where nothing is labelled.

All are finite, and 0, where no pixel is labelled. None waits for the device, and none uses an operation for which
CUDA has no deterministic implementation.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE_INDEX = 255


@dataclass(frozen=True)
class Objective:
    """What a training makes small: a sum of losses, each times its share.

    ``class_weights`` (C,) are those of the cross-entropy among them.
    """

    terms: Sequence[tuple[float, Callable[[Tensor, Tensor], Tensor]]]
    class_weights: Tensor | None = None

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        return sum(share * loss(logits, targets) for share, loss in self.terms)

    def amount(self, targets: Tensor) -> Tensor:
        """What the labelled pixels count for, together, in a mean: their number, or the weights of their classes."""
        return _counts(targets, self.class_weights, targets != IGNORE_INDEX).sum()


def cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy over the labelled pixels, weighted by class (C,); where all weigh nothing, 0."""
    losses = F.cross_entropy(
        logits, targets, weights, ignore_index=IGNORE_INDEX, reduction="none", label_smoothing=label_smoothing
    )
    counts = _counts(targets, weights, targets != IGNORE_INDEX)
    # What label smoothing spreads from a pixel over other classes has their weights, even where the pixel has none.
    return losses.where(counts > 0, 0).sum() / counts.sum().clamp(min=1e-6)


def ohem(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    threshold: float = 0.7,
    min_kept: float = 0.0625,
) -> Tensor:
    """Mean cross-entropy over the hard pixels: online hard example mining (Shrivastava et al., CVPR 2016).

    Hard are the pixels whose true class has less than ``threshold`` probability, and in any case a share ``min_kept``
    of all pixels, those with the highest loss.
    """
    losses = F.cross_entropy(logits, targets, ignore_index=IGNORE_INDEX, reduction="none")
    num_kept = max(1, int(min_kept * losses.numel()))
    least = losses.detach().flatten().topk(num_kept).values[-1]
    hard = (losses.detach() >= least.clamp(max=-math.log(threshold))) & (targets != IGNORE_INDEX)
    counts = _counts(targets, weights, hard)
    return (losses * counts).sum() / counts.sum().clamp(min=1e-6)


def dice(logits: Tensor, targets: Tensor) -> Tensor:
    """One minus the soft Dice coefficient of each class over the batch, averaged; 0 for classes without a pixel."""
    labelled = (targets != IGNORE_INDEX)[:, None]
    truth = _one_hot(targets, logits.shape[1])
    probs = logits.softmax(1) * labelled
    hits = (probs * truth).sum((0, 2, 3))
    pixels = truth.sum((0, 2, 3))
    coefficient = 2 * hits / (probs.sum((0, 2, 3)) + pixels).clamp(min=1e-7)
    return ((1 - coefficient) * (pixels > 0)).mean()


def lovasz(logits: Tensor, targets: Tensor) -> Tensor:
    """Lovasz-softmax (Berman et al., CVPR 2018) over the batch: the mean over the classes that it holds."""
    labelled = targets != IGNORE_INDEX
    probs = logits.softmax(1)
    total, present = logits.new_zeros(()), logits.new_zeros(())
    for class_id in range(logits.shape[1]):
        truth = targets == class_id
        # Ignored pixels make no error and so come last, where they weigh nothing.
        errors = ((truth.to(probs.dtype) - probs[:, class_id]).abs() * labelled).flatten()
        errors, order = errors.sort(descending=True)
        held = truth.any()
        total = total + errors.dot(_lovasz_gradient(truth.flatten()[order])) * held
        present = present + held
    return total / present.clamp(min=1)


def _lovasz_gradient(truth: Tensor) -> Tensor:
    """What each pixel, sorted by error, adds to the Jaccard loss 1 - intersection / union: (P,) bool to (P,) float.

    A true pixel takes one off the intersection, another adds one to the union. Counted in integers and written as
    the difference that either makes: float sums, and their differences, would drown in a batch's millions of pixels.
    """
    missed = truth.cumsum(0)
    intersection = missed[-1] - missed
    union = missed[-1] + torch.arange(1, len(truth) + 1, device=truth.device) - missed
    union, intersection = union.float(), intersection.float()
    return torch.where(truth, 1 / union.clamp(min=1), intersection / (union * (union - 1)).clamp(min=1))


def boundary(logits: Tensor, targets: Tensor, tolerance: int = 2) -> Tensor:
    """One minus the F1 score of soft boundaries, met within ``tolerance`` pixels (Bokhovkin and Burnaev, 2019).

    The mean over the classes that have a boundary in an image, and over images. Ignored pixels bound nothing.
    """
    labelled = (targets != IGNORE_INDEX)[:, None]
    truth = _edges(_one_hot(targets, logits.shape[1]).to(logits.dtype), labelled)
    predicted = _edges(logits.softmax(1), labelled)
    window = 2 * tolerance + 1
    near_truth, near_predicted = (F.max_pool2d(e, window, 1, tolerance) for e in (truth, predicted))
    precision = (predicted * near_truth).sum((2, 3)) / predicted.sum((2, 3)).clamp(min=1e-6)
    recall = (truth * near_predicted).sum((2, 3)) / truth.sum((2, 3)).clamp(min=1e-6)
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-6)
    bounded = truth.sum((2, 3)) > 0
    return ((1 - f1) * bounded).sum() / bounded.sum().clamp(min=1)


def _edges(members: Tensor, labelled: Tensor) -> Tensor:
    """How much each pixel is of a class and beside one that is not: (B,C,H,W) in 0..1 to the same."""
    outside = (1 - members) * labelled
    return (F.max_pool2d(outside, 3, 1, 1) - outside) * labelled


def _one_hot(targets: Tensor, num_classes: int) -> Tensor:
    return targets[:, None] == torch.arange(num_classes, device=targets.device)[:, None, None]  # (B,C,H,W) bool


def _counts(targets: Tensor, weights: Tensor | None, counted: Tensor) -> Tensor:
    """What each pixel counts for in a mean: its class's weight, or 1; nothing where it is not ``counted``."""
    return counted if weights is None else weights[targets.where(counted, 0)] * counted
