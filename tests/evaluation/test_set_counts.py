import numpy as np
import torch

from segdla.data.source import Classes
from segdla.evaluation.confusion import ConfusionMatrix
from segdla.evaluation.evaluator import Prediction
from segdla.evaluation.set_counts import counts_of

THREE = Classes(("a", "b", "c"), ((0, 0, 0),) * 3, overlapping=True)


def test_each_class_is_scored_as_two_classes_would_be():
    generator = torch.Generator().manual_seed(0)
    targets, predicted = torch.randint(0, 8, (2, 2, 20, 30), dtype=torch.uint8, generator=generator)
    targets[0, :5] = 255
    predicted[1, :5] = 255  # no set: a miss of each true class
    counts = counts_of(THREE)
    counts.update(torch.zeros(0), targets, Prediction(predicted))
    scores = counts.scores(THREE.names)
    images = counts.image_counts(["x", "y"], {"x": "x", "y": "y"})
    for bit, name in enumerate(THREE.names):
        binary = ConfusionMatrix(2)
        truth = (targets >> bit & 1).where(targets != 255, 255)
        binary.update(torch.zeros(0), truth, Prediction((predicted >> bit & 1).where(predicted != 255, 255)))
        expected = binary.scores(("no", "yes"))
        for ours, theirs in zip(*((s.iou, s.accuracy, s.precision) for s in (scores, expected)), strict=True):
            assert ours[name] == theirs["yes"]
        theirs = binary.image_counts(["x", "y"], {"x": "x", "y": "y"})
        for key in ("hits", "truth", "predicted"):
            np.testing.assert_array_equal(getattr(images, key)[:, bit], getattr(theirs, key)[:, 1])
    assert scores.mean_iou == np.mean(list(scores.iou.values()))
    labelled = targets != 255
    assert scores.pixel_accuracy == ((predicted == targets) & labelled).sum().item() / labelled.sum().item()


def test_classes_that_exclude_each_other_have_the_confusion_matrix():
    assert type(counts_of(Classes(("a", "b"), ((0, 0, 0),) * 2))) is ConfusionMatrix
