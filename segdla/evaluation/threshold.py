"""The thresholds of head sigmoid: the probabilities above which classes are best held to be there."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segdla.data.labels import IGNORE_INDEX
from segdla.evaluation.confusion import bincount
from segdla.evaluation.evaluator import Prediction
from segdla.machine import distributed

_STEPS = 1000


class ThresholdFit:
    """The threshold, in steps of a thousandth, at which the IoU of each logit's class is highest; an ``Evaluator``.

    ``names`` are those of the logits' classes. Of equally good thresholds the one nearest to 0.5 is taken, so a class
    that does not occur keeps it.
    """

    name = "threshold"
    needs_probabilities = True

    def __init__(self, names: Sequence[str], device: torch.device | str = "cpu"):
        self.names = tuple(names)
        # by class, truth (no, yes) and step; the step k holds probabilities above k/1000, up to (k+1)/1000
        self.counts = torch.zeros(len(self.names), 2, _STEPS, dtype=torch.int64, device=device)

    def update(self, images: Tensor, targets: Tensor, prediction: Prediction) -> None:
        """Count a batch; ignored pixels are left out."""
        assert prediction.probabilities is not None, "a threshold needs probabilities"
        for bit, counts in enumerate(self.counts):
            probabilities = prediction.probabilities[:, bit - len(self.names)]
            steps = (probabilities * _STEPS).ceil().long().sub_(1).clamp_(0, _STEPS - 1)
            places = (steps + _STEPS * (targets.long() >> bit & 1)).where(targets != IGNORE_INDEX, 2 * _STEPS)
            counts += bincount(places, 2 * _STEPS + 1)[:-1].view(2, _STEPS)

    def reduce(self) -> None:
        """Add up the counts of all processes."""
        distributed.total(self.counts)

    def result(self) -> dict[str, Any]:
        """Return by class the threshold, its IoU, and the IoU at 0.5. NaN if no pixel is labelled."""
        counts = self.counts.cpu().double()
        predicted, hits = counts.sum(1), counts[:, 1]
        union = _above(predicted) + hits.sum(1, keepdim=True) - _above(hits)
        iou = (_above(hits) / union).nan_to_num(0)[:, 1:]  # of the thresholds 1/1000, 2/1000, ...
        steps = torch.arange(1, _STEPS)
        distance = (steps - _STEPS // 2).abs().expand_as(iou)
        best = distance.where(iou == iou.amax(1, keepdim=True), _STEPS).argmin(1)
        thresholds = (steps[best].double() / _STEPS).where(predicted.sum(1) > 0, float("nan"))
        return {
            "thresholds": dict(zip(self.names, thresholds.tolist(), strict=True)),
            "iou": dict(zip(self.names, iou.gather(1, best[:, None])[:, 0].tolist(), strict=True)),
            "iou_before": dict(zip(self.names, iou[:, _STEPS // 2 - 1].tolist(), strict=True)),
        }


def _above(counts: Tensor) -> Tensor:
    """Return the sums of counts (N,S) from each step on."""
    return counts.flip(1).cumsum(1).flip(1)
