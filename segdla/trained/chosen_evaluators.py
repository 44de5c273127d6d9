"""The metrics that the config switches on: each has one line here, and its switch in the section ``eval``."""

from collections.abc import Callable

import torch

from segdla.config import EvalConfig
from segdla.data.source import Source
from segdla.evaluation.boundary_f import BoundaryF
from segdla.evaluation.boundary_iou import BoundaryIoU
from segdla.evaluation.evaluator import Evaluator
from segdla.evaluation.object_sizes import ObjectSizes

EVALUATORS: dict[str, Callable[[Source, torch.device], Evaluator]] = {
    "boundary_iou": lambda source, device: BoundaryIoU(source.classes.names, device),
    "boundary_f": lambda source, device: BoundaryF(source.classes.names),
    "object_sizes": lambda source, device: ObjectSizes(source),
}


def chosen_evaluators(settings: EvalConfig, source: Source, device: torch.device) -> list[Evaluator]:
    """Return the evaluators that are switched on, for a source; none of them is of classes that overlap."""
    if source.classes.overlapping:
        return []
    return [evaluator(source, device) for key, evaluator in EVALUATORS.items() if getattr(settings, key)]
