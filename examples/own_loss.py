"""Train with a loss of your own: the focal loss (Lin et al., ICCV 2017), on drawn street scenes."""

import torch.nn.functional as F
from torch import Tensor

import segdla
from segdla.data.labels import IGNORE_INDEX


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Average the cross-entropy over labelled pixels, less of it the surer the network is of the true class.

    logits: (B,C,H,W). targets: (B,H,W) class ids.
    """
    losses = F.cross_entropy(logits, targets, ignore_index=IGNORE_INDEX, reduction="none")
    doubt = 1 - (-losses).exp()  # exp(-loss) is the probability of the true class
    return (doubt**2 * losses).sum() / (targets != IGNORE_INDEX).sum().clamp(min=1)


if __name__ == "__main__":
    config = segdla.Config(
        data={"dataset": "scenes", "size": (64, 96), "crop": (64, 96), "train": 16, "val": 4, "workers": 0},
        model={"backbone": "dla46_c", "output_stride": 4},
        train={"epochs": 3, "batch_size": 4, "optimizer": "adamw", "lr": 0.004},
    )
    run = segdla.train(config, loss=focal, name="focal")
    scores = segdla.evaluate(run)
    print(f"mIoU {scores.mean_iou:.3f} after {config.train.epochs} epochs")
