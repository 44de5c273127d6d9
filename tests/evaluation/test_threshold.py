import numpy as np
import pytest
import torch

from segdla.evaluation.evaluator import Prediction
from segdla.evaluation.threshold import ThresholdFit


def fitted(object_probabilities, targets):
    probabilities = torch.stack([1 - object_probabilities, object_probabilities], 1)
    fit = ThresholdFit(["thing"])
    for part, target in zip(probabilities.split(1), targets.split(1), strict=True):
        fit.update(torch.zeros(0), target, Prediction((part[:, 1] > 0.5).to(torch.uint8), part))
    fit.reduce()
    return {key: values["thing"] for key, values in fit.result().items()}


def iou(probabilities, targets, threshold):
    predicted, truth = (probabilities > threshold)[targets != 255], targets[targets != 255] == 1
    return ((predicted & truth).sum() / (predicted | truth).sum()).item()


def test_it_is_the_best_of_all_thresholds_by_trying_each():
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(2, 20, 30, generator=generator) < 0.3).to(torch.uint8)
    probabilities = (0.6 * torch.rand(2, 20, 30, generator=generator) + 0.2 * targets).clamp(0, 1)
    targets[:, :3] = 255
    result = fitted(probabilities, targets)
    every = [iou(probabilities, targets, step / 1000) for step in range(1, 1000)]
    assert result["iou"] == pytest.approx(np.nanmax(every)) and result["iou"] > result["iou_before"] + 0.01
    assert iou(probabilities, targets, result["thresholds"]) == pytest.approx(result["iou"])
    assert result["iou_before"] == pytest.approx(iou(probabilities, targets, 0.5))


def test_of_equal_thresholds_the_nearest_to_a_half():
    targets = torch.tensor([[[0, 0, 1, 1]]], dtype=torch.uint8)
    assert fitted(torch.tensor([[[0.1, 0.2, 0.3, 0.9]]]), targets)["thresholds"] == 0.299  # 0.3 is not above 0.3
    assert fitted(torch.tensor([[[0.1, 0.2, 0.8, 0.9]]]), targets)["thresholds"] == 0.5
    assert fitted(torch.tensor([[[0.1, 0.2, 0.8, 0.9]]]), torch.zeros_like(targets))["thresholds"] == 0.5
    assert np.isnan(fitted(torch.tensor([[[0.1, 0.2, 0.8, 0.9]]]), torch.full_like(targets, 255))["thresholds"])
