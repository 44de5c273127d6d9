"""The boundary F-score: how much of the outlines lies where it should, within a few pixels."""

from collections.abc import Sequence
from math import ceil, hypot
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from segdla.evaluation.evaluator import Prediction
from segdla.machine import distributed

TOLERANCE = 0.008
"""How far an outline may be off, as a share of the image's diagonal, rounded up to pixels: DAVIS's."""


class BoundaryF:
    """The F-score of each class's outline, as a mean over the images that have the class; an ``Evaluator``.

    In an image, precision is the share of a predicted outline's pixels that lie within the tolerance of the true one,
    and recall the reverse (Csurka et al., BMVC 2013; outlines and tolerance are those of DAVIS, Perazzi et al., CVPR
    2016). A class in the truth or in the prediction alone scores 0. Ignored pixels belong to no class, of the truth or
    of the prediction.
    """

    name = "boundary_f"
    needs_probabilities = False

    def __init__(self, names: Sequence[str], tolerance: float = TOLERANCE):
        self.names = tuple(names)
        self.tolerance = tolerance
        self.sums = np.zeros((2, len(self.names)))  # F-scores, and images

    def update(self, images: Tensor, targets: Tensor, prediction: Prediction) -> None:
        """Score the outlines of a batch."""
        for target, class_ids in zip(targets.cpu().numpy(), prediction.class_ids.cpu().numpy(), strict=True):
            labelled = target < len(self.names)
            for class_id in np.union1d(target[labelled], class_ids[labelled]).tolist():
                if class_id < len(self.names):
                    truth, predicted = ((ids == class_id) & labelled for ids in (target, class_ids))
                    self.sums[:, class_id] += f_score(truth, predicted, self.tolerance), 1

    def reduce(self) -> None:
        """Add up the scores of all processes."""
        self.sums = np.sum(distributed.gathered(self.sums), 0)

    def result(self) -> dict[str, Any]:
        """Return the mean over classes, the F-score by class, NaN for an absent one, and the tolerance."""
        with np.errstate(invalid="ignore"):
            scores = torch.from_numpy(self.sums[0] / self.sums[1])
        by_class = dict(zip(self.names, scores.tolist(), strict=True))
        return {"mean": scores.nanmean().item(), "f": by_class, "tolerance": self.tolerance}


def f_score(truth: np.ndarray, predicted: np.ndarray, tolerance: float = TOLERANCE) -> float:
    """Return the F-score of the outlines of a mask (H,W) bool and a predicted one."""
    if truth.any() != predicted.any():  # one has no pixel, and the other no outline if it fills the image
        return 0.0
    reach = ceil(tolerance * hypot(*truth.shape))
    true_outline, predicted_outline = outline(truth), outline(predicted)
    if not true_outline.any() or not predicted_outline.any():
        return float(true_outline.any() == predicted_outline.any())
    precision = _near(true_outline, reach)[predicted_outline].mean()
    recall = _near(predicted_outline, reach)[true_outline].mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def outline(mask: np.ndarray) -> np.ndarray:
    """Return the pixels (H,W) whose neighbour to the right, below or both is on the other side of a mask's edge."""
    edges = np.zeros_like(mask)
    for here, there in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:-1, :-1], np.s_[1:, 1:]),
    ):
        edges[here] |= mask[here] ^ mask[there]
    return edges


def _near(pixels: np.ndarray, reach: int) -> np.ndarray:
    """Return the pixels (H,W) that are at most ``reach`` away from some of these."""
    far = cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return far <= reach + 1e-3
