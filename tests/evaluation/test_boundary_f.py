import cv2
import numpy as np
import pytest
import torch

from segdla.evaluation.boundary_f import BoundaryF, f_score, outline
from segdla.evaluation.evaluator import Prediction

# F by davis2017-evaluation's db_eval_boundary, for pairs of ``disc`` in 120x160 pixels: centre and radius.
PAIRS = [
    ((60, 80, 30), (60, 80, 30)),
    ((60, 80, 30), (60, 83, 30)),
    ((60, 80, 30), (64, 80, 26)),
    ((9, 9, 20), (20, 30, 9)),
]
DAVIS = (1.0, 0.6147540983606558, 0.3863817891373802, 0.19067574646411736)


def disc(row, column, radius):
    rows, columns = np.mgrid[:120, :160]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


@pytest.mark.parametrize(("pair", "expected"), list(zip(PAIRS, DAVIS, strict=True)), ids=str)
def test_it_is_davis_s(pair, expected):
    truth, predicted = (disc(*one) for one in pair)
    assert f_score(truth, predicted) == pytest.approx(expected, abs=1e-9)


def test_a_worked_example():
    truth, predicted = np.zeros((2, 6, 8), bool)  # a diagonal of 10 pixels: within one pixel
    truth[2:4, 2:4] = predicted[2:4, 2:7] = True
    # An outline lies half a pixel towards the origin: rows and columns 1 to 3, without the pixel inside.
    assert np.argwhere(outline(truth)).tolist() == [[1, 1], [1, 2], [1, 3], [2, 1], [2, 3], [3, 1], [3, 2], [3, 3]]
    # The predicted one has columns 1 to 6: 14 pixels, of which those of columns 5 and 6 are too far off, 5 of them.
    precision, recall = 9 / 14, 1
    assert f_score(truth, predicted) == pytest.approx(2 * precision * recall / (precision + recall))


def test_a_class_that_fills_the_image_and_is_missed_scores_nothing():
    everywhere = np.ones((6, 8), bool)
    assert f_score(everywhere, everywhere) == 1
    assert f_score(everywhere, ~everywhere) == f_score(~everywhere, everywhere) == 0


def test_near_is_within_a_disc():
    random = np.random.default_rng(0)
    truth, predicted = (
        cv2.resize(random.integers(0, 2, (6, 8)).astype(np.uint8), (64, 48), interpolation=0) > 0 for _ in range(2)
    )
    reach = np.hypot(*np.mgrid[-3:4, -3:4]) <= 3
    near = [cv2.dilate(outline(one).astype(np.uint8), reach.astype(np.uint8)) > 0 for one in (truth, predicted)]
    precision, recall = near[0][outline(predicted)].mean(), near[1][outline(truth)].mean()
    expected = 2 * precision * recall / (precision + recall)
    assert f_score(truth, predicted, tolerance=2.5 / 80) == pytest.approx(expected, abs=1e-12)


def test_classes_images_and_ignored_pixels():
    target = np.zeros((2, 40, 60), np.uint8)
    target[:, 10:30, 10:30] = 1
    seen = target.copy()
    seen[1][target[1] == 1] = 0  # missed in the second image
    target[:, :, 50:] = 255
    seen[:, :, 50:] = 2
    evaluator = BoundaryF(("ground", "thing", "never"))
    evaluator.update(torch.zeros(0), torch.from_numpy(target), Prediction(torch.from_numpy(seen)))
    evaluator.reduce()
    result = evaluator.result()
    assert result["f"]["thing"] == 0.5 and np.isnan(result["f"]["never"])
    assert result["mean"] == pytest.approx((result["f"]["thing"] + result["f"]["ground"]) / 2)
