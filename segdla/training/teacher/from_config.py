"""From the config to a teacher, and to the student that learns from it."""

from pathlib import Path

from torch import nn

from segdla.checkpoints.checkpoint import BEST, read_checkpoint
from segdla.checkpoints.find import find_checkpoint
from segdla.checkpoints.from_config import restored
from segdla.config import TIMM, Config, parse
from segdla.data.source import Classes
from segdla.errors import UserError, quoted
from segdla.machine import distributed
from segdla.machine.device import Machine
from segdla.machine.hub_file import sha256
from segdla.machine.terminal import say
from segdla.models.dlaseg import DLASeg
from segdla.models.fold import for_prediction
from segdla.models.from_config import memory_format, origin_of, pretrained_backbone, section_of_backbone
from segdla.training.teacher.student import Student, Teacher

_DIGITS = 12  # of a file's hash: enough to tell teachers apart


def with_teacher(network: DLASeg, config: Config, classes: Classes, machine: Machine, run: Path) -> nn.Module:
    """Return the model to train in the folder ``run``: the network, or a student with it if the config has a teacher.

    Raises UserError if the teacher is missing, or does not fit the network or the classes.
    """
    name = config.train.teacher
    if name is None:
        return network
    try:
        distributed.on_main(lambda: _find(name))  # one process downloads, the others find the file
        student = Student(network, _opened(name, config, classes, machine, run))
    except UserError as error:
        raise type(error)(f"train.teacher: {error}") from error
    if distributed.is_main():
        say(f"{name} teaches {student.subjects}")
    return student


def _find(name: str) -> Path:
    """Return the teacher's file."""
    return origin_of(section_of_backbone(name)).fetch() if name.startswith(TIMM) else find_checkpoint(name).path


def _opened(name: str, config: Config, classes: Classes, machine: Machine, run: Path) -> Teacher:
    """Return the teacher, in its fastest form."""
    path, distill = _find(name), config.train.distill
    if path.resolve() == (run / BEST).resolve():
        raise UserError(f"{name} is the run itself, whose weights change; name another one, or a copy of its {BEST}")
    layout = memory_format(config.train.channels_last)
    if name.startswith(TIMM):
        network, logits = pretrained_backbone(section_of_backbone(name)), 0.0
    else:
        usual = 0.0 if classes.of_nothing else 1.0
        logits = usual if distill.logits is None else distill.logits
        network = _trained(path, config, classes if logits else None, machine)
    network = network.to(machine.device).to(memory_format=layout).eval().requires_grad_(False)
    network = for_prediction(network, machine.device, machine.precision)
    sigmoid = config.model.head == "sigmoid"
    return Teacher(network, logits, distill.features, distill.temperature, sha256(path)[:_DIGITS], sigmoid)


def _trained(path: Path, config: Config, classes: Classes | None, machine: Machine) -> DLASeg:
    """Return a checkpoint's network. Raises UserError if it does not know the ``classes``, unless they are None."""
    checkpoint = read_checkpoint(path)
    its_own, its_config = checkpoint.card.classes, parse(checkpoint.card.config, source=str(path))
    remedy = "choose another, or learn from its features alone (train.distill.logits=0)"
    if classes is not None and its_own.names != classes.names:
        raise UserError(
            f"{path} knows the classes {quoted(list(its_own.names))} and the data have {quoted(list(classes.names))}; "
            f"{remedy}"
        )
    if classes is not None and its_config.model.head != config.model.head:
        raise UserError(
            f"{path} has head {its_config.model.head} and the network {config.model.head} (model.head); {remedy}"
        )
    return restored(checkpoint, its_config, machine.device)
