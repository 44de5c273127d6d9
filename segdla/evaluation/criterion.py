"""The scores by which a training chooses its weights, and what counts them."""

from collections.abc import Sequence
from typing import Protocol

from segdla.evaluation.evaluator import Evaluator
from segdla.evaluation.feature_scores import FeatureScores
from segdla.evaluation.scores import Scores
from segdla.evaluation.top_scores import TopScores

AnyScores = Scores | TopScores | FeatureScores
"""Each has a ``criterion``, of which more is better, and says it in a ``line``, or why it is NaN (``unscored``)."""


class Counts(Evaluator, Protocol):
    """The evaluator of those scores."""

    def scores(self, names: Sequence[str], *, split: str = "", protocol: str = "") -> AnyScores:
        """Return the scores of what was counted; ``names`` are the classes'."""
