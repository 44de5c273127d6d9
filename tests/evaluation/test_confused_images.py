import torch

from segdla.evaluation.confused_images import ConfusedImages
from segdla.evaluation.confusion import ConfusionMatrix
from segdla.evaluation.evaluator import Prediction


def batch(pixels, names):
    """Images of class 0, in which so many pixels are called 1."""
    class_ids = torch.zeros(len(pixels), 4, 5, dtype=torch.uint8)
    for image, wrong in zip(class_ids, pixels, strict=True):
        image.view(-1)[:wrong] = 1
    return torch.zeros_like(class_ids), Prediction(class_ids, names=names)


def test_each_cell_has_the_images_that_give_it_most():
    confused = ConfusedImages(3, most=2)
    for targets, prediction in (batch([2, 7], ("a", "b")), batch([7], ("c",)), batch([0, 9], ("d", "e"))):
        confused.update(None, targets, prediction)
    confused.reduce()
    assert confused.images(0, 1) == [("e", 9), ("b", 7)]  # of equal ones, the first
    assert confused.images(0, 0) == [("d", 20), ("a", 18)]
    assert confused.images(1, 2) == []


def test_the_matrix_is_the_confusion_matrix():
    draw = torch.Generator().manual_seed(0)
    confused, confusion = ConfusedImages(3), ConfusionMatrix(3)
    for place in range(4):
        class_ids, targets = torch.randint(0, 5, (2, 1, 9, 8), generator=draw, dtype=torch.uint8)
        prediction = Prediction(class_ids, names=(f"image {place}",))
        for evaluator in (confused, confusion):
            evaluator.update(None, targets, prediction)
    result = confused.result()
    assert result["matrix"] == confusion.result()
    assert sum(count for _, count in result["images"][1][2]) == result["matrix"][1][2]
