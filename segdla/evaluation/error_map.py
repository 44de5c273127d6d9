"""The places in the frame where a network errs."""

from typing import Any

import torch
from torch import Tensor

from segdla.evaluation.evaluator import Prediction
from segdla.machine import distributed

CELLS = (30, 40)
"""Rows and columns of the map; images of any size are laid over it."""


class ErrorMap:
    """Labelled and wrong pixels by place in the frame; an ``Evaluator``."""

    name = "error_map"
    needs_probabilities = False

    def __init__(self, num_classes: int, device: torch.device | str = "cpu", cells: tuple[int, int] = CELLS):
        self.num_classes = num_classes
        self.counts = torch.zeros(2, *cells, dtype=torch.int64, device=device)  # labelled, wrong

    def update(self, images: Tensor, targets: Tensor, prediction: Prediction) -> None:
        """Count a batch; ignored pixels are left out."""
        labelled = targets < self.num_classes
        wrong = labelled & (prediction.class_ids != targets)
        self.counts += torch.stack([in_cells(pixels.sum(0), self.counts.shape[1:]) for pixels in (labelled, wrong)])

    def reduce(self) -> None:
        """Add up the counts of all processes."""
        distributed.total(self.counts)

    def result(self) -> dict[str, Any]:
        """Return the labelled and the wrong pixels of each cell, by rows."""
        labelled, wrong = self.counts.tolist()
        return {"labelled": labelled, "wrong": wrong}


def in_cells(counts: Tensor, cells: tuple[int, int] | torch.Size) -> Tensor:
    """Add up counts (H,W) in a grid of cells; each pixel falls into one, and cells of a small image may be empty."""
    for axis, number in enumerate(cells):
        length = counts.shape[axis]
        cell = torch.arange(length, device=counts.device) * number // length
        shape = [number if place == axis else side for place, side in enumerate(counts.shape)]
        counts = torch.zeros(shape, dtype=counts.dtype, device=counts.device).index_add_(axis, cell, counts)
    return counts
