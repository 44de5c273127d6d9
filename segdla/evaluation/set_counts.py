"""Scores of classes that overlap: each class is a question of its own, which a pixel answers by yes or no."""

import torch
from torch import Tensor

from segdla.data.source import Classes
from segdla.evaluation.confusion import ConfusionMatrix


class SetCounts(ConfusionMatrix):
    """Counts of pairs of sets, true and predicted, from which those of each class follow; an ``Evaluator``.

    The IoU, recall and precision of a class are those of the pixels that have it. ``pixel_accuracy`` is the share of
    pixels whose whole set is right.
    """

    def __init__(self, classes: Classes, device: torch.device | str = "cpu"):
        super().__init__(classes.num_values, device)
        self.members = torch.from_numpy(classes.members()).to(device)  # (sets,C)

    def by_class(self, counts: Tensor) -> Tensor:
        # By element, because CUDA multiplies no matrices of integers, and some devices have no double.
        members, among_sets = self.members, counts[:, :-1]
        hits = (among_sets[..., None] * members[:, None] * members).sum((0, 1))
        truth, predicted = ((sums[:, None] * members).sum(0) for sums in (counts.sum(1), among_sets.sum(0)))
        return torch.stack([hits, truth, predicted])


def counts_of(classes: Classes, device: torch.device | str = "cpu") -> ConfusionMatrix:
    """Return the evaluator that scores classes."""
    return SetCounts(classes, device) if classes.overlapping else ConfusionMatrix(len(classes), device)
