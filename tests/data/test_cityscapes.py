import numpy as np
import pytest
from cityscapesscripts.helpers.labels import name2label
from conftest import write

from segdla.data.cityscapes import cityscapes
from segdla.errors import UserError

# Seven ids of labelIds.png, as the authors of the data set number them: road, car, bicycle, bus; static, caravan, rail
# track are not evaluated.
LABEL_IDS, TRAIN_IDS = [7, 26, 33, 28, 4, 29, 10], [0, 13, 18, 15, 255, 255, 255]


@pytest.fixture
def root(tmp_path):
    for city, frame in (("ulm", "000001"), ("aachen", "000000"), ("aachen", "000002")):
        stem = f"{city}_000000_{frame}"
        write(tmp_path / "leftImg8bit" / "val" / city / f"{stem}_leftImg8bit.png", np.zeros((2, 7, 3)))
        mask = np.array([LABEL_IDS] * 2, np.uint8)
        write(tmp_path / "gtFine" / "val" / city / f"{stem}_gtFine_labelIds.png", mask)
    return tmp_path


def test_label_ids_become_train_ids(root):
    source = cityscapes(root, "val")
    assert [source.name(i).split("_leftImg8bit")[0] for i in range(3)] == [
        "aachen_000000_000000",
        "aachen_000000_000002",
        "ulm_000000_000001",
    ]
    np.testing.assert_array_equal(source.read(0)[1], [TRAIN_IDS] * 2)


def test_nineteen_classes_in_the_order_of_their_train_ids(root):
    classes = cityscapes(root, "val").classes
    assert len(classes) == 19
    for train_id, (name, color) in enumerate(zip(classes.names, classes.palette, strict=True)):
        assert name2label[name].trainId == train_id
        assert name2label[name].color == color


def test_train_ids_where_only_those_are(root):
    for path in root.rglob("*_labelIds.png"):
        write(path.with_name(path.name.replace("labelIds", "labelTrainIds")), np.array([TRAIN_IDS] * 2, np.uint8))
        path.unlink()
    np.testing.assert_array_equal(cityscapes(root, "val").read(2)[1], [TRAIN_IDS] * 2)


def test_root_from_the_environment(root, monkeypatch):
    monkeypatch.setenv("CITYSCAPES_DATASET", str(root))
    assert len(cityscapes(None, "val")) == 3
    monkeypatch.delenv("CITYSCAPES_DATASET")
    with pytest.raises(UserError, match="CITYSCAPES_DATASET"):
        cityscapes(None, "val")


def test_missing_parts_are_named_with_what_to_download(root):
    with pytest.raises(UserError, match=r"no images .*train.*leftImg8bit_trainvaltest\.zip"):
        cityscapes(root, "train")
    next(root.rglob("ulm*_labelIds.png")).unlink()
    with pytest.raises(UserError, match=r"1 of 3 masks are missing, such as .*ulm_000000_000001_gtFine_labelIds\.png"):
        cityscapes(root, "val")
    for path in root.rglob("*_labelIds.png"):
        path.unlink()
    with pytest.raises(UserError, match=r"no masks .*gtFine_trainvaltest\.zip"):
        cityscapes(root, "val")


def test_ids_that_do_not_exist(root):
    path = next(root.rglob("ulm*_labelIds.png"))
    write(path, np.array([[99] * 7] * 2, np.uint8))
    with pytest.raises(UserError, match=r"ulm.*label id 99 \(14 pixels\)"):
        cityscapes(root, "val").read(2)
