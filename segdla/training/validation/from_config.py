"""From the config to the validation of a run."""

from segdla.checkpoints.checkpoint import Card
from segdla.config import Config
from segdla.data.from_config import whole_images
from segdla.data.source import Source
from segdla.inference.best_first import best_first
from segdla.inference.from_config import Predictor, head_of
from segdla.machine.device import in_precision
from segdla.models.dlaseg import DLASeg
from segdla.training.loop import Validation
from segdla.training.state import Plan, Training
from segdla.version import __version__


def build_validation(config: Config, source: Source, plan: Plan, training: Training) -> Validation:
    """Return how the images of a source are scored."""
    candidate, classes = training.candidate, source.classes
    assert isinstance(candidate, DLASeg), "a moving average is a network like the one in training"
    logits_of = in_precision(candidate.logits, plan.device, plan.precision)
    head = head_of(config, classes)
    predictor = Predictor(logits_of, candidate.output_stride, config.eval, head=head)
    class_ids = best_first(logits_of) if classes.whole_images else predictor.class_ids
    card = Card(config.model_dump(mode="json"), classes, version=__version__)
    return Validation(whole_images(config, source, plan.device), class_ids, card)
