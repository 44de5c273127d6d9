import math

import numpy as np
import pytest
import torch

from segdla.data.scenes import Scenes
from segdla.data.source import Classes
from segdla.errors import UserError
from segdla.training.weigh_classes import weigh_classes

SCENES = Scenes("train", 3, (32, 48))


class PartlyUnreadable(Scenes):
    def target(self, index):
        if index == 1:
            raise UserError("the second can't be read")
        return super().target(index)


def test_weights_are_as_given():
    assert weigh_classes(None, SCENES, may_skip=False) is None
    assert weigh_classes((0.5,) * 9, SCENES, may_skip=False) == (0.5,) * 9


def test_class_weights_must_fit():
    with pytest.raises(UserError, match="2 numbers for 9 classes"):
        weigh_classes((1, 2), SCENES, may_skip=False)


@pytest.mark.parametrize("setting", [(1.0,) * 3, "enet"])
def test_classes_that_overlap_have_no_weights(setting):
    source = Scenes("train", 3, (32, 48))
    source.classes = Classes(("a", "b", "c"), ((0, 0, 0),) * 3, overlapping=True)
    assert weigh_classes(None, source, may_skip=False) is None
    with pytest.raises(UserError, match=r"loss.class_weights is for classes of which each pixel has one"):
        weigh_classes(setting, source, may_skip=False)


def test_class_weights_are_counted_in_the_masks(capsys):
    weights = weigh_classes("enet", SCENES, may_skip=False)
    pixels = torch.bincount(torch.cat([torch.from_numpy(SCENES.read(i)[1]).flatten() for i in range(3)]).long())
    road = pixels[2].item() / pixels[:9].sum().item()
    assert weights[2] == pytest.approx(1 / math.log(1.02 + road))
    assert "class weights (enet): " in (printed := capsys.readouterr().out) and "road" in printed


def test_masks_that_cannot_be_read_are_left_out_by_choice(capsys):
    source = PartlyUnreadable("train", 3, (32, 48))
    with pytest.raises(UserError, match="the second can't be read"):
        weigh_classes("median_frequency", source, may_skip=False)
    assert np.isfinite(weigh_classes("median_frequency", source, may_skip=True)).all()
    printed = capsys.readouterr().out
    assert printed.index("left out: the second can't be read") < printed.index("class weights (median_frequency)")
