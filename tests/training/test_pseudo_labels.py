"""Unlabelled images that are learned by what the average of the weights is sure of."""

from functools import partial

import numpy as np
import pytest
import torch
import yaml
from tiny_run import CPU, TINY, assert_same_run, stop_at_step, use_small_networks
from torch import nn

import segdla
from segdla.data.image_writer import write_image
from segdla.data.labels import IGNORE_INDEX, UNLABELLED
from segdla.data.loader import Batch
from segdla.inference.head import Sigmoid
from segdla.training import pseudo_labels
from segdla.training.losses import cross_entropy
from segdla.training.pseudo_labels import PseudoLabelled, strong_views
from segdla.training.state import Plan, Training
from segdla.training.step import gradients_of

PLAN = Plan(run=None, device=CPU, num_steps=1, steps_per_epoch=1)


def numbered(count, side=16):
    """Grey images, each of one value, and targets of the image's number."""
    numbers = torch.arange(count)
    images = (50 + 40 * numbers)[:, None, None, None].expand(-1, 3, side, side).to(torch.uint8)
    return images, numbers[:, None, None].expand(-1, side, side).clone()


def test_labels_move_with_the_pixels_that_are_pasted():
    images, targets = numbered(4)
    pasted = 0
    for seed in range(5):
        torch.manual_seed(seed)
        views, moved = strong_views(images, targets, torch.tensor([False, True, True, True])[:, None, None], 0.5, 0.2)
        assert torch.equal(views[0], images[0].float()) and torch.equal(moved[0], targets[0])
        assert views.min() >= 0 and views.max() <= 255
        for number in (1, 2, 3):
            assert set(moved[number].unique().tolist()) <= {number - 1, number}
            for label in moved[number].unique():
                assert len(views[number][:, moved[number] == label].round(decimals=2).unique()) == 1
            pasted += int((moved[number] == number - 1).sum())
    assert 0.25**2 * 15 * 256 < pasted < 0.75**2 * 15 * 256


class Constant(nn.Module):
    """A network of given logits (B,C,H,W), which sees how it is asked."""

    def __init__(self, logits):
        super().__init__()
        self.given = nn.Parameter(logits)

    def forward(self, images):
        self.images = images
        return self.given


def targets_learned(targets, answer, **options):
    """Return the targets that are learned, when the average gives the logits ``answer``."""
    average = Constant(answer)
    images = torch.full((len(targets), 3, *targets.shape[1:]), 100, dtype=torch.uint8)
    views, learned = PseudoLabelled(terms=[], answer=average, **options).prepared(images, targets)
    assert torch.equal(average.images, images)  # the weak view
    assert not views.requires_grad and not torch.equal(views, images)
    return learned


def test_only_sure_answers_are_labels_and_only_of_unlabelled_images():
    answer = torch.zeros(1, 3, 2, 4)
    answer[:, 2, :, :2] = 5.0  # probability 0.987
    answer[:, 1, :, 2:] = 2.0  # probability 0.787
    nothing = torch.full((1, 2, 4), UNLABELLED)
    of_class = [[[2, 2, IGNORE_INDEX, IGNORE_INDEX]] * 2]
    assert targets_learned(nothing, answer).tolist() == of_class
    assert targets_learned(nothing, answer, confidence=0.7).tolist() == [[[2, 2, 1, 1]] * 2]
    nothing[0, 0, 3] = 0  # pasted from a labelled image
    nothing[0, 1, 0] = IGNORE_INDEX  # beyond the image's border
    of_class = [[[2, 2, IGNORE_INDEX, 0], [IGNORE_INDEX, 2, IGNORE_INDEX, IGNORE_INDEX]]]
    assert targets_learned(nothing, answer).tolist() == of_class


