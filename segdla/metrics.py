"""The confusion matrix and what derives from it, by the conventions of the Cityscapes benchmark."""

import numpy as np
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
        """Count a prediction and its truth, both integers of one shape, on this matrix's device."""
        assert prediction.shape == target.shape, f"prediction {prediction.shape}, target {target.shape}"
        side = self.num_classes + 1
        if target.device.type == "cpu" and side * side <= 1 << 16:
            # numpy's bincount over 16-bit indices moves an eighth of the memory that torch's over 64-bit ones does.
            truth = np.minimum(target.numpy(), self.num_classes).astype(np.uint16).ravel()
            predicted = np.minimum(prediction.numpy(), self.num_classes).astype(np.uint16).ravel()
            counts = torch.from_numpy(np.bincount(truth * side + predicted, minlength=side * side))
        else:
            index = target.long().clamp(max=self.num_classes) * side + prediction.long().clamp(max=self.num_classes)
            counts = torch.bincount(index.flatten(), minlength=side * side)
        self.counts += counts.view(side, side)

    @property
    def matrix(self) -> Tensor:
        """The counts (C,C) among classes."""
        return self.counts[:-1, :-1]

    def scores(self, names: tuple[str, ...]) -> dict:
        """mean_iou, pixel_accuracy, mean_accuracy, and iou and accuracy by class name.

        NaN for a class that is neither in the truth nor predicted; means are over the others.
        """
        counts = self.counts[:-1].cpu().double()  # some devices have no double
        hits = counts[:, :-1].diagonal()
        truth = counts.sum(1)
        predicted = counts[:, :-1].sum(0)
        iou = hits / (truth + predicted - hits)  # 0/0 is NaN: the class is absent
        accuracy = hits / truth
        return {
            "mean_iou": iou.nanmean().item(),
            "pixel_accuracy": (hits.sum() / counts.sum()).item(),
            "mean_accuracy": accuracy.nanmean().item(),
            "iou": dict(zip(names, iou.tolist(), strict=True)),
            "accuracy": dict(zip(names, accuracy.tolist(), strict=True)),
        }
