import numpy as np
import pytest
import torch

from segdla.evaluation.calibration import BINS, Calibration
from segdla.evaluation.evaluator import Prediction


def drawn(seed=0, images=3):
    """Probabilities (B,4,12,16), their class ids, and targets that agree with them now and then."""
    draw = torch.Generator().manual_seed(seed)
    probabilities = (3 * torch.randn(images, 4, 12, 16, generator=draw)).softmax(1)
    class_ids = probabilities.argmax(1).to(torch.uint8)
    other = torch.randint(0, 5, class_ids.shape, generator=draw, dtype=torch.uint8)
    targets = class_ids.where(torch.rand(class_ids.shape, generator=draw) < 0.6, other)
    return Prediction(class_ids, probabilities), targets.where(targets < 4, 255)


def counted(prediction, targets):
    calibration = Calibration(("a", "b", "c", "d"))
    for place in range(len(targets)):
        one = Prediction(prediction.class_ids[place : place + 1], prediction.probabilities[place : place + 1])
        calibration.update(None, targets[place : place + 1], one)
    calibration.reduce()
    return calibration.result()


def test_the_error_is_that_of_torchmetrics():
    metric = pytest.importorskip("torchmetrics.classification").MulticlassCalibrationError
    prediction, targets = drawn()
    result = counted(prediction, targets)

    def theirs(chosen):
        flat = prediction.probabilities.movedim(1, -1)[chosen]
        return metric(4, BINS, "l1")(flat, targets[chosen].long()).item()

    assert result["ece"] == pytest.approx(theirs(targets < 4), abs=1e-4)
    for place, name in enumerate("abcd"):
        chosen = (targets < 4) & (prediction.class_ids == place)
        assert result["ece_by_class"][name] == pytest.approx(theirs(chosen), abs=1e-4)


def test_an_example_worked_by_hand():
    """Four pixels called "a" with 0.75, three of them rightly, and two called "b" with 1.0, one of them rightly."""
    first = torch.tensor([0.75, 0.75, 0.75, 0.75, 0, 0]).view(1, 1, 1, 6)
    probabilities = torch.cat([first, 1 - first], 1)
    targets = torch.tensor([0, 0, 0, 1, 1, 0], dtype=torch.uint8).view(1, 1, 6)
    calibration = Calibration(("a", "b", "never"))
    calibration.update(None, targets, Prediction(probabilities.argmax(1).to(torch.uint8), probabilities))
    result = calibration.result()
    assert result["ece_by_class"]["a"] == 0 and result["ece_by_class"]["b"] == 0.5
    assert np.isnan(result["ece_by_class"]["never"])
    assert result["ece"] == pytest.approx(2 * 0.5 / 6, abs=1e-15)
    assert result["pixels"] == [0] * 11 + [4, 0, 0, 2]  # 0.75 is in the twelfth bin of 15, and 1.0 in the last
    assert result["confidence"][11] == result["accuracy"][11] == 0.75


def test_the_order_of_images_changes_no_bit():
    prediction, targets = drawn(images=6)
    order = [4, 0, 5, 2, 1, 3]
    shuffled = Prediction(prediction.class_ids[order], prediction.probabilities[order])
    assert str(counted(prediction, targets)) == str(counted(shuffled, targets[order]))
