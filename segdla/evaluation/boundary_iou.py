"""Boundary IoU (Cheng et al., CVPR 2021): the IoU of what lies close to the outlines, where area says little."""

from collections.abc import Sequence
from math import hypot
from typing import Any

import torch
from torch import Tensor

from segdla.evaluation.confusion import bincount
from segdla.evaluation.evaluator import Prediction
from segdla.machine import distributed

RATIO = 0.02
"""Width of the band along an outline, as a share of the image's diagonal: the paper's."""


class BoundaryIoU:
    """IoU of each class's inner boundary band, over all images; an ``Evaluator``.

    The band of a mask holds its pixels that have a pixel outside it within ``ratio`` times the image's diagonal, by
    rows and columns alike. Outside the image there is no mask. As in the IoU, ignored pixels belong to no mask, neither
    of the truth nor of the prediction.
    """

    name = "boundary_iou"
    needs_probabilities = False

    def __init__(self, names: Sequence[str], device: torch.device | str = "cpu", ratio: float = RATIO):
        self.names = tuple(names)
        self.ratio = ratio
        self.counts = torch.zeros(3, len(self.names) + 1, dtype=torch.int64, device=device)  # hits, truth, predicted

    def update(self, images: Tensor, targets: Tensor, prediction: Prediction) -> None:
        """Count the bands of a batch."""
        nothing = len(self.names)
        truth = targets.clamp(max=nothing)
        predicted = prediction.class_ids.clamp(max=nothing).where(truth != nothing, nothing)
        width = max(1, round(self.ratio * hypot(*targets.shape[-2:])))
        in_truth, in_predicted = (near_boundary(ids, width) for ids in (truth, predicted))
        hits = in_truth & in_predicted & (truth == predicted)
        bands = truth.where(hits, nothing), truth.where(in_truth, nothing), predicted.where(in_predicted, nothing)
        for counts, band in zip(self.counts, bands, strict=True):
            counts += bincount(band, nothing + 1)

    def reduce(self) -> None:
        """Add up the counts of all processes."""
        distributed.total(self.counts)

    def result(self) -> dict[str, Any]:
        """Return the mean over classes, and the IoU by class; NaN for an absent one."""
        hits, truth, predicted = self.counts[:, :-1].cpu().double()
        iou = hits / (truth + predicted - hits)
        return {"mean": iou.nanmean().item(), "iou": dict(zip(self.names, iou.tolist(), strict=True))}


def near_boundary(class_ids: Tensor, width: int) -> Tensor:
    """Return where (B,H,W) a pixel of another class, or the image's end, is at most ``width`` rows and columns away.

    All classes at once: in the square around a pixel of a class's inside, the least and the greatest id are the same.
    """
    ids = torch.nn.functional.pad(class_ids.short(), (width,) * 4, value=-1)
    return _over_squares(torch.minimum, ids, width) != _over_squares(torch.maximum, ids, width)


def _over_squares(pick: Any, ids: Tensor, width: int) -> Tensor:
    """Pick the least or the greatest of each square with a side of 2 ``width`` + 1, by doubling (van Herk's idea)."""
    for axis in (-1, -2):
        length = ids.shape[axis] - 2 * width
        reach = 1
        while 2 * reach <= 2 * width + 1:
            ids = pick(ids.narrow(axis, 0, ids.shape[axis] - reach), ids.narrow(axis, reach, ids.shape[axis] - reach))
            reach *= 2
        ids = pick(ids.narrow(axis, 0, length), ids.narrow(axis, 2 * width + 1 - reach, length))
    return ids
