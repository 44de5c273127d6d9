import numpy as np
import pytest
from cityscapes_tree import write_tree
from cityscapesscripts.helpers.labels import name2label, trainId2label
from support import write

from segdla.data.cityscapes import LABEL_ID_OF, Cityscapes, cityscapes
from segdla.data.labels import IGNORE_INDEX
from segdla.data.source import UnreadableImageError
from segdla.data.subset import Subset
from segdla.errors import UserError

# Label ids of road, car, bicycle and bus; of static, caravan and rail track, which are not scored.
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
        assert name2label[name].category == classes.categories[train_id]


def test_train_ids_if_there_are_no_label_ids(root):
    for path in root.rglob("*_labelIds.png"):
        write(path.with_name(path.name.replace("labelIds", "labelTrainIds")), np.array([TRAIN_IDS] * 2, np.uint8))
        path.unlink()
    source = cityscapes(root, "val")
    np.testing.assert_array_equal(source.read(2)[1], [TRAIN_IDS] * 2)
    assert source.official_truths() == {}  # the official evaluator reads label ids


def test_the_official_truths_are_the_masks_of_label_ids(root):
    source = cityscapes(root, "val")
    masks = sorted((root / "gtFine").rglob("*_labelIds.png"))
    assert source.official_truths() == {source.name(i): masks[i] for i in range(3)}
    assert Subset(source, [1]).official_truths() == {source.name(1): masks[1]}


def test_root_from_the_environment(root, monkeypatch):
    monkeypatch.setenv("CITYSCAPES_DATASET", str(root))
    assert len(cityscapes(None, "val")) == 3
    monkeypatch.delenv("CITYSCAPES_DATASET")
    with pytest.raises(UserError, match="CITYSCAPES_DATASET"):
        cityscapes(None, "val")


def test_a_root_in_the_home_folder(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root))
    monkeypatch.setenv("CITYSCAPES_DATASET", "~")
    assert len(cityscapes("~", "val")) == len(cityscapes(None, "val")) == 3


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


def test_unknown_ids(root):
    path = next(root.rglob("ulm*_labelIds.png"))
    write(path, np.array([[99] * 7] * 2, np.uint8))
    with pytest.raises(UserError, match=r"ulm.*label id 99 \(14 pixels\)"):
        cityscapes(root, "val").read(2)


def test_label_ids_of_train_ids():
    assert [LABEL_ID_OF[i] for i in range(19)] == [trainId2label[i].id for i in range(19)]
    assert not LABEL_ID_OF[19:].any()  # unlabeled


def test_coarse_images_are_trained_on_too(tmp_path):
    write_tree(tmp_path, train=2, train_extra=3, val=1)
    assert len(cityscapes(tmp_path, "train")) == 2
    source = cityscapes(tmp_path, "train", coarse=True)
    assert len(source) == 5
    assert {0, 2, 13} <= set(np.unique(source.read(4)[1]).tolist())  # road, building, car
    assert len(cityscapes(tmp_path, "val", coarse=True)) == 1


def test_missing_coarse_parts_are_named(tmp_path):
    write_tree(tmp_path, train=2)
    with pytest.raises(UserError, match=r"train_extra.*leftImg8bit_trainextra\.zip and gtCoarse\.zip"):
        cityscapes(tmp_path, "train", coarse=True)


def test_the_test_split_needs_no_truth(tmp_path):
    source = cityscapes(write_tree(tmp_path, test=2), "test")
    image, target = source.read(1)
    assert not source.labelled
    assert image.shape == (40, 56, 3) and (target == IGNORE_INDEX).all()
    np.testing.assert_array_equal(source.target(1), target)
    assert source.official_truths() == {}
    source.files(1)[0].write_bytes(b"")
    with pytest.raises(UnreadableImageError, match="is empty"):
        source.read(1)


def test_train_and_val_are_joined(tmp_path):
    write_tree(tmp_path, train=2, val=1)
    both = cityscapes(tmp_path, "train").joined(cityscapes(tmp_path, "val"))
    assert [both.name(i).partition("/")[0] for i in range(3)] == ["train", "train", "val"]
    assert both.labelled and both.has_server and len(both.official_truths()) == 3


def test_wrong_images_and_masks(tmp_path):
    write_tree(tmp_path, val=4)
    images = sorted((tmp_path / "leftImg8bit").rglob("*.png"))
    masks = sorted((tmp_path / "gtFine").rglob("*_labelIds.png"))
    write(masks[0], np.zeros((20, 56), np.uint8))
    images[1].write_bytes(images[1].read_bytes()[:60])
    write(masks[2], np.zeros((40, 56, 3), np.uint8))
    source = cityscapes(tmp_path, "val")
    for index, message in enumerate(("is 20x56", "cut short", "3-channel, 8-bit")):
        with pytest.raises(UserError, match=message) as error:
            source.read(index)
        assert str(masks[index]) in str(error.value) or str(images[index]) in str(error.value)


def test_objects_are_told_apart_by_the_instance_ids(tmp_path):
    mask = tmp_path / "x_gtFine_labelIds.png"
    write(tmp_path / "x_leftImg8bit.png", np.zeros((1, 3, 3), np.uint8))
    write(mask, np.array([[26, 26, 7]], np.uint8))
    source = Cityscapes([(tmp_path / "x_leftImg8bit.png", mask)])
    assert source.objects(0) is None
    write(tmp_path / "x_gtFine_instanceIds.png", np.array([[26003, 26, 7]], np.uint16))  # a car, a crowd, a road
    assert source.objects(0).tolist() == [[26003, 0, 0]]
