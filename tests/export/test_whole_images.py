"""Files of networks that label whole images."""

import pytest
import torch

from segdla.checkpoints.checkpoint import Card
from segdla.data.source import Classes
from segdla.errors import UserError
from segdla.export.formats import FORMATS, open_file, write_file
from segdla.export.graph import Graph
from segdla.export.verify import Difference, differences, pictures
from segdla.export.write import Scorer, export
from segdla.inference.head import WholeImage
from segdla.models.dlaseg import DLASeg
from segdla.models.skips import GlobalPool

SIZE = (30, 42)  # no multiples of the network's strides
NUM_CLASSES = 300  # more than a byte counts
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def classifier(network):
    torch.manual_seed(0)
    network = DLASeg(network.backbone, GlobalPool(8), NUM_CLASSES, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).eval()
    network.classifier.bias.data[NUM_CLASSES - 1] += 9  # the last class is the answer
    return network


@pytest.fixture(scope="module")
def its_card():
    names = tuple(f"class {number}" for number in range(NUM_CLASSES))
    return Card({"data": {}}, Classes(names, ((0, 0, 0),) * NUM_CLASSES, whole_images=True))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_gives_the_logits_of_each_image(classifier, its_card, kind, tmp_path, files):
    path = tmp_path / files[kind].name
    write_file(classifier, its_card, path, kind, head=WholeImage(), size=SIZE)
    exported = open_file(path, CPU)
    assert exported.card.classes.whole_images and exported.size == SIZE
    images = torch.cat(pictures((SIZE, SIZE, SIZE)))
    with torch.inference_mode():
        torch.testing.assert_close(exported.logits_of(images), classifier.logits(images))


def test_other_programs_get_the_class_of_each_image(classifier):
    with torch.inference_mode():
        _, prediction = Graph(classifier, WholeImage(), SIZE)(torch.cat(pictures((SIZE, SIZE))))
    assert prediction.dtype == torch.int32 and prediction.tolist() == [[[NUM_CLASSES - 1]]] * 2


def test_one_image_of_another_class_is_too_many(classifier, its_card, tmp_path):
    path = tmp_path / "a.pt2"
    write_file(classifier, its_card, path, "torch", head=WholeImage(), size=SIZE)
    other = open_file(path, CPU)._replace(logits_of=lambda images: -classifier.logits(images))
    (difference,) = differences(classifier, other, pictures((SIZE,)), WholeImage())
    assert difference.share == "1 of 1 image"
    assert not Difference(SIZE, logits=0, largest=1, differing=1, pixels=1).is_small


def test_a_file_that_is_less_often_right_is_not_kept(classifier, its_card, tmp_path):
    scores = iter((0.75, 0.745))
    scorer = Scorer(lambda logits_of, stride: next(scores), 200, "top-1")
    with pytest.raises(UserError, match=r"loses 0\.50 points of top-1 \(75\.00 % to 74\.50 %"):
        export(classifier, its_card, tmp_path / "a.pt2", "torch", scorer=scorer, head=WholeImage(), size=SIZE)
    assert not list(tmp_path.iterdir())
