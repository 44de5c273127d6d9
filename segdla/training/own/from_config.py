"""The data, network and loss of a run: a caller's own, or else those that the config describes."""

from torch.optim.swa_utils import AveragedModel

from segdla.config import Config, MasksConfig, WholeImagesConfig
from segdla.data.from_config import open_split
from segdla.data.labels import IGNORE_INDEX, UNLABELLED
from segdla.data.source import Source
from segdla.data.unlabelled_images import WithUnlabelled, unlabelled_images
from segdla.doctor.quick_check import quick_check
from segdla.errors import UserError
from segdla.inference.from_config import head_of, num_logits
from segdla.machine import distributed
from segdla.machine.device import in_precision
from segdla.machine.terminal import say
from segdla.models.dlaseg import DLASeg
from segdla.models.from_config import about_weights, build_network
from segdla.training.from_config import build_loss
from segdla.training.losses import Objective
from segdla.training.own.parts import Data, Own, own_data, require_fitting
from segdla.training.pseudo_labels import PseudoLabelled
from segdla.training.state import Plan
from segdla.training.teacher.taught_objective import TaughtObjective


def open_data(config: Config, own: Own) -> Data:
    """Open the splits, and the unlabelled images. Raises UserError if something is wrong with them."""
    data = _labelled_data(config, own)
    folder = config.data.unlabelled if isinstance(config.data, MasksConfig) else None
    if folder is None:
        return data
    training = data.training
    train_id = IGNORE_INDEX if config.train.teacher else UNLABELLED  # a teacher needs no label beside its answers
    labelled = [training, data.validation]
    unlabelled = unlabelled_images(folder, training.classes, labelled, config.sample_range, train_id)
    both = WithUnlabelled(training, unlabelled)
    if distributed.is_main():
        times = f", each {both.repeats} times an epoch," if both.repeats > 1 else ""
        say(f"{len(training)} labelled images{times} and {len(unlabelled)} unlabelled ones (data.unlabelled)")
    return data._replace(training=both)


def _labelled_data(config: Config, own: Own) -> Data:
    """Open the splits and check a few of their pairs."""
    if own.source is not None:
        return own_data(own.source, trains_on_val=config.trains_on_val)
    data = Data(open_split(config, "train"), open_split(config, "val"))
    for source in data[1:] if config.data.unreadable == "skip" else data:
        doubt = quick_check(source)
        if doubt and distributed.is_main():
            say(f"{doubt} (segdla check CONFIG tells more)")
    return data


def advise_weights(config: Config, own: Own) -> None:
    """Say which weights the network might start from, if it is the config's and starts at random."""
    at_random = own.model is None and not config.model.weights
    if at_random and distributed.is_main() and (advice := about_weights(config.model)):
        say(advice)


def require_fitting_loss(config: Config, own: Own) -> None:
    """Raise UserError if a caller's own loss, which is of class ids, would be given the shares of mixed labels."""
    if own.loss is None or not isinstance(config.data, WholeImagesConfig):
        return
    for key in ("mixup", "cutmix"):
        if value := getattr(config.data.augment, key):
            raise UserError(
                f"data.augment.{key} {value:g} mixes labels, and loss= takes class ids; set data.augment.{key}=0, or "
                "leave out loss="
            )


def open_network(config: Config, own: Own, data: Data) -> DLASeg:
    """Open the network, freshly initialised. Raises UserError if it does not fit the data."""
    number = num_logits(config, data.training.classes)
    if own.model is not None:
        require_fitting(own.model, number)
        return own.model
    return build_network(config.model, number)


def build_objective(config: Config, own: Own, source: Source, plan: Plan, average: AveragedModel | None) -> Objective:
    """Return what training minimises: the caller's own loss, or else the config's, and a teacher's.

    ``average`` is the moving average of the weights, which labels images without masks if there is no teacher.
    """
    may_skip = config.data.unreadable == "skip"
    objective = (
        build_loss(config.loss, source, plan.device, may_skip, config.model.head)
        if own.loss is None
        else Objective([(1.0, own.loss)])
    )
    if config.train.teacher:
        return TaughtObjective(objective.terms, objective.class_weights, objective.ignore_index)
    if isinstance(config.data, MasksConfig) and config.data.unlabelled:
        assert average is not None, "without a teacher, data.unlabelled has train.ema"
        return PseudoLabelled(
            terms=objective.terms,
            class_weights=objective.class_weights,
            answer=in_precision(average.module.eval(), plan.device, plan.precision),
            confidence=config.data.confidence,
            head=head_of(config, source.classes),
        )
    return objective
