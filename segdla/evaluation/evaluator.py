"""The interface of a metric, ``Evaluator``. The confusion matrix is the first one."""

from typing import Any, NamedTuple, Protocol

from torch import Tensor


class Prediction(NamedTuple):
    """Class ids, and probabilities if they are needed, that a network predicts for a batch, with the images' names."""

    class_ids: Tensor  # (B,H,W) uint8; of whole images (B,K,1,1), the best first
    probabilities: Tensor | None = None  # (B,C,H,W) float32, if an evaluator needs them
    names: tuple[str, ...] = ()  # of the images, by their place in the batch


class Evaluator(Protocol):
    """A metric over a whole split, added up batch by batch where the network computes.

    ``name`` is what its result is called in ``Scores.other`` and in files. With ``needs_probabilities`` predictions
    hold these too, which takes memory and time.
    """

    name: str
    needs_probabilities: bool

    def update(self, images: Tensor, targets: Tensor, prediction: Prediction) -> None:
        """Take in a batch: images (B,3,H,W) uint8, targets (B,H,W) uint8 of train ids, and the prediction."""

    def reduce(self) -> None:
        """Add up what all processes have taken in; in a single process there is nothing to do."""

    def result(self) -> Any:
        """Return what JSON can hold: a number, or a dict of numbers by name."""
