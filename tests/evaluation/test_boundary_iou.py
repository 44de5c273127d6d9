import math

import cv2
import numpy as np
import pytest
import torch

from segdla.evaluation.boundary_iou import BoundaryIoU, near_boundary
from segdla.evaluation.evaluator import Prediction


def band(mask, width):
    """The band as the paper defines it: a mask less what is left of it by eroding, with nothing beyond the image."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    return mask & (eroded == 0)


def blobs(height, width, seed, classes=3):
    coarse = np.random.default_rng(seed).integers(0, classes, (height // 7 + 1, width // 7 + 1), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)


@pytest.mark.parametrize(("size", "width"), [((40, 56), 1), ((40, 56), 2), ((61, 9), 3), ((64, 64), 6), ((5, 5), 7)])
def test_all_classes_bands_at_once_are_each_ones_own(size, width):
    ids = blobs(*size, seed=0)
    expected = np.any([band(ids == class_id, width) for class_id in range(3)], 0)
    assert np.array_equal(near_boundary(torch.from_numpy(ids)[None], width)[0], expected)


def test_it_is_the_papers_of_binary_masks():
    size, ratio = (60, 80), 0.02
    width = round(ratio * math.hypot(*size))
    truths, predictions = ([blobs(*size, seed) for seed in seeds] for seeds in ((0, 1), (0, 2)))
    predictions[0] = np.roll(predictions[0], 3, 1)
    truths[1][:20] = 255
    evaluator = BoundaryIoU(("a", "b", "c", "absent"), ratio=ratio)
    for truth, prediction in zip(truths, predictions, strict=True):
        targets, class_ids = (torch.from_numpy(ids)[None] for ids in (truth, prediction))
        evaluator.update(torch.empty(0), targets, Prediction(class_ids))
    expected = []
    for class_id in range(3):
        shared = union = 0
        for truth, prediction in zip(truths, predictions, strict=True):
            known = truth != 255
            one, other = band(truth == class_id, width), band((prediction == class_id) & known, width)
            shared, union = shared + (one & other).sum(), union + (one | other).sum()
        expected.append(shared / union)
    result = evaluator.result()
    assert result["iou"] == pytest.approx(dict(zip("abc", expected, strict=True)) | {"absent": math.nan}, nan_ok=True)
    assert result["mean"] == pytest.approx(np.mean(expected))
