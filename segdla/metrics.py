"""The confusion matrix and what derives from it, by the conventions of the Cityscapes benchmark."""

import torch
from torch import Tensor


class ConfusionMatrix:
    """Pixel counts, rows = truth and columns = prediction, added up as int64 on one device.

    Pixels whose truth is not a class (``ignore_index``) are dropped. A predicted id that is not a class counts as a
    miss of the true one and as a false alarm of none.
    """

    def __init__(self, num_classes: int, device: torch.device | str = "cpu"):
        self.num_classes = num_classes
        # One more row for ignored truths and one more column for predictions of no class: masking by arithmetic
        # costs one pass, where gathering the valid pixels costs many and a synchronisation on an accelerator.
        self.counts = torch.zeros(num_classes + 1, num_classes + 1, dtype=torch.int64, device=device)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count a prediction and its truth, both integers of one shape, on this matrix's device.

        On CUDA nothing here waits for the device.
        """
        assert prediction.shape == target.shape, f"prediction {prediction.shape}, target {target.shape}"
        side = self.num_classes + 1
        # The narrower the integers, the less memory moves; a pair of classes takes as many values as the matrix has.
        kind = torch.int16 if side * side < 1 << 15 else torch.int64
        index = target.clamp(max=self.num_classes).to(kind).mul_(side).add_(prediction.clamp(max=self.num_classes))
        count = count_unasked if index.device.type == "cuda" else torch.bincount
        counts = count(index.flatten(), minlength=side * side)
        self.counts += counts.view(side, side)

    @property
    def matrix(self) -> Tensor:
        """The counts (C,C) among classes."""
        return self.counts[:-1, :-1]

    def scores(self, names: tuple[str, ...], categories: tuple[str, ...] = ()) -> dict:
        """mean_iou, pixel_accuracy, mean_accuracy, and iou and accuracy by class name.

        With ``categories``, the category of each class, also mean_category_iou and category_iou: confusing two classes
        of one category is no error there. NaN for a class that is neither in the truth nor predicted; means are over
        the others.
        """
        counts = self.counts[:-1].cpu().double()  # some devices have no double
        hits = counts[:, :-1].diagonal()
        truth = counts.sum(1)
        predicted = counts[:, :-1].sum(0)
        iou = hits / (truth + predicted - hits)  # 0/0 is NaN: the class is absent
        accuracy = hits / truth
        scores = {
            "mean_iou": iou.nanmean().item(),
            "pixel_accuracy": (hits.sum() / counts.sum()).item(),
            "mean_accuracy": accuracy.nanmean().item(),
            "iou": dict(zip(names, iou.tolist(), strict=True)),
            "accuracy": dict(zip(names, accuracy.tolist(), strict=True)),
        }
        if categories:
            groups = tuple(dict.fromkeys(categories))
            member = torch.tensor([[own == group for own in categories] for group in groups]).double()  # (G,C)
            hits = ((member @ counts[:, :-1]) * member).sum(1)
            category_iou = hits / (member @ truth + member @ predicted - hits)
            scores["mean_category_iou"] = category_iou.nanmean().item()
            scores["category_iou"] = dict(zip(groups, category_iou.tolist(), strict=True))
        return scores


def count_unasked(index: Tensor, minlength: int) -> Tensor:
    """``bincount`` on CUDA that does not ask for the largest index, which would mean to wait for the device."""
    return torch.histc(index.int(), minlength, 0, minlength - 1).long()
