"""From the config to the validation of a run."""

from collections.abc import Callable
from functools import partial

import numpy as np

from segdla.checkpoints.checkpoint import Card
from segdla.config import Config
from segdla.data.from_config import whole_images
from segdla.data.labels import IGNORE_INDEX
from segdla.data.source import Classes, Source
from segdla.evaluation.criterion import Counts
from segdla.evaluation.feature_scores import FeatureLikeness
from segdla.evaluation.set_counts import counts_of
from segdla.evaluation.top_scores import TopCounts
from segdla.inference.best_first import best_first
from segdla.inference.from_config import Predictor, head_of
from segdla.machine.device import in_precision
from segdla.media.captions import labelled_grid
from segdla.models.dlaseg import DLASeg
from segdla.training.loop import Samples, Validation
from segdla.training.state import Plan, Training
from segdla.training.teacher.student import Student
from segdla.version import __version__
from segdla.visualize import sample_grid


def build_validation(config: Config, source: Source, plan: Plan, training: Training) -> Validation:
    """Return how the images of a source are answered, scored and drawn: with masks, labelled as a whole, or not."""
    candidate, classes = training.candidate, source.classes
    assert isinstance(candidate, DLASeg), "a moving average is a network like the one in training"
    logits_of = in_precision(candidate.logits, plan.device, plan.precision)
    images = whole_images(config, source, plan.device)
    card = Card(config.model_dump(mode="json"), classes, version=__version__)
    if not classes.whole_images:
        predictor = Predictor(logits_of, candidate.output_stride, config.eval, head=head_of(config, classes))
        picture = partial(_masks, classes=classes)
        return Validation(images, predictor.class_ids, card, partial(counts_of, classes, plan.device), picture)
    counts: Callable[[], Counts] = partial(TopCounts, plan.device)
    if classes.of_nothing:
        student = training.model
        assert isinstance(student, Student), "without labels there is a teacher"
        correlation_of = in_precision(partial(student.correlation, candidate), plan.device, plan.precision)
        counts = partial(FeatureLikeness, correlation_of, plan.device)
    picture = partial(labelled_grid, names=classes.names)
    return Validation(images, best_first(logits_of), card, counts, picture)


def _masks(samples: Samples, classes: Classes) -> np.ndarray:
    drawn = [(image, classes.drawn(target), classes.drawn(seen)) for image, target, seen in samples]
    return sample_grid(drawn, classes.names, classes.palette, IGNORE_INDEX)
