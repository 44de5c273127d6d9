"""Losses over logits (B,C,H,W) and targets (B,H,W), where PyTorch's own do not do."""

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, targets: Tensor, ignore_index: int = 255) -> Tensor:
    """Mean cross-entropy over the pixels that are labelled; 0, and not NaN, where none is."""
    total = F.cross_entropy(logits, targets, ignore_index=ignore_index, reduction="sum")
    return total / (targets != ignore_index).sum().clamp(min=1)
