"""The config's section ``loss``: its terms, and the head that each is of."""

from typing import Literal, Self

from pydantic import model_validator

from segdla.config.model import HeadName
from segdla.config.section import Fraction, NonNegative, PositiveFraction, Section

TERMS: dict[HeadName, tuple[str, ...]] = {
    "softmax": ("cross_entropy", "ohem", "dice", "lovasz", "boundary"),
    "sigmoid": ("cross_entropy", "dice", "focal"),
}
"""The terms of a loss by ``model.head``."""


class LossConfig(Section):
    """The training loss: a sum of terms, each times its weight. A weight of 0 leaves its term out."""

    cross_entropy: NonNegative = 1.0
    """Weight of the cross-entropy; with head sigmoid, of the binary one (BCE)."""
    ohem: NonNegative = 0.0
    """Weight of the cross-entropy over the hard pixels alone (online hard example mining)."""
    dice: NonNegative = 0.0
    """Weight of one minus the soft Dice coefficient, averaged over classes."""
    lovasz: NonNegative = 0.0
    """Weight of Lovasz-softmax, a surrogate of the IoU."""
    boundary: NonNegative = 0.0
    """Weight of one minus the boundaries' F1 score, with a tolerance of two pixels."""
    focal: NonNegative = 0.0
    """Weight of the focal loss, for head sigmoid: the binary cross-entropy, in which pixels that are right already
    hardly count."""
    focal_gamma: NonNegative = 2.0
    """Exponent of focal: the larger, the less a pixel counts that is right. 0 is the binary cross-entropy."""
    class_weights: tuple[NonNegative, ...] | Literal["median_frequency", "enet"] | None = None
    """Weights of the classes in cross_entropy, ohem and focal: numbers in the order of the classes, or a rule by
    which they are computed from the training masks."""
    label_smoothing: Fraction = 0.0
    """Share of the target that cross_entropy spreads over all classes."""
    ohem_threshold: PositiveFraction = 0.7
    """Pixels whose true class has a probability below this are hard, for ohem."""
    ohem_min_kept: Fraction = 0.0625
    """Smallest share of a batch's pixels that count as hard, for ohem."""

    @model_validator(mode="after")
    def _require_a_term(self) -> Self:
        if not any(getattr(self, term) for terms in TERMS.values() for term in terms):
            raise ValueError("all terms are 0; give one a weight, such as cross_entropy: 1")
        if self.class_weights is not None and not (self.cross_entropy or self.ohem or self.focal):
            raise ValueError(
                "class_weights are of cross_entropy, ohem and focal, which are 0; give one a weight or leave out"
            )
        if self.label_smoothing and not self.cross_entropy:
            raise ValueError("label_smoothing is of cross_entropy, which is 0; give it a weight or leave out")
        if isinstance(self.class_weights, tuple) and not any(self.class_weights):
            raise ValueError("class_weights are all 0; then nothing is learned")
        return self

    def require_terms_of_whole_images(self) -> None:
        """Raise ValueError unless cross-entropy is all that counts, with weights that need no masks."""
        foreign = [
            term for terms in TERMS.values() for term in terms if term != "cross_entropy" and getattr(self, term)
        ]
        if foreign:
            raise ValueError(f"loss.{foreign[0]} is of masks; whole images have cross_entropy alone, so leave it out")
        if isinstance(self.class_weights, str):
            raise ValueError(f"loss.class_weights {self.class_weights} is counted in masks; give numbers, or leave out")

    def require_terms_of(self, head: HeadName) -> None:
        """Raise ValueError if a term of another head has a weight."""
        own = TERMS[head]
        foreign = [term for terms in TERMS.values() for term in terms if term not in own and getattr(self, term)]
        if foreign:
            raise ValueError(f"loss.{foreign[0]} is not of head {head} (model.head), whose terms are {', '.join(own)}")
