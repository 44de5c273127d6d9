"""Top-1 and top-5 accuracy: how often the class of a whole image is the first, or among the first five, predicted."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from segdla.evaluation.evaluator import Prediction
from segdla.inference.best_first import MOST
from segdla.machine import distributed


@dataclass(frozen=True)
class TopScores:
    """Shares, in 0..1, of a split's labelled images; NaN if there are none. Of five classes or fewer, no ``top5``."""

    top1: float
    top5: float | None
    images: int
    split: str = ""

    @property
    def unscored(self) -> str:
        """The reason, and the remedy, if the criterion is NaN in training."""
        return "the validation split has no labelled image: nothing can be scored; check its folders (data.val)"

    @property
    def criterion(self) -> float:
        """The score by which weights are chosen."""
        return self.top1

    @property
    def measured(self) -> str:
        """That score in percent, with its name."""
        return f"top-1 {100 * self.top1:.1f}"

    @property
    def line(self) -> str:
        """The scores in words."""
        return f"top-1 {100 * self.top1:.2f} %" + ("" if self.top5 is None else f"  top-5 {100 * self.top5:.2f} %")

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as a dict."""
        values = {"top1": self.top1, "top5": self.top5, "images": self.images, "split": self.split}
        return {key: value for key, value in values.items() if value is not None and value != ""}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TopScores":
        """Return the scores that ``as_dict`` gave, also after JSON. Raises KeyError, TypeError or ValueError."""
        top1 = math.nan if values["top1"] is None else float(values["top1"])
        top5 = None if values.get("top5") is None else float(values["top5"])
        return cls(top1, top5, int(values["images"]), str(values.get("split") or ""))


class TopCounts:
    """Counts of images: labelled, right at once, and right among five; an ``Evaluator``.

    A prediction's class ids are (B,K,1,1), the best first. They are added up as integers, and divided last.
    """

    name = "top"
    needs_probabilities = False

    def __init__(self, device: torch.device | str = "cpu"):
        self.counts = torch.zeros(3, dtype=torch.int64, device=device)

    def update(self, images: Tensor, targets: Tensor, prediction: Prediction) -> None:
        """Count a batch, whose targets are (B,1,1)."""
        hits = prediction.class_ids == targets[:, None]  # (B,K,1,1)
        self.counts += torch.stack([(targets >= 0).sum(), hits[:, 0].sum(), hits.any(1).sum()])

    def reduce(self) -> None:
        """Add up the counts of all processes."""
        distributed.total(self.counts)

    def result(self) -> list[int]:
        """Return the counts."""
        return self.counts.tolist()

    def scores(self, names: Sequence[str], *, split: str = "", protocol: str = "") -> TopScores:
        """Return the scores of classes of these names; a protocol says nothing about them."""
        images, first, among = self.result()
        if not images:
            return TopScores(math.nan, None, 0, split)
        return TopScores(first / images, among / images if len(names) > MOST else None, images, split)
