"""A step as a CUDA graph is the step that launches take."""

from pathlib import Path

import processes
import pytest
import torch
from torch import nn
from torch.amp import GradScaler

from segdla.data.loader import Batch
from segdla.errors import UserError
from segdla.training.cuda_graph import Recorded
from segdla.training.losses import Objective, cross_entropy
from segdla.training.state import Plan, Training
from segdla.training.step import gradients_of, take_step

CUDA = torch.device("cuda")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


def as_it_is(module):
    return module


class Drawing(nn.Module):
    """Draws random numbers, and keeps running statistics."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(8, 3, 1)
        )

    def forward(self, images):
        return self.layers(images / 255)


class Waiting(Drawing):
    """Asks its device for a number."""

    def forward(self, images):
        return super().forward(images) / float(images.float().mean())


@pytest.mark.parametrize(
    ("precision", "accumulate", "how"),
    [("bf16", 1, as_it_is), ("bf16", 2, as_it_is), ("fp16", 1, as_it_is), ("bf16", 1, torch.compile)],
    ids=["bf16", "in parts", "fp16", "compiled"],
)
def test_a_recorded_graph_takes_the_steps_that_launches_take(precision, accumulate, how, tmp_path):
    """Of three batches, with all that a step changes: in fp16 also the scale of the loss."""
    torch.use_deterministic_algorithms(True)
    plan = Plan(tmp_path, CUDA, 3, 3, precision, accumulate, clip_norm=1.0)
    results = []
    for recorded in (False, True):
        torch.manual_seed(0)
        network = Drawing().to(CUDA)
        optimizer = torch.optim.AdamW(network.named_parameters(), 0.1, fused=True)
        scaler = GradScaler(CUDA.type, init_scale=8.0, growth_interval=1, enabled=precision == "fp16")
        training = Training(network, optimizer, lambda step: 1.0, scaler)
        gradients = gradients_of(training, how(network), Objective([(1, cross_entropy)]), plan)
        if recorded:
            gradients = Recorded(gradients, network)
        losses = []
        for step in range(3):
            torch.manual_seed(step)
            images = torch.randint(0, 256, (accumulate, 2, 3, 16, 24), dtype=torch.uint8)
            parts = tuple(Batch(part, part[:, 0] % 3, ("", "")) for part in images)
            losses.append(take_step(training, gradients, parts, plan)[0].item())
        results.append((losses, network.state_dict(), scaler.state_dict()))
    (losses, state, scale), (recorded_losses, recorded_state, recorded_scale) = results
    assert losses == recorded_losses
    assert scale == recorded_scale
    assert len(set(losses)) == 3
    for name, value in state.items():
        assert torch.equal(value, recorded_state[name]), name


def record_what_waits():
    network = Waiting().to(CUDA)
    plan = Plan(Path(), CUDA, 1, 1)
    training = Training(network, torch.optim.SGD(network.named_parameters(), 0.1), lambda step: 1.0)
    recorded = Recorded(gradients_of(training, network, Objective([(1, cross_entropy)]), plan), network)
    images = torch.ones(2, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(UserError, match=r"\(.*captur.*\); set train\.cuda_graph=false"):
        recorded((Batch(images, images[:, 0], ("", "")),))


def test_a_network_that_waits_for_its_device_is_no_graph():
    """In a process of its own: one in which a recording failed can't draw random numbers any more."""
    assert processes.run_together(record_what_waits, world_size=1) == [0]
