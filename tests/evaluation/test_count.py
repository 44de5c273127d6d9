import pytest
import torch
from torch import nn

from segdla.data.loader import Batch
from segdla.evaluation.confusion import ConfusionMatrix
from segdla.evaluation.count import count_batches
from segdla.evaluation.evaluator import Prediction

CPU = torch.device("cpu")


def batches(count):
    """Batches of two images 8x8, dark or light; light pixels are of class 1."""
    result = []
    for index in range(count):
        targets = torch.randint(0, 2, (2, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(index))
        result.append(Batch((targets * 255)[:, None].expand(2, 3, 8, 8), targets, (f"{index}a", f"{index}b")))
    return result


def threshold(images):
    logits = nn.functional.one_hot((images[:, 0] > 127).long(), 2).movedim(-1, 1).float()  # (B,2,H,W)
    return Prediction(logits.argmax(1).to(torch.uint8), logits.softmax(1))


def test_every_pixel_is_counted_once_and_handed_on():
    handed = []
    confusion = ConfusionMatrix(2)
    count_batches(
        lambda images: Prediction(threshold(images).class_ids),
        batches(3),
        [confusion],
        CPU,
        keep=lambda batch, class_ids: handed.append((batch.names, torch.equal(class_ids, batch.targets))),
    )
    assert handed == [((f"{i}a", f"{i}b"), True) for i in range(3)]
    expected = ConfusionMatrix(2)
    for batch in batches(3):
        expected.count(batch.targets, batch.targets)
    assert torch.equal(confusion.matrix, expected.matrix)
    assert confusion.matrix.sum() == 3 * 2 * 64
    assert confusion.result() == expected.matrix.tolist()


class Misses:
    """A metric in ten lines: the share of pixels whose class is not the true one."""

    name, needs_probabilities = "misses", False

    def __init__(self):
        self.counts, self.reduced = torch.zeros(2, dtype=torch.int64), 0

    def update(self, images, targets, prediction):
        assert images.shape[0] == targets.shape[0] and self.reduced == 0
        self.counts += torch.tensor([int((prediction.class_ids != targets).sum()), targets.numel()])

    def reduce(self):
        self.reduced += 1

    def result(self):
        return float(self.counts[0] / self.counts[1])


class Doubt(Misses):
    """The same of probabilities: the mean of what is given to other classes than the true one."""

    name, needs_probabilities = "doubt", True

    def update(self, images, targets, prediction):
        assert prediction.probabilities.shape == (2, 2, 8, 8)
        right = prediction.probabilities.gather(1, targets[:, None].long())
        self.counts = self.counts + torch.tensor([float((1 - right).sum()), targets.numel()])


def test_other_metrics_are_counted_beside_the_confusion_matrix():
    misses, doubt, confusion = Misses(), Doubt(), ConfusionMatrix(2)
    count_batches(lambda images: threshold(255 - images), batches(2), [misses, doubt, confusion], CPU)
    assert misses.result() == 1 and (misses.reduced, doubt.reduced) == (1, 1)
    assert doubt.result() == pytest.approx(1 / (1 + torch.tensor(-1.0).exp().item()))  # the softmax of a gap of 1
    assert confusion.scores(("dark", "light")).mean_iou == 0


def test_probabilities_that_a_metric_needs_are_not_left_out():
    with pytest.raises(AssertionError, match="an evaluator needs probabilities"):
        count_batches(lambda images: Prediction(images[:, 0]), batches(1), [Doubt()], CPU)


def test_metrics_see_the_names_of_images():
    class Names(Misses):
        def update(self, images, targets, prediction):
            seen.append(prediction.names)

    seen = []
    assert count_batches(threshold, batches(2), [Names()], CPU) == ["0a", "0b", "1a", "1b"]
    assert seen == [("0a", "0b"), ("1a", "1b")]


def test_no_batches_are_no_pixels():
    confusion, misses = ConfusionMatrix(2), Misses()
    count_batches(threshold, [], [confusion, misses], CPU, keep=lambda *_: pytest.fail("there is nothing to keep"))
    assert confusion.matrix.sum() == 0 and misses.reduced == 1
