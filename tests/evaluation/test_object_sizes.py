import numpy as np
import pytest
import torch

from segdla.data.source import Classes, Source
from segdla.evaluation.evaluator import Prediction
from segdla.evaluation.object_sizes import ObjectSizes, count_by_size


def scene():
    """A car of 20x20 and a car of 50x50 pixels on a road, in 100x120, and their ids."""
    target, objects = np.zeros((2, 100, 120), np.int32)
    target[10:30, 10:30], objects[10:30, 10:30] = 1, 7
    target[40:90, 60:110], objects[40:90, 60:110] = 1, 9
    return target.astype(np.uint8), objects


def test_hits_misses_and_false_pixels_count_to_a_size():
    target, objects = scene()
    seen = target.copy()
    seen[10:20, 10:30] = 0  # half of the small one is missed
    seen[40:90, 58:60] = 1  # 100 pixels more, at the large one
    seen[2:7, 100:105] = 1  # 25 pixels, alone
    counts = count_by_size(target, seen, objects, 2)
    assert counts[1].tolist() == [[200, 200, 25], [2500, 0, 100], [0, 0, 0]]
    assert counts[0].tolist() == [[0, 0, 0], [0, 0, 200], [0, 0, 0]]  # roads are no objects: 9175 pixels, 200 false


def test_the_result_is_by_size_and_class():
    target, objects = scene()

    class Cars(Source):
        classes = Classes(("road", "car"), ((0, 0, 0), (9, 9, 9)))

        def __len__(self):
            return 2

        def name(self, index):
            return f"image {index}"

        def read(self, index):
            return np.zeros((*target.shape, 3), np.uint8), target

        def objects(self, index):
            return objects if index == 1 else None

    evaluator = ObjectSizes(Cars())
    seen = target.copy()
    seen[10:20, 10:30] = 0
    batch = torch.from_numpy(np.stack([target, target]))
    prediction = Prediction(torch.from_numpy(np.stack([np.zeros_like(seen), seen])), names=("image 0", "image 1"))
    evaluator.update(torch.zeros(0), batch, prediction)
    evaluator.reduce()
    result = evaluator.result()
    assert result["small"] == {"mean": 0.5, "iou": {"car": 0.5}} and result["medium"]["iou"] == {"car": 1.0}
    assert np.isnan(result["large"]["mean"])
    nowhere = torch.zeros(1, 100, 120, dtype=torch.uint8)  # in an image without a car, 400 pixels are called one
    falsely = nowhere.clone()
    falsely[:, 50:70, 10:30] = 1
    evaluator.source.objects = lambda index: np.zeros_like(objects)
    evaluator.update(torch.zeros(0), nowhere, Prediction(falsely, names=("image 1",)))
    assert evaluator.result()["small"]["iou"] == {"car": 200 / (400 + 400)}


def test_crowds_are_left_out_and_an_image_may_have_no_object():
    target, objects = scene()
    assert count_by_size(target, target, np.zeros_like(objects), 2).sum() == 0
    objects[objects == 9] = 0
    assert count_by_size(target, target, objects, 2).sum() == pytest.approx(400)
