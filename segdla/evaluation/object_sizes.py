"""IoU by the size of objects, where the data set tells one object from the next."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from segdla.data.source import Source
from segdla.evaluation.evaluator import Prediction
from segdla.machine import distributed

SIZES = {"small": 32**2, "medium": 96**2, "large": float("inf")}
"""COCO's: the number of pixels below which an object is of a size."""


class ObjectSizes:
    """The IoU of small, medium and large objects, by class; an ``Evaluator``.

    Hits and misses count to the size of the object that they lie in; a pixel that is falsely of a class counts to the
    size of the connected predicted region that it lies in. Pixels of a class that are of no object (crowds) are left
    out. Only classes with objects are scored.
    """

    name = "object_sizes"
    needs_probabilities = False

    def __init__(self, source: Source):
        self.source = source
        self.places = {source.name(place): place for place in range(len(source))}
        self.counts = np.zeros((len(source.classes), len(SIZES), 3), np.int64)  # hits, misses, false
        self.has_objects = np.zeros(len(source.classes), np.int64)

    def update(self, images: Tensor, targets: Tensor, prediction: Prediction) -> None:
        """Count a batch; images without objects known are left out."""
        arrays = targets.cpu().numpy(), prediction.class_ids.cpu().numpy()
        for name, target, class_ids in zip(prediction.names, *arrays, strict=True):
            objects = self.source.objects(self.places[name])
            if objects is not None:
                counts = count_by_size(target, class_ids, objects, len(self.has_objects))
                self.counts += counts
                self.has_objects += counts[..., :2].any((1, 2))

    def reduce(self) -> None:
        """Add up the counts of all processes."""
        parts: Sequence[Any] = distributed.gathered((self.counts, self.has_objects))
        self.counts, self.has_objects = (sum(part) for part in zip(*parts, strict=True))

    def result(self) -> dict[str, Any]:
        """Return the IoU by size and class, and their means; NaN where there are neither objects nor false pixels."""
        names = [name for name, known in zip(self.source.classes.names, self.has_objects, strict=True) if known]
        with np.errstate(invalid="ignore"):
            iou = self.counts[..., 0] / self.counts.sum(-1)  # (C,S)
        iou = iou[self.has_objects > 0]
        results = {}
        for size, column in zip(SIZES, iou.T, strict=True):
            known = column[~np.isnan(column)]
            mean = float(known.mean()) if len(known) else float("nan")
            results[size] = {"mean": mean, "iou": dict(zip(names, column.tolist(), strict=True))}
        return results


def count_by_size(target: np.ndarray, class_ids: np.ndarray, objects: np.ndarray, num_classes: int) -> np.ndarray:
    """Return hits, misses and false pixels (C,S,3) of an image; ``objects`` (H,W) holds ids, and 0 for none."""
    counts = np.zeros((num_classes, len(SIZES), 3), np.int64)
    limits = np.array(list(SIZES.values()))
    labelled = target < num_classes
    inside = (objects > 0) & labelled
    _, places, areas = np.unique(objects[inside], return_inverse=True, return_counts=True)
    size_of = (areas[:, None] >= limits).sum(1)[places]
    hit = (class_ids == target)[inside]
    np.add.at(counts, (target[inside], size_of, np.where(hit, 0, 1)), 1)
    wrong = (class_ids != target) & labelled
    for class_id in np.unique(class_ids[wrong & (class_ids < num_classes)]).tolist():
        predicted = (class_ids == class_id) & labelled
        _, regions, stats, _ = cv2.connectedComponentsWithStats(predicted.astype(np.uint8), connectivity=8)
        false = predicted & wrong
        sizes = (stats[:, cv2.CC_STAT_AREA, None] >= limits).sum(1)[regions[false]]
        counts[class_id, :, 2] += np.bincount(sizes, minlength=len(SIZES))
    return counts
