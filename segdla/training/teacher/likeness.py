"""How far a student's answers are from a teacher's: 0 where they are alike. Means over all pixels, labelled or not."""

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST_VARIANCE = 1e-12  # the product of two; a channel without variance resembles nothing


def divergence(logits: Tensor, of_teacher: Tensor, temperature: float, sigmoid: bool = False) -> Tensor:
    """Kullback-Leibler divergence of the class probabilities that logits (B,C,H,W) give at a temperature.

    Under softmax the classes share a pixel; under ``sigmoid`` each logit is a class that is there or not, and the mean
    is over them too. Times the temperature's square, so that its gradient keeps its size (Hinton et al., 2015, section
    2).
    """
    ours, theirs = (_log_probabilities(x / temperature, sigmoid) for x in (logits, of_teacher))
    return temperature**2 * (theirs.exp() * (theirs - ours)).sum(1).mean()


def decorrelation(maps: Tensor, of_teacher: Tensor) -> Tensor:
    """One minus Pearson's correlation of maps (B,C,H,W), channel by channel over the batch; the mean of the channels.

    Half the squared distance of maps that have mean 0 and variance 1 (Cao et al., PKD, NeurIPS 2022): what magnitude a
    map has says nothing, so maps of different networks can be compared.
    """
    ours, theirs = (x - x.mean((0, 2, 3), keepdim=True) for x in (maps, of_teacher))
    variances = ours.square().mean((0, 2, 3)) * theirs.square().mean((0, 2, 3))
    return (1 - (ours * theirs).mean((0, 2, 3)) * (variances + _LEAST_VARIANCE).rsqrt()).mean()


def _log_probabilities(logits: Tensor, sigmoid: bool) -> Tensor:
    """Return log-probabilities (B,C,H,W) of the classes, or (B,2,C,H,W) of each being absent and there."""
    return F.log_softmax(torch.stack([torch.zeros_like(logits), logits], 1) if sigmoid else logits, dim=1)
