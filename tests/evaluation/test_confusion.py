import math

import numpy as np
import pytest
import torch

from segdla.evaluation.confusion import ConfusionMatrix

NAMES = tuple("abcde")


def counted(prediction, target, num_classes=5):
    confusion = ConfusionMatrix(num_classes)
    confusion.count(torch.as_tensor(prediction), torch.as_tensor(target))
    return confusion


def random_maps(seed, classes=5, ignored=0.2, absent=()):
    random = np.random.default_rng(seed)
    truth_choices = [c for c in range(classes) if c not in absent]
    target = random.choice(truth_choices, (3, 17, 23)).astype(np.uint8)
    target[random.random(target.shape) < ignored] = 255
    return random.integers(0, classes, target.shape).astype(np.uint8), target


def test_by_hand():
    #                truth      a a a b b c and one ignored
    #                predicted  a a b b c c
    confusion = counted(torch.tensor([0, 0, 1, 1, 2, 2, 0]), torch.tensor([0, 0, 0, 1, 1, 2, 255]))
    assert confusion.matrix[:3, :3].tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    scores = confusion.scores(NAMES)
    assert scores.iou["a"] == pytest.approx(2 / 3)
    assert scores.iou["b"] == pytest.approx(1 / 3)
    assert scores.iou["c"] == pytest.approx(1 / 2)
    assert math.isnan(scores.iou["d"])
    assert scores.mean_iou == pytest.approx((2 / 3 + 1 / 3 + 1 / 2) / 3)  # over the classes that are there
    assert scores.pixel_accuracy == pytest.approx(4 / 6)
    assert scores.mean_accuracy == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)


def test_class_predicted_but_absent_counts_as_zero():
    assert counted(torch.tensor([0, 3]), torch.tensor([0, 0])).scores(NAMES).iou["d"] == 0


def test_predicting_no_class_is_a_miss():
    scores = counted(torch.tensor([0, 255, 7]), torch.tensor([0, 0, 0])).scores(NAMES)
    assert scores.iou["a"] == pytest.approx(1 / 3)
    assert scores.mean_iou == pytest.approx(1 / 3)


def test_nothing_labelled_is_not_a_number():
    scores = counted(torch.tensor([0, 1]), torch.tensor([255, 255])).scores(NAMES)
    assert math.isnan(scores.mean_iou) and math.isnan(scores.pixel_accuracy)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("absent", [(), (1, 4)])
def test_equal_to_sklearn(seed, absent):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle (requirements-dev.txt)")
    prediction, target = random_maps(seed, absent=absent)
    valid = target != 255
    expected = metrics.confusion_matrix(target[valid], prediction[valid], labels=range(5))
    np.testing.assert_array_equal(counted(prediction, target).matrix.numpy(), expected)


@pytest.mark.parametrize("absent", [(), (1, 4)])
def test_equal_to_torchmetrics(absent):
    classification = pytest.importorskip(
        "torchmetrics.classification", reason="torchmetrics is the oracle (requirements-dev.txt)"
    )
    prediction, target = (torch.from_numpy(a).long() for a in random_maps(0, absent=absent))
    theirs = classification.MulticlassJaccardIndex(5, average=None, ignore_index=255)(prediction, target)
    ours = counted(prediction, target).scores(NAMES).iou.values()
    torch.testing.assert_close(torch.tensor(list(ours)), theirs.double(), rtol=1e-6, atol=0, check_dtype=False)


def test_equal_to_the_official_cityscapes_score():
    official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    labels = pytest.importorskip("cityscapesscripts.helpers.labels")
    random = np.random.default_rng(0)
    evaluated = [label for label in labels.labels if not label.ignoreInEval and label.id >= 0]
    ids = np.array([label.id for label in evaluated])
    prediction = random.integers(0, 19, (2, 30, 40)).astype(np.uint8)
    target = random.integers(0, 12, (2, 30, 40)).astype(np.uint8)  # of 19 classes 7 are not in the truth
    target[random.random(target.shape) < 0.2] = 255
    args = official.CArgs()
    args.evalLabels = [label.id for label in labels.labels if label.id >= 0]
    matrix = np.zeros((len(args.evalLabels),) * 2, np.int64)
    truth_ids = np.where(target == 255, 0, ids[np.minimum(target, 18)])
    np.add.at(matrix, (truth_ids.ravel(), ids[prediction].ravel()), 1)
    theirs = [official.getIouScoreForLabel(label.id, matrix, args) for label in evaluated]
    ours = counted(prediction, target, num_classes=19).scores(tuple(label.name for label in evaluated))
    np.testing.assert_allclose(list(ours.iou.values()), theirs, rtol=0, atol=1e-12)
    assert ours.mean_iou == pytest.approx(np.nanmean(theirs), abs=1e-12)


@pytest.mark.parametrize("num_classes", [2, 19, 254, 255, 256, 300])  # the faster way of counting ends at 255
def test_counting_pixel_by_pixel_gives_the_same(num_classes):
    random = np.random.default_rng(num_classes)
    target = torch.from_numpy(random.integers(0, num_classes + 5, (2, 9, 7)))
    prediction = torch.from_numpy(random.integers(0, num_classes + 2, (2, 9, 7)))
    counts = ConfusionMatrix(num_classes)
    counts.count(prediction, target)
    expected = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for truth, predicted in zip(target.flatten().tolist(), prediction.flatten().tolist(), strict=True):
        if truth < num_classes and predicted < num_classes:
            expected[truth, predicted] += 1
    assert torch.equal(counts.matrix, expected)


def test_counts_add_up_over_updates():
    confusion = ConfusionMatrix(5)
    maps = [random_maps(seed) for seed in range(3)]
    for prediction, target in maps:
        confusion.count(torch.from_numpy(prediction), torch.from_numpy(target))
    together = counted(*(np.concatenate(part) for part in zip(*maps, strict=True)))
    assert torch.equal(confusion.matrix, together.matrix)
