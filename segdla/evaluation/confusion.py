"""The confusion matrix and what derives from it, by the conventions of the Cityscapes benchmark."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from segdla.evaluation.evaluator import Prediction
from segdla.evaluation.image_counts import ImageCounts
from segdla.evaluation.scores import Scores
from segdla.machine import distributed


class ConfusionMatrix:
    """Pixel counts, rows = truth and columns = prediction, added up as int64 on one device; the first ``Evaluator``.

    Pixels whose truth isn't a class (the ignore index) are dropped. A predicted id that isn't a class counts as a miss
    of the true class, and as a false alarm of no other.
    """

    name = "confusion"
    needs_probabilities = False

    def __init__(self, num_classes: int, device: torch.device | str = "cpu"):
        self.num_classes = num_classes
        # One more row for ignored truths and one more column for predictions of no class. Masking by arithmetic costs
        # one pass; gathering the valid pixels costs many, and a synchronisation on an accelerator.
        self.counts = torch.zeros(num_classes + 1, num_classes + 1, dtype=torch.int64, device=device)
        self.of_images: list[Tensor] = []  # (3,C) each: hits, truth, predicted

    def update(self, images: Tensor, targets: Tensor, prediction: Prediction) -> None:
        """Count a batch, and keep what each image has of each class."""
        for class_ids, target in zip(prediction.class_ids, targets, strict=True):
            self.of_images.append(self.by_class(self.count(class_ids, target)[:-1]))

    def by_class(self, counts: Tensor) -> Tensor:
        """Return hits, truth and predicted pixels (3,C) of each class, from counts (C,C+1) of labelled pixels."""
        return torch.stack([counts[:, :-1].diagonal(), counts.sum(1), counts[:, :-1].sum(0)])

    def count(self, class_ids: Tensor, targets: Tensor) -> Tensor:
        """Count predicted class ids against their targets: integers of one shape, on this matrix's device.

        Returns their own counts, with the row and the column more. On CUDA nothing waits for the device.
        """
        assert class_ids.shape == targets.shape, f"class ids {class_ids.shape}, targets {targets.shape}"
        side = self.num_classes + 1
        # Narrower integers move less memory; the index of a pair of classes is below the matrix's number of entries.
        kind = torch.int16 if side * side < 1 << 15 else torch.int64
        index = targets.clamp(max=self.num_classes).to(kind).mul_(side).add_(class_ids.clamp(max=self.num_classes))
        counts = bincount(index, side * side).view(side, side)
        self.counts += counts
        return counts

    @property
    def matrix(self) -> Tensor:
        """The counts (C,C) among classes."""
        return self.counts[:-1, :-1]

    def reduce(self) -> None:
        """Add up the counts of all processes."""
        distributed.total(self.counts)

    def image_counts(self, names: Sequence[str], group_of: Mapping[str, str]) -> ImageCounts:
        """Return the counts of each image of all processes, in the order of ``group_of``, which maps names to groups.

        ``names`` are those of the images that this process has taken in.
        """
        own = torch.stack(self.of_images).cpu().numpy() if names else ()
        of_name = dict(chain.from_iterable(distributed.gathered(list(zip(names, own, strict=True)))))
        hits, truth, predicted = np.stack([of_name[name] for name in group_of], 1)
        return ImageCounts(tuple(group_of), tuple(group_of.values()), hits, truth, predicted)

    def result(self) -> list[list[int]]:
        """Return the counts among classes, a row a true class."""
        return self.matrix.tolist()

    def scores(
        self, names: Sequence[str], categories: Sequence[str] = (), *, split: str = "", protocol: str = ""
    ) -> Scores:
        """Return the scores, with ``names`` and ``categories`` given for each class.

        Means are over the classes that are in the truth or predicted. Categories are scored too, if there are any:
        there, confusing two classes of one category isn't an error.
        """
        hits, truth, predicted = self.by_class(self.counts[:-1]).cpu().double()  # some devices have no double
        counts = self.counts[:-1].cpu().double()
        iou = hits / (truth + predicted - hits)  # 0/0 is NaN: the class is absent
        accuracy = hits / truth
        scores = Scores(
            mean_iou=iou.nanmean().item(),
            pixel_accuracy=(counts[:, :-1].trace() / counts.sum()).item(),
            mean_accuracy=accuracy.nanmean().item(),
            iou=dict(zip(names, iou.tolist(), strict=True)),
            accuracy=dict(zip(names, accuracy.tolist(), strict=True)),
            precision=dict(zip(names, (hits / predicted).tolist(), strict=True)),
            split=split,
            protocol=protocol,
        )
        if not categories:
            return scores
        groups = tuple(dict.fromkeys(categories))
        member = torch.tensor([[category == group for category in categories] for group in groups]).double()  # (G,C)
        hits = ((member @ counts[:, :-1]) * member).sum(1)
        category_iou = hits / (member @ truth + member @ predicted - hits)
        return replace(
            scores,
            mean_category_iou=category_iou.nanmean().item(),
            category_iou=dict(zip(groups, category_iou.tolist(), strict=True)),
        )


def bincount(index: Tensor, length: int) -> Tensor:
    """Count how often each integer below ``length`` occurs, as int64 (length), on CUDA without waiting for the device.

    ``torch.bincount`` waits there for the device to tell the largest one.
    """
    if index.device.type == "cuda":
        return torch.histc(index.flatten().int(), length, 0, length - 1).long()
    return torch.bincount(index.flatten(), minlength=length)
