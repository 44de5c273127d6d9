"""Heads: the way from a network's logits (B,N,H,W) to the probabilities of C classes, and to a decision.

Under softmax each class has a logit, and the largest wins. Under sigmoid there is one logit, the second class's, and
its probability is held against a threshold; the first class is what is left.
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
        """Return the class ids (B,H,W) uint8 by the sums of ``number`` logits, or probabilities, a pixel."""

    def confidence(self, probabilities: Tensor, class_ids: Tensor) -> Tensor:
        """Return the probability (B,H,W) of each pixel's class."""


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
        bound = self.threshold if of_probabilities else math.log(self.threshold / (1 - self.threshold))
        if of_probabilities:
            sums = sums[:, 1:]
        return ClassIds((sums[:, 0] > number * bound).to(torch.uint8))

    def confidence(self, probabilities: Tensor, class_ids: Tensor) -> Tensor:
        return torch.where(class_ids == 1, probabilities[:, 1], probabilities[:, 0])
