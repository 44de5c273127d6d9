"""Heads: the way from a network's logits (B,N,H,W) to the probabilities of C classes, and to a decision.

Under softmax each class has a logit, and the largest wins, in a pixel or of a whole image. Under sigmoid there is one
logit, the second class's, and its probability is held against a threshold; the first class is what is left. Classes
that overlap have a logit and a threshold each, and the decision is a set: ``Classes`` says how it is written.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from segdla.inference.score_maps import ClassIds, Probabilities, classify, log_probabilities, softmax


class Head(Protocol):
    """The interface of a head."""

    def num_logits(self, num_classes: int) -> int:
        """Return N, the number of logits for so many classes."""

    def probabilities(self, logits: Tensor) -> Probabilities:
        """Return the probabilities (B,C,H,W) of the classes."""

    def logits(self, probabilities: Tensor) -> Tensor:
        """Return logits that have these probabilities."""

    def decide(self, sums: Tensor, number: int = 1, *, of_probabilities: bool = False) -> ClassIds:
        """Return the class ids or sets (B,H,W) uint8 by the sums of ``number`` logits, or probabilities, a pixel.

        Those of whole images are (B,1,1) int32.
        """

    def confidence(self, probabilities: Tensor, class_ids: Tensor) -> Tensor:
        """Return the probability (B,H,W) of each pixel's class or, where they overlap, of the least certain answer."""


@dataclass(frozen=True)
class Softmax:
    """A logit for each class."""

    def num_logits(self, num_classes: int) -> int:
        return num_classes

    def probabilities(self, logits: Tensor) -> Probabilities:
        return Probabilities(softmax(logits))

    def logits(self, probabilities: Tensor) -> Tensor:
        return log_probabilities(probabilities)

    def decide(self, sums: Tensor, number: int = 1, *, of_probabilities: bool = False) -> ClassIds:
        return classify(sums)

    def confidence(self, probabilities: Tensor, class_ids: Tensor) -> Tensor:
        return probabilities.amax(dim=1)


@dataclass(frozen=True)
class WholeImage(Softmax):
    """A logit for each class, of the image's one pixel; there may be more classes than a byte counts."""

    def decide(self, sums: Tensor, number: int = 1, *, of_probabilities: bool = False) -> ClassIds:
        return ClassIds(sums.argmax(dim=1).int())


SOFTMAX = Softmax()


@dataclass(frozen=True)
class Sigmoid:
    """One logit: that of the second of two classes, against what is around it."""

    threshold: float = 0.5

    def num_logits(self, num_classes: int) -> int:
        assert num_classes == 2, f"{num_classes} classes by one logit"
        return 1

    def probabilities(self, logits: Tensor) -> Probabilities:
        return Probabilities(torch.cat([(-logits).sigmoid(), logits.sigmoid()], dim=1))  # (B,2,H,W)

    def logits(self, probabilities: Tensor) -> Tensor:
        rest, second = log_probabilities(probabilities).split(1, dim=1)
        return second - rest

    def decide(self, sums: Tensor, number: int = 1, *, of_probabilities: bool = False) -> ClassIds:
        bound = _bound(self.threshold, of_probabilities)
        return ClassIds((sums[:, -1] > number * bound).to(torch.uint8))  # the one logit, or the second probability

    def confidence(self, probabilities: Tensor, class_ids: Tensor) -> Tensor:
        return torch.where(class_ids == 1, probabilities[:, 1], probabilities[:, 0])


@dataclass(frozen=True)
class Overlapping:
    """A logit for each class, and a threshold."""

    thresholds: tuple[float, ...]

    def num_logits(self, num_classes: int) -> int:
        return num_classes

    def probabilities(self, logits: Tensor) -> Probabilities:
        return Probabilities(logits.sigmoid())

    def logits(self, probabilities: Tensor) -> Tensor:
        return log_probabilities(probabilities) - log_probabilities(1 - probabilities)

    def decide(self, sums: Tensor, number: int = 1, *, of_probabilities: bool = False) -> ClassIds:
        sets = torch.zeros_like(sums[:, 0], dtype=torch.int32)  # runtimes of exported files add no bytes
        for bit, threshold in enumerate(self.thresholds):
            sets = sets + (1 << bit) * (sums[:, bit] > number * _bound(threshold, of_probabilities)).int()
        return ClassIds(sets.to(torch.uint8))

    def confidence(self, probabilities: Tensor, class_ids: Tensor) -> Tensor:
        bits = torch.arange(len(self.thresholds), device=class_ids.device)[:, None, None]
        is_there = (class_ids[:, None] >> bits) & 1 > 0  # (B,C,H,W)
        return torch.where(is_there, probabilities, 1 - probabilities).amin(dim=1)


def _bound(threshold: float, of_probabilities: bool) -> float:
    """Return the probability, or the logit, above which a class is there."""
    return threshold if of_probabilities else math.log(threshold / (1 - threshold))
