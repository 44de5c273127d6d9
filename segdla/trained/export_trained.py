"""Write a trained network for another runtime."""

import copy
import os
from pathlib import Path

import torch

from segdla.checkpoints.checkpoint import read_checkpoint
from segdla.checkpoints.from_config import restored
from segdla.errors import UserError
from segdla.export.formats import FORMATS
from segdla.export.from_config import export_network
from segdla.export.write import Export
from segdla.trained.open import TrainedNetwork


def export_trained(
    trained: TrainedNetwork,
    path: str | os.PathLike[str],
    int8: bool,
    num_images: int | None,
    max_drop: float,
    size: tuple[int, int] | None,
) -> Export:
    """Write a network as ``Segmenter.export`` and ``Classifier.export`` say."""
    path = Path(path)
    kinds = {module.SUFFIX: kind for kind, module in FORMATS.items()}
    if path.suffix not in kinds:
        raise UserError(f"{path}: the suffix tells the format; end it in one of {', '.join(kinds)}")
    if trained.model is None:
        raise UserError(f"{trained.path} is an exported file; export the run it came from")
    checkpoint = read_checkpoint(trained.path)  # again, for ``model`` was changed to predict faster
    own_model = copy.deepcopy(trained.own_model)
    return export_network(
        restored(checkpoint, trained.config, torch.device("cpu"), own_model),
        checkpoint.card,
        trained.config,
        path,
        kinds[path.suffix],
        int8=int8,
        num_images=num_images,
        max_drop=max_drop,
        size=size,
    )
