"""The confusion matrix with the images behind each of its cells."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from segdla.evaluation.confusion import ConfusionMatrix
from segdla.evaluation.evaluator import Prediction
from segdla.machine import distributed


class ConfusedImages:
    """The images that give most to each cell of the confusion matrix, in memory that no number of images raises.

    An ``Evaluator``; ``most`` is the number of images it keeps for each cell.
    """

    name = "confused_images"
    needs_probabilities = False

    def __init__(self, num_classes: int, device: torch.device | str = "cpu", most: int = 6):
        self.confusion = ConfusionMatrix(num_classes, device)
        self.most = most
        self.counts = np.zeros((0, num_classes, num_classes), np.int64)  # (most,C,C), in descending order
        self.names = np.zeros(self.counts.shape, object)

    def update(self, images: Tensor, targets: Tensor, prediction: Prediction) -> None:
        """Count a batch."""
        for name, class_ids, target in zip(prediction.names, prediction.class_ids, targets, strict=True):
            counts = self.confusion.count(class_ids, target)[:-1, :-1].cpu().numpy()[None]
            self._keep(counts, np.full(counts.shape, name, object))

    def reduce(self) -> None:
        """Add up the counts of all processes, and keep the images that give most among theirs."""
        self.confusion.reduce()
        kept = distributed.gathered((self.counts, self.names))
        self.counts, self.names = self.counts[:0], self.names[:0]
        for counts, names in kept:
            self._keep(counts, names)

    def images(self, truth: int, predicted: int) -> list[tuple[str, int]]:
        """Return names and pixels of the images with most pixels of a class that is predicted as another."""
        pairs = zip(self.names[:, truth, predicted], self.counts[:, truth, predicted].tolist(), strict=True)
        return [(str(name), count) for name, count in pairs if count > 0]

    def result(self) -> dict[str, Any]:
        """Return the matrix, and the images of each of its cells by row and column."""
        classes = range(self.confusion.num_classes)
        return {
            "matrix": self.confusion.result(),
            "images": [[self.images(truth, predicted) for predicted in classes] for truth in classes],
        }

    def _keep(self, counts: np.ndarray, names: np.ndarray) -> None:
        counts, names = np.concatenate([self.counts, counts]), np.concatenate([self.names, names])
        order = np.argsort(-counts, axis=0, kind="stable")[: self.most]
        self.counts, self.names = np.take_along_axis(counts, order, 0), np.take_along_axis(names, order, 0)
