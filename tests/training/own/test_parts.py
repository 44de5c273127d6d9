import numpy as np
import pytest
from tiny_run import small_network

from segdla.data.source import Classes, Source
from segdla.errors import UserError
from segdla.training.own.parts import own_data, require_fitting

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


class Blank(Source):
    """Images of one class, as many as are asked for, from whatever ``read`` is given."""

    def __init__(self, count=3, names=("a", "b"), image=None, target=None, problems=()):
        self.classes = Classes(names, (BLACK, WHITE))
        self.count = count
        self.image = np.zeros((4, 6, 3), np.uint8) if image is None else image
        self.target_ids = np.zeros((4, 6), np.uint8) if target is None else target
        self.problems = problems

    def __len__(self):
        return self.count

    def name(self, index):
        return f"blank {index}"

    def read(self, index):
        return self.image, self.target_ids

    def joined(self, other):
        return Blank(self.count + other.count)


def test_splits_are_taken_as_they_are():
    training, validation = Blank(), Blank()
    data = own_data({"train": training, "val": validation}, trains_on_val=False)
    assert data.training is training and data.validation is validation
    joined = own_data({"train": training, "val": validation}, trains_on_val=True)
    assert len(joined.training) == 6 and joined.validation is validation


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"val": Blank()}, r"source has no 'train'; give a Source for each of 'train' and 'val'"),
        ({"train": Blank(), "val": Blank(0)}, r"source\['val'\] is empty"),
        ({"train": Blank(problems=["a.png has no mask"]), "val": Blank()}, r"^a\.png has no mask$"),
        ({"train": Blank(), "val": Blank(names=("a", "c"))}, r"classes \['a', 'b'\] and source\['val'\] \['a', 'c'\]"),
        (
            {"train": Blank(image=np.zeros((4, 6, 3))), "val": Blank()},
            r"blank 0 of source\['train'\] is an image float64 \(4, 6, 3\) with a target uint8 \(4, 6\); give uint8",
        ),
        (
            {"train": Blank(), "val": Blank(target=np.zeros((4, 5), np.uint8))},
            r"blank 0 of source\['val'\] is an image uint8 \(4, 6, 3\) with a target uint8 \(4, 5\)",
        ),
        (
            {"train": Blank(target=np.array([[0, 1, 255, 2]], np.uint8), image=np.zeros((1, 4, 3), np.uint8))},
            r"has the train id 2 in its target; 2 classes have the ids 0 to 1, and 255 is ignored",
        ),
    ],
    ids=["missing", "empty", "problem", "classes", "dtype", "size", "id"],
)
def test_sources_that_do_not_fit_are_answered(source, message):
    with pytest.raises(UserError, match=message):
        own_data(source, trains_on_val=False)


def test_a_network_has_the_logits_that_the_data_take():
    require_fitting(small_network(2), 2)
    with pytest.raises(UserError, match=r"model gives 3 logits and the data take 2: build it with num_classes=2"):
        require_fitting(small_network(3), 2)
