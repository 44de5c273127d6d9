"""Opening a trained network."""

from pathlib import Path

import pytest
import torch

from segdla.checkpoints.checkpoint import Card, Checkpoint
from segdla.checkpoints.from_config import restored
from segdla.config import parse
from segdla.data.source import Classes
from segdla.models.from_config import build_network

CLASSES = Classes(("a", "b"), ((0, 0, 0), (255, 255, 255)))


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_trained_network_lies_in_memory_as_it_did_in_training(channels_last):
    overrides = {"train.channels_last": channels_last, "model.backbone": "dla46_c"}
    config = parse({"data": {"dataset": "scenes"}}, overrides)
    checkpoint = Checkpoint(Path("best"), build_network(config.model, 2).state_dict(), Card({}, CLASSES))
    network = restored(checkpoint, config, torch.device("cpu"))
    weights = [tensor for tensor in network.state_dict().values() if tensor.ndim == 4]
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in weights) == channels_last
