"""Counts that a report needs besides scores, from the same pass over the images."""

from dataclasses import dataclass, replace

from segdla.evaluation.calibration import Calibration
from segdla.evaluation.confused_images import ConfusedImages
from segdla.evaluation.error_map import ErrorMap
from segdla.evaluation.evaluator import Evaluator
from segdla.evaluation.scores import Scores
from segdla.trained.score import Evaluation


@dataclass(frozen=True)
class Survey:
    """The evaluators whose results a report shows."""

    calibration: Calibration
    error_map: ErrorMap
    confused: ConfusedImages

    @classmethod
    def of(cls, evaluation: Evaluation) -> "Survey":
        """Return evaluators for the classes of an evaluation, on its device. Raises UserError if they overlap."""
        evaluation.source.classes.require_exclusive("a report")
        names, device = evaluation.source.classes.names, evaluation.trained.device
        return cls(Calibration(names, device), ErrorMap(len(names), device), ConfusedImages(len(names), device))

    @property
    def evaluators(self) -> list[Evaluator]:
        """All of them."""
        return [self.calibration, self.error_map, self.confused]

    def without_pictures(self, scores: Scores) -> Scores:
        """Return the scores for a record, without the results that a page alone shows."""
        pictured = (self.error_map.name, self.confused.name)
        return replace(scores, other={name: result for name, result in scores.other.items() if name not in pictured})
