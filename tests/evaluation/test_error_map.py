import pytest
import torch

from segdla.evaluation.error_map import ErrorMap, in_cells
from segdla.evaluation.evaluator import Prediction


def test_errors_are_counted_where_they_lie():
    targets = torch.zeros(2, 4, 6, dtype=torch.uint8)
    targets[:, :2, :3] = 255  # nothing is labelled in the first cell
    class_ids = torch.zeros_like(targets)
    class_ids[:, :2, :3] = 1
    class_ids[0, 3, 5] = class_ids[1, 3, 5] = class_ids[1, 0, 3] = 1
    errors = ErrorMap(2, cells=(2, 2))
    errors.update(None, targets, Prediction(class_ids))
    assert errors.result() == {"labelled": [[0, 12], [12, 12]], "wrong": [[0, 1], [0, 2]]}


@pytest.mark.parametrize("size", [(3, 5), (30, 40), (61, 97)])
def test_each_pixel_is_in_one_cell(size):
    pixels = torch.randint(0, 9, size)
    cells = in_cells(pixels, (30, 40))
    assert cells.shape == (30, 40) and cells.sum() == pixels.sum()
    assert torch.equal(in_cells(pixels.flip(0, 1), (1, 1)), pixels.sum().view(1, 1))
