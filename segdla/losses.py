"""Losses over logits (B,C,H,W) and targets (B,H,W), where PyTorch's own do not do."""

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None, ignore_index: int = 255) -> Tensor:
    """Mean cross-entropy over the labelled pixels, weighted by class; 0, and not NaN, where none is labelled."""
    total = F.cross_entropy(logits, targets, weights, ignore_index=ignore_index, reduction="sum")
    labelled = targets != ignore_index
    share = labelled.sum() if weights is None else weights[targets.where(labelled, 0)].mul(labelled).sum()
    return total / share.clamp(min=1e-6)
