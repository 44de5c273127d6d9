"""Accelerators compute as the CPU does: the same tests on every kind of device that is here."""

import pytest
import torch
from tiny_run import TINY, assert_same_run, stop_at_step
from torch import nn

from segdla.data.loader import Batch
from segdla.evaluation.confusion import ConfusionMatrix
from segdla.evaluation.count import count_batches
from segdla.evaluation.evaluator import Prediction
from segdla.machine.device import choose_precision
from segdla.models.from_config import create_model
from segdla.models.upsample import LearnedUpsample
from segdla.training.losses import boundary, cross_entropy, dice, lovasz, ohem

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
GRAPH = ("train.cuda_graph=true",)
COMPUTING = [
    *[(device, precision, ()) for device in DEVICES for precision in ("fp32", "bf16")],
    *[("cuda", precision, ()) for precision in ("tf32", "fp16") if "cuda" in DEVICES],
    *[("cuda", precision, GRAPH) for precision in ("fp32", "bf16", "fp16") if "cuda" in DEVICES],
]


@pytest.mark.parametrize(("device", "precision", "settings"), COMPUTING)
def test_a_stopped_run_resumes_to_the_same_bits(device, precision, settings, tool, tmp_path, monkeypatch):
    if choose_precision(precision, torch.device(device)) != precision:
        pytest.skip(f"{device} has no {precision}, and computes as in another of these tests")
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY, encoding="utf-8")
    settings = (f"train.device={device}", f"train.precision={precision}", "train.deterministic=true", *settings)
    train = tool("train")
    assert train(config, *settings, "--name", "whole") == 0

    stop_at_step(5, monkeypatch)
    assert train(config, *settings, "--name", "stopped") == 75  # asks to be resumed
    assert train("--resume", "runs/stopped") == 0
    assert_same_run(tmp_path / "runs" / "whole", tmp_path / "runs" / "stopped")


@pytest.mark.parametrize("device", DEVICES)
def test_evaluation_counts_what_the_device_predicted(device):
    batches = []
    for seed in range(4):
        images = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
        batches.append(Batch(images, images[:, 1] % 3, (f"{seed}a", f"{seed}b")))
    class_ids_of = {}

    def keep(batch, class_ids):
        class_ids_of[batch.names] = class_ids.clone()

    confusion = ConfusionMatrix(3, device)
    count_batches(lambda images: Prediction(images[:, 0] % 3), batches, [confusion], torch.device(device), keep)
    expected = ConfusionMatrix(3)
    for batch in batches:
        expected.count(batch.images[:, 0] % 3, batch.targets)
        assert torch.equal(class_ids_of[batch.names], batch.images[:, 0] % 3)
    assert torch.equal(confusion.matrix.cpu(), expected.matrix)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("num_classes", [2, 19, 254])
def test_every_pair_of_classes_is_counted(device, num_classes):
    truth, prediction = torch.meshgrid(*[torch.arange(256, dtype=torch.uint8)] * 2, indexing="ij")
    confusion = ConfusionMatrix(num_classes, device)
    confusion.count(prediction.to(device), truth.to(device))
    assert torch.equal(confusion.matrix.cpu(), torch.ones(num_classes, num_classes, dtype=torch.int64))


@pytest.mark.parametrize("device", DEVICES)
def test_memory_layouts_give_the_same_logits(device):
    network = create_model("dla46_c", 3, output_stride=4).eval().double().to(device)
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
