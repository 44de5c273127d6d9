"""What holds on the CPU holds on an accelerator: the same tests, on every kind of device that is here."""

import os
import signal
from pathlib import Path

import processes
import pytest
import torch
from tiny_run import TINY, assert_same_run
from torch import nn

from segdla import engine
from segdla.data.loader import Batch
from segdla.engine.graph import Recorded
from segdla.engine.state import Plan, Training
from segdla.engine.step import gradients_of, take_step
from segdla.errors import UserError
from segdla.evaluation import evaluate
from segdla.losses import Objective, boundary, cross_entropy, dice, lovasz, ohem
from segdla.metrics import ConfusionMatrix
from segdla.models.dla import VARIANTS
from segdla.models.segmenter import DLASeg
from segdla.models.upsample import LearnedUpsample

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
GRAPH = ("train.cuda_graph=true",)
COMPUTING = [
    *[(device, precision, ()) for device in DEVICES for precision in ("fp32", "bf16")],
    *[("cuda", precision, ()) for precision in ("tf32", "fp16") if "cuda" in DEVICES],
    *[("cuda", precision, GRAPH) for precision in ("fp32", "fp16") if "cuda" in DEVICES],
]


@pytest.mark.parametrize(("device", "precision", "settings"), COMPUTING)
def test_a_stopped_run_resumes_to_the_same_bits(device, precision, settings, tool, tmp_path, monkeypatch):
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY, encoding="utf-8")
    settings = (f"train.device={device}", f"train.precision={precision}", "train.deterministic=true", *settings)
    train = tool("train")
    assert train(config, *settings, "--name", "whole") == 0

    steps = 0

    def interrupted_step(*args):
        nonlocal steps
        steps += 1
        if steps == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return take_step(*args)

    monkeypatch.setattr(engine, "take_step", interrupted_step)
    assert train(config, *settings, "--name", "stopped") == 130
    assert train("--resume", "runs/stopped") == 0
    assert_same_run(tmp_path / "runs" / "whole", tmp_path / "runs" / "stopped")


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


@pytest.mark.parametrize("device", DEVICES[1:])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_recorded_graph_takes_the_steps_that_launches_take(device, accumulate, tmp_path):
    """Of three batches, with all that a step changes."""
    torch.use_deterministic_algorithms(True)
    plan = Plan(tmp_path, torch.device(device), 3, 3, "bf16", accumulate, clip_norm=1.0)
    results = []
    for recorded in (False, True):
        torch.manual_seed(0)
        network = Drawing().to(device)
        optimizer = torch.optim.AdamW(network.named_parameters(), 0.1, fused=True)
        training = Training(network, optimizer, lambda step: 1.0)
        gradients = gradients_of(training, network, Objective([(1, cross_entropy)]), plan)
        if recorded:
            gradients = Recorded(gradients, network)
        losses = []
        for step in range(3):
            torch.manual_seed(step)
            images = torch.randint(0, 256, (accumulate, 2, 3, 16, 24), dtype=torch.uint8)
            parts = tuple(Batch(part, part[:, 0] % 3, ("", "")) for part in images)
            losses.append(take_step(training, gradients, parts, plan)[0].item())
        results.append((losses, network.state_dict()))
    (losses, state), (recorded_losses, recorded_state) = results
    assert losses == recorded_losses
    assert len(set(losses)) == 3
    for name, value in state.items():
        assert torch.equal(value, recorded_state[name]), name


def record_what_waits(device):
    network = Waiting().to(device)
    plan = Plan(Path(), torch.device(device), 1, 1)
    training = Training(network, torch.optim.SGD(network.named_parameters(), 0.1), lambda step: 1.0)
    recorded = Recorded(gradients_of(training, network, Objective([(1, cross_entropy)]), plan), network)
    images = torch.ones(2, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(UserError, match=r"set train\.cuda_graph=false"):
        recorded((Batch(images, images[:, 0], ("", "")),))


@pytest.mark.parametrize("device", DEVICES[1:])
def test_a_network_that_waits_for_its_device_is_no_graph(device):
    """In a process of its own: one in which a recording failed can't draw random numbers any more."""
    assert processes.run_together(record_what_waits, device, world_size=1) == [0]


@pytest.mark.parametrize("device", DEVICES)
def test_evaluation_counts_what_the_device_predicted(device):
    batches = []
    for seed in range(4):
        images = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
        batches.append(Batch(images, images[:, 1] % 3, (f"{seed}a", f"{seed}b")))
    kept = {}

    def keep(batch, prediction):
        kept[batch.names] = prediction.clone()

    confusion = evaluate(lambda images: images[:, 0] % 3, batches, 3, torch.device(device), keep)
    expected = ConfusionMatrix(3)
    for batch in batches:
        expected.update(batch.images[:, 0] % 3, batch.targets)
        assert torch.equal(kept[batch.names], batch.images[:, 0] % 3)
    assert torch.equal(confusion.matrix.cpu(), expected.matrix)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("num_classes", [2, 19, 254])
def test_every_pair_of_classes_is_counted(device, num_classes):
    truth, prediction = torch.meshgrid(*[torch.arange(256, dtype=torch.uint8)] * 2, indexing="ij")
    confusion = ConfusionMatrix(num_classes, device)
    confusion.update(prediction.to(device), truth.to(device))
    assert torch.equal(confusion.matrix.cpu(), torch.ones(num_classes, num_classes, dtype=torch.int64))


@pytest.mark.parametrize("device", DEVICES)
def test_memory_layouts_give_the_same_logits(device):
    network = DLASeg(VARIANTS["dla46_c"](), 3, 4).eval().double().to(device)
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8, device=device)
    with torch.inference_mode():
        contiguous = network(images)
        torch.testing.assert_close(network.to(memory_format=torch.channels_last)(images), contiguous)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("how", [lambda module: module, torch.compile], ids=["eager", "compiled"])
def test_learned_upsampling_is_the_transposed_convolution(device, how):
    up = LearnedUpsample(24, 2).to(device)
    nn.init.normal_(up.weight)
    x = torch.randn(2, 24, 7, 9, device=device, requires_grad=True)
    results = []
    with torch.backends.cudnn.flags(allow_tf32=False):
        for upsample in (how(up), nn.ConvTranspose2d.forward.__get__(up)):
            y = upsample(x)
            results.append((y, *torch.autograd.grad(y.square().sum(), (x, up.weight))))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("loss", [cross_entropy, ohem, dice, lovasz, boundary])
def test_losses_are_deterministic(device, loss):
    torch.use_deterministic_algorithms(True)
    targets = torch.randint(0, 5, (2, 24, 32), device=device)
    targets[:, :3] = 255
    logits = torch.randn(2, 5, 24, 32, device=device, requires_grad=True)
    first, second = (torch.autograd.grad(loss(logits, targets), logits)[0] for _ in range(2))
    assert torch.equal(first, second)
