"""The config's section ``train.distill``: what is learned from a teacher."""

from typing import Self

from pydantic import model_validator

from segdla.config.model import TIMM
from segdla.config.section import Factor, NonNegative, Section


class DistillConfig(Section):
    """What is learned from train.teacher, beside the labels: a sum of terms, each times its weight."""

    logits: NonNegative | None = None
    """Weight of the divergence from the teacher's class probabilities (Kullback-Leibler), which takes a teacher of the
    same classes. null: 1, or 0 for timm/NAME, which has no classes."""
    features: NonNegative = 0.5
    """Weight of one minus the correlation with the teacher's maps, at each stride from 4 on at which both backbones
    have some. The network's are brought to the teacher's channels by a 1x1 convolution that is learned, and left
    behind."""
    temperature: Factor = 4.0
    """Divisor of the logits of both before they become probabilities: the higher, the more the unlikely classes
    count."""

    @model_validator(mode="after")
    def _require_a_term(self) -> Self:
        if self.logits == 0 and self.features == 0:
            raise ValueError("logits and features are 0: nothing is learned; give one a weight, or leave out teacher")
        return self

    def require_fitting(self, teacher: str | None) -> None:
        """Raise ValueError if there is no teacher to learn so from, or a backbone that can't teach so."""
        if teacher is None and self != DistillConfig():
            raise ValueError("distill says what is learned from a teacher; set teacher too, or leave distill out")
        if teacher is not None and teacher.startswith(TIMM):
            if self.logits:
                raise ValueError(f"{teacher} is a backbone, which has no classes; leave distill.logits out")
            if self.features == 0:
                raise ValueError(f"{teacher} teaches by features alone; give distill.features a weight")
