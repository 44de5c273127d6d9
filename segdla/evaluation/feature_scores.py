"""How far features resemble a teacher's: their correlation, from -1 to 1."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from segdla.evaluation.evaluator import Prediction
from segdla.machine import distributed


@dataclass(frozen=True)
class FeatureScores:
    """The mean correlation over a split's images; NaN if there are none."""

    correlation: float
    images: int
    split: str = ""

    @property
    def unscored(self) -> str:
        """The reason, and the remedy, if the criterion is NaN in training."""
        return (
            "the maps of the network or of its teacher are not finite on the validation images; lower train.lr, choose "
            "another train.teacher, or compute in bf16 or fp32 (train.precision)"
        )

    @property
    def criterion(self) -> float:
        """The score by which weights are chosen."""
        return self.correlation

    @property
    def measured(self) -> str:
        """That score in percent, with its name."""
        return f"correlation {100 * self.correlation:.1f}"

    @property
    def line(self) -> str:
        """The scores in words."""
        return f"correlation with the teacher's features {self.correlation:.4f}"

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as a dict."""
        values = {"correlation": self.correlation, "images": self.images, "split": self.split}
        return {key: value for key, value in values.items() if value != ""}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FeatureScores":
        """Return the scores that ``as_dict`` gave, also after JSON. Raises KeyError, TypeError or ValueError."""
        correlation = math.nan if values["correlation"] is None else float(values["correlation"])
        return cls(correlation, int(values["images"]), str(values.get("split") or ""))


class FeatureLikeness:
    """The correlation of batches, each weighing as much as its images; an ``Evaluator``.

    ``correlation_of`` returns it for images (B,3,H,W).
    """

    name = "features"
    needs_probabilities = False

    def __init__(self, correlation_of: Callable[[Tensor], Tensor], device: torch.device | str = "cpu"):
        self.correlation_of = correlation_of
        self.sums = torch.zeros(2, device=device)  # correlations, images

    def update(self, images: Tensor, targets: Tensor, prediction: Prediction) -> None:
        """Take in a batch, of which images alone count."""
        self.sums += torch.stack([len(images) * self.correlation_of(images).float(), self.sums.new_tensor(len(images))])

    def reduce(self) -> None:
        """Add up the sums of all processes."""
        distributed.total(self.sums)

    def result(self) -> float:
        """Return the mean correlation."""
        total, images = self.sums.tolist()
        return total / images if images else math.nan

    def scores(self, names: Sequence[str], *, split: str = "", protocol: str = "") -> FeatureScores:
        """Return the scores; names and protocol of the classes say nothing about them."""
        return FeatureScores(self.result(), int(self.sums[1]), split)
