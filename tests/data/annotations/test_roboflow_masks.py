import numpy as np
import pytest
from exports import SIZE, targets, write_images, write_text, zipped
from support import write

from segdla.data.annotations import annotations, recognise
from segdla.errors import UserError

IDS = np.zeros(SIZE, np.uint8)
IDS[1:4, 1:5], IDS[5] = 2, 1


@pytest.fixture
def export(tmp_path):
    for folder, name in (("train", "a_jpg.rf.c81e"), ("valid", "b_jpg.rf.eccb")):
        write_images(tmp_path / "seg" / folder, f"{name}.jpg")
        write(tmp_path / "seg" / folder / f"{name}_mask.png", IDS)
        write_text(tmp_path / "seg" / folder / "_classes.csv", "Pixel Value, Class\n0, background\n1, person\n2, car\n")
    return tmp_path / "seg"


def test_masks_by_their_list_of_classes(export, tmp_path):
    for labels in (export, zipped(export, tmp_path / "seg.zip")):
        assert recognise(labels) == "roboflow"
        found = targets(labels, "roboflow", subset="val")
        np.testing.assert_array_equal(found["b_jpg.rf.eccb"], np.array([0, 2, 1])[IDS])
        assert list(targets(labels, "roboflow", subset="train")) == ["a_jpg.rf.c81e"]


def test_lists_that_are_none_or_differ_and_masks_alone(export):
    (export / "train" / "a_jpg.rf.c81e.jpg").unlink()
    problems = annotations(export, "roboflow", ("background", "car")).problems
    assert len(problems) == 1 and "a_jpg.rf.c81e_mask.png: no image" in problems[0]
    write_text(export / "valid" / "_classes.csv", "Pixel Value, Class\n0, background\n1, car\n")
    with pytest.raises(UserError, match="list different classes"):
        annotations(export, "roboflow", ("background", "car"))
    write_text(export / "valid" / "_classes.csv", "filename, background, car\nb.jpg, 1, 0\n")
    with pytest.raises(UserError, match="is not a list of ids and classes"):
        annotations(export, "roboflow", ("background", "car"))
