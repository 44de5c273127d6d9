"""The classes of whole images, the most probable first."""

from collections.abc import Callable

from torch import Tensor

from segdla.inference.predictors import LogitsOf

MOST = 5
"""The most classes of an image that a network answers with."""


def best_first(logits_of: LogitsOf) -> Callable[[Tensor], Tensor]:
    """Return the function from images (B,3,H,W) to the ids (B,5,1,1) of their classes, or of all if they are fewer."""

    def class_ids(images: Tensor) -> Tensor:
        logits = logits_of(images)  # (B,C,1,1)
        return logits.topk(min(MOST, logits.shape[1]), dim=1).indices

    return class_ids
