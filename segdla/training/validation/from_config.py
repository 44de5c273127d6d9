"""From the config to the validation of a run."""

from collections.abc import Callable
from functools import partial

from segdla.checkpoints.checkpoint import Card
from segdla.config import Config
from segdla.data.from_config import whole_images
from segdla.data.source import Source
from segdla.evaluation.criterion import Counts
from segdla.evaluation.feature_scores import FeatureLikeness
from segdla.evaluation.set_counts import counts_of
from segdla.evaluation.top_scores import TopCounts
from segdla.inference.best_first import best_first
from segdla.inference.from_config import Predictor, head_of
from segdla.machine.device import in_precision
from segdla.models.dlaseg import DLASeg
from segdla.training.loop import Validation
from segdla.training.state import Plan, Training
from segdla.training.teacher.student import Student
from segdla.version import __version__


def build_validation(config: Config, source: Source, plan: Plan, training: Training) -> Validation:
    """Return how the images of a source are scored."""
    candidate, classes = training.candidate, source.classes
    assert isinstance(candidate, DLASeg), "a moving average is a network like the one in training"
    logits_of = in_precision(candidate.logits, plan.device, plan.precision)
    head = head_of(config, classes)
    predictor = Predictor(logits_of, candidate.output_stride, config.eval, head=head)
    class_ids = best_first(logits_of) if classes.whole_images else predictor.class_ids
    counts: Callable[[], Counts] = partial(counts_of, classes, plan.device)
    if classes.of_nothing:
        student = training.model
        assert isinstance(student, Student), "without labels there is a teacher"
        correlation_of = in_precision(partial(student.correlation, candidate), plan.device, plan.precision)
        counts = partial(FeatureLikeness, correlation_of, plan.device)
    elif classes.whole_images:
        counts = partial(TopCounts, plan.device)
    card = Card(config.model_dump(mode="json"), classes, version=__version__)
    return Validation(whole_images(config, source, plan.device), class_ids, card, counts)
