"""From a checkpoint and its config to a network."""

import torch

from segdla.checkpoints.checkpoint import Checkpoint
from segdla.config import Config
from segdla.inference.from_config import num_logits
from segdla.models.dlaseg import DLASeg
from segdla.models.from_config import build_network, memory_format
from segdla.models.weights import load_weights


def restored(checkpoint: Checkpoint, config: Config, device: torch.device, model: DLASeg | None = None) -> DLASeg:
    """Return a checkpoint's network, in evaluation mode, laid out in memory as it was in training.

    Raises UserError if the weights don't fit.
    """
    classes = checkpoint.card.classes
    network = build_network(config.model, num_logits(config, classes)) if model is None else model
    load_weights(network, checkpoint.state_dict, str(checkpoint.path))
    return network.to(device).to(memory_format=memory_format(config.train.channels_last)).eval()
