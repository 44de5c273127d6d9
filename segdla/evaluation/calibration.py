"""Calibration: whether a network that is 80 % sure is right in 80 of 100 pixels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segdla.evaluation.confusion import bincount
from segdla.evaluation.evaluator import Prediction
from segdla.machine import distributed

BINS = 15
_STEPS = 1 << 16
"""Confidences are counted in whole steps of 1/65536, so that sums are exact in any order and on any device."""


class Calibration:
    """Confidence against accuracy, in bins of equal width, and the expected calibration error; an ``Evaluator``.

    The confidence of a pixel is the probability of the class that is predicted. The expected calibration error (ECE;
    Guo et al., ICML 2017) is the mean over pixels of the distance between confidence and accuracy in their bin.
    """

    name = "calibration"
    needs_probabilities = True

    def __init__(self, names: Sequence[str], device: torch.device | str = "cpu"):
        self.names = tuple(names)
        # by predicted class and bin: pixels, hits, and the sum of confidences in steps
        self.counts = torch.zeros(3, len(self.names) * BINS, dtype=torch.int64, device=device)

    def update(self, images: Tensor, targets: Tensor, prediction: Prediction) -> None:
        """Count a batch; ignored pixels are left out."""
        assert prediction.probabilities is not None, "calibration needs probabilities"
        class_ids, dropped = prediction.class_ids.long(), len(self.names) * BINS
        confidences = prediction.probabilities.gather(1, class_ids[:, None])[:, 0]
        steps = (confidences * _STEPS).round().long().clamp(0, _STEPS)
        places = class_ids * BINS + (steps * BINS // _STEPS).clamp(max=BINS - 1)
        places = places.where(targets < len(self.names), dropped)
        pixels, hits = (
            bincount(chosen, dropped + 1) for chosen in (places, places.where(class_ids == targets, dropped))
        )
        sums = torch.zeros_like(pixels).scatter_add_(0, places.flatten(), steps.flatten())
        self.counts += torch.stack([pixels, hits, sums])[:, :-1]

    def reduce(self) -> None:
        """Add up the counts of all processes."""
        distributed.total(self.counts)

    def result(self) -> dict[str, Any]:
        """Return the ECE over all pixels and by predicted class, and the pixels, confidence and accuracy of each bin.

        NaN for a class that is never predicted, and in empty bins.
        """
        of_classes = self.counts.cpu().double().view(3, len(self.names), BINS)
        pixels, hits, sums = of_classes.sum(1)
        return {
            "ece": _error(*of_classes.sum(1)[:, None]).item(),
            "ece_by_class": dict(zip(self.names, _error(*of_classes).tolist(), strict=True)),
            "pixels": self.counts[0].view(-1, BINS).sum(0).tolist(),
            "confidence": (sums / _STEPS / pixels).tolist(),
            "accuracy": (hits / pixels).tolist(),
        }


def _error(pixels: Tensor, hits: Tensor, sums: Tensor) -> Tensor:
    """Return the ECE (C) from counts (C,BINS)."""
    return (hits - sums / _STEPS).abs().sum(1) / pixels.sum(1)
