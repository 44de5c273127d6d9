"""Images of a batch that are mixed with each other, with their labels."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from tiny_run import CPU

from segdla.data.loader import Batch
from segdla.data.source import NO_LABEL
from segdla.training.losses import Objective, cross_entropy
from segdla.training.mix import Mix, mixed
from segdla.training.state import Plan
from segdla.training.step import seed_step

PLAN = Plan(run=None, device=CPU, num_steps=9, steps_per_epoch=3, accumulate=2)


def batch(*labels):
    """Images that are all of one value, ten times their label."""
    targets = torch.tensor(labels, dtype=torch.int16)[:, None, None]
    images = (10 * targets[:, None]).to(torch.uint8).expand(-1, 3, 8, 8).contiguous()
    return Batch(images, targets, tuple(map(str, labels)))


@pytest.mark.parametrize("ways", [(0.3, 0.0), (0.0, 1.0), (0.3, 1.0)])
def test_labels_are_shared_as_the_pixels_are(ways):
    mix, shares = Mix(*ways, 4), []
    for seed in range(8):
        torch.manual_seed(seed)
        one = mix(batch(1, 2, 3), CPU)
        assert one.targets.shape == (3, 4, 1, 1) and one.images.dtype == torch.float32
        torch.testing.assert_close(one.targets.sum(1), torch.ones(3, 1, 1))
        expected = (10 * torch.arange(4.0) * one.targets.flatten(1)).sum(1)
        torch.testing.assert_close(one.images.mean((1, 2, 3)), expected)
        shares.append(float(one.targets[0, 1]))
    assert len({round(share, 4) for share in shares}) > 3


def test_an_image_without_a_label_gets_none():
    assert not Mix(1.0, 0.0, 1)(batch(NO_LABEL, NO_LABEL), CPU).targets.any()


def test_a_batch_is_mixed_alike_wherever_a_run_begins():
    batches = [batch(1, 2, 3)] * 6
    whole = list(mixed(batches, Mix(0.3, 1.0, 4), PLAN, 0))
    torch.manual_seed(5)
    resumed = list(mixed(batches[2:], Mix(0.3, 1.0, 4), PLAN, 1))
    for one, other in zip(whole[2:], resumed, strict=True):
        assert torch.equal(one.images, other.images) and torch.equal(one.targets, other.targets)
    assert len({tuple(one.targets.flatten().tolist()) for one in whole}) == 6


def test_no_mixture_has_the_seed_of_a_step_s_dropout(monkeypatch):
    seeds, training = [], SimpleNamespace(step=5)
    monkeypatch.setattr(torch, "manual_seed", lambda seed: seeds.append(int(seed)))
    seed_step(training, PLAN)
    next(mixed([batch(1, 2, 3)], lambda one, _: one, PLAN, 5))
    assert len(set(seeds)) == 2


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_whole_shares_is_that_of_the_labels(smoothing):
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 4, 1, 1), torch.tensor([0, 3, 2, 2, NO_LABEL])[:, None, None]
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    shares = F.one_hot(labels.clamp(min=0), 4).movedim(-1, 1).float() * (labels >= 0)[:, None]
    options = {"weights": weights, "label_smoothing": smoothing, "ignore_index": NO_LABEL}
    torch.testing.assert_close(cross_entropy(logits, shares, **options), cross_entropy(logits, labels, **options))
    objective = Objective([], weights, NO_LABEL)
    assert objective.amount(shares) == objective.amount(labels) == 1 + 3 + 0.5 + 0.5


def test_the_loss_of_a_mixture_is_the_mixture_of_losses():
    logits = torch.tensor([[0.3, -1.0, 2.0]])[:, :, None, None]
    of_two = [cross_entropy(logits, torch.tensor([[[label]]]), ignore_index=NO_LABEL) for label in (0, 2)]
    shares = torch.tensor([[0.25, 0.0, 0.75]])[:, :, None, None]
    mixture = cross_entropy(logits, shares, ignore_index=NO_LABEL)
    torch.testing.assert_close(mixture, 0.25 * of_two[0] + 0.75 * of_two[1])