def test_a_head_of_one_logit_is_sure_of_both_its_answers():
    answer = torch.tensor([4.0, -4.0, 0.5, -0.5]).expand(1, 1, 2, 4)
    learned = targets_learned(torch.full((1, 2, 4), UNLABELLED), answer.clone(), head=Sigmoid(0.5))
    assert learned.tolist() == [[[1, 0, IGNORE_INDEX, IGNORE_INDEX]] * 2]


@pytest.mark.parametrize("parts", [2, 4])
def test_a_step_in_parts_is_that_of_the_whole_batch(parts, monkeypatch):
    """Its parts have different shares of pixels that the average is sure of, and classes of different weights."""
    monkeypatch.setattr(pseudo_labels, "strong_views", lambda images, targets, *_: (images.float(), targets))
    torch.manual_seed(0)
    network, weights = nn.Conv2d(3, 3, 3, padding=1), torch.tensor([1.0, 2.0, 0.5])
    training = Training(network, torch.optim.SGD(network.named_parameters(), 0.1), lambda step: 1.0)
    objective = PseudoLabelled(
        terms=[(1.0, partial(cross_entropy, weights=weights))],
        class_weights=weights,
        answer=lambda images: images / 100,
        confidence=0.6,
    )
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    images[3] //= 2
    targets = torch.randint(0, 3, (4, 8, 8))
    targets[0, :, 5:], targets[2:] = IGNORE_INDEX, UNLABELLED
    sure = (objective.prepared(images, targets)[1][2:] != IGNORE_INDEX).sum((1, 2))
    assert 0 < sure[0] != sure[1] < 64
    steps = []
    for number in (1, parts):
        network.zero_grad()
        gradients = gradients_of(training, network, objective, PLAN)
        batches = zip(images.chunk(number), targets.chunk(number), strict=True)
        loss = gradients(tuple(Batch(*part, ()) for part in batches))
        steps.append((loss, [parameter.grad for parameter in network.parameters()]))
    torch.testing.assert_close(*steps)


@pytest.fixture
def values(tmp_path, monkeypatch):
    """The sections of a run with six unlabelled images beside six scenes."""
    use_small_networks(monkeypatch)
    for index in range(12):
        noise = np.random.default_rng(index).integers(0, 256, (32, 48, 3), np.uint8)
        write_image(tmp_path / "more" / f"{index}.png", noise)
    values = yaml.safe_load(TINY)
    values["data"] |= {"unlabelled": str(tmp_path / "more"), "confidence": 0.2}
    values["train"] |= {"epochs": 1}
    return values


def test_a_stopped_run_resumes_to_the_same_bits(values, tmp_path, monkeypatch, capsys):
    asked = segdla.Config.model_validate(values)  # six steps of four images in two parts
    whole = segdla.train(asked, name="whole", runs=tmp_path)
    assert "6 labelled images, each 2 times an epoch, and 12 unlabelled ones" in capsys.readouterr().out
    stop_at_step(3, monkeypatch)
    stopped = segdla.train(asked, name="stopped", runs=tmp_path)
    assert not stopped.finished
    assert segdla.resume(stopped).finished
    assert_same_run(whole.folder, stopped.folder)


def test_a_batch_that_is_fitted_to_memory_gives_the_run_of_its_number(values, tmp_path):
    values["data"] |= {"train": 16}
    runs = []
    for size in ("auto", 2):
        values["train"] |= {"batch_size": size, "accumulate": 1, "epochs": 1}
        runs.append(segdla.train(segdla.Config.model_validate(values), name=f"{size}", runs=tmp_path).folder)
    assert_same_run(*runs)


def test_what_is_sure_changes_what_is_learned(values, tmp_path):
    weights = []
    for confidence in (0.2, 1.0):  # 1 is never reached
        values["data"]["confidence"] = confidence
        run = segdla.train(segdla.Config.model_validate(values), name=f"{confidence}", runs=tmp_path)
        weights.append(torch.load(run.folder / "last.pt", weights_only=True)["model"])
    assert not all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
