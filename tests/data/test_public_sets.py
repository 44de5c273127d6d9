"""Public data sets by name: tiny trees in their official layouts, and their lists of classes."""

import json
import subprocess
import sys

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import name2label
from exports import zipped
from support import photo, write

from segdla.config import parse
from segdla.data.ade20k import ade20k
from segdla.data.annotations.pascal_voc import voc_color
from segdla.data.bdd100k import bdd100k
from segdla.data.coco_stuff import coco_stuff
from segdla.data.from_config import every_split, open_split
from segdla.data.kitti import kitti
from segdla.data.mapillary import mapillary
from segdla.data.voc2012 import voc2012
from segdla.errors import UserError


def fill(root, images, masks, ids, names=("a", "b"), suffix=".jpg"):
    """Write images of 6x8 pixels, and masks whose rows have the ids in turn."""
    for name in names:
        write(root / images / f"{name}{suffix}", photo(6, 8))
        rows = np.array([ids[i % len(ids)] for i in range(6)], np.uint8)
        write(root / masks / f"{name}.png", np.repeat(rows[:, None], 8, 1))
    return root


def rows(source, index=0):
    return source.read(index)[1][:, 0].tolist()


def by_name(source, label):
    return source.classes.names.index(label)


def test_ade20k_shifts_its_ids_by_one_and_ignores_other(tmp_path):
    for split in ("training", "validation"):
        fill(tmp_path, f"images/{split}", f"annotations/{split}", [0, 1, 150])
    source = ade20k(tmp_path, "train")
    assert rows(source)[:3] == [255, 0, 149] and len(source) == len(ade20k(tmp_path, "val")) == 2
    classes = source.classes
    assert len(classes) == len(set(classes.names)) == 150
    listed = {1: "wall", 2: "building", 7: "road", 13: "person", 21: "car", 90: "television", 150: "flag"}
    assert {i: classes.names[i - 1] for i in listed} == listed
    assert [classes.palette[i] for i in (0, 2, 149)] == [(120, 120, 120), (6, 230, 230), (92, 0, 255)]


def test_ade20k_in_the_archive_as_downloaded(tmp_path):
    root = fill(tmp_path / "set", "ADE/images/validation", "ADE/annotations/validation", [1, 3])
    path = zipped(root, tmp_path / "ADE.zip")
    assert rows(ade20k(path / "ADE", "val"))[:2] == [0, 2]
    config = parse({"data": {"dataset": "ade20k", "root": str(path / "ADE")}})
    assert len(open_split(config, "val")) == 2
    assert isinstance(every_split(config)["train"], UserError) and "test" not in every_split(config)


def test_coco_stuff_stores_label_ids_less_one(tmp_path):
    fill(tmp_path, "images/val2017", "annotations/val2017", [0, 12, 91, 181, 255])
    source = coco_stuff(tmp_path, "val")
    names = source.classes.names
    assert len(names) == len(set(names)) == 171 and names[80] == "banner"
    assert {"desk-stuff", "mirror-stuff", "solid-other"} <= {*names} and not any("- " in name for name in names)
    # 12 is stop sign, since street sign, 12 among the label ids, has no pixel; 91 is banner.
    assert rows(source)[:5] == [0, by_name(source, "stop sign"), 80, 170, 255]
    assert [by_name(source, one) for one in ("person", "toothbrush", "wood")] == [0, 79, 170]
    fill(tmp_path, "images/train2017", "annotations/train2017", [11])
    with pytest.raises(UserError, match="label id 11"):
        coco_stuff(tmp_path, "train").read(0)


def test_bdd100k_has_cityscapes_train_ids(tmp_path):
    fill(tmp_path, "images/10k/train", "labels/sem_seg/masks/train", [0, 13, 18, 255])
    source = bdd100k(tmp_path, "train")
    assert rows(source)[:4] == [0, 13, 18, 255]
    assert all(name2label[name].trainId == i for i, name in enumerate(source.classes.names))


def test_kitti_has_cityscapes_label_ids_and_every_fifth_image_to_validate(tmp_path):
    names = [f"{i:06d}_10" for i in range(12)]
    fill(tmp_path, "training/image_2", "training/semantic", [7, 26, 4], names, ".png")
    train, val = kitti(tmp_path, "train"), kitti(tmp_path, "val")
    assert rows(val)[:3] == [0, 13, 255]
    assert [val.name(i) for i in range(len(val))] == ["000004_10", "000009_10"] and len(train) == 10


def test_mapillary_takes_classes_from_its_own_config(tmp_path):
    labels = [
        {"name": "animal--bird", "readable": "Bird", "color": [165, 42, 42], "evaluate": True},
        {"name": "void--x", "readable": "Car Mount", "color": [1, 1, 1], "evaluate": False},
        {"name": "object--car", "readable": "Car", "color": [0, 0, 142], "evaluate": True},
        {"name": "marking--a", "readable": "Line", "color": [2, 2, 2], "evaluate": True},
        {"name": "marking--b", "readable": "Line", "color": [3, 3, 3], "evaluate": True},
    ]
    fill(tmp_path, "training/images", "training/v2.0/labels", [0, 1, 2, 3])
    (tmp_path / "config_v2.0.json").write_text(json.dumps({"labels": labels}), encoding="utf-8")
    source = mapillary(tmp_path, "train", "v2.0")
    assert rows(source)[:4] == [0, 255, 1, 2]
    assert source.classes.names == ("Bird", "Car", "marking--a", "marking--b")
    assert source.classes.palette[1] == (0, 0, 142) and source.classes.protocol == "Mapillary Vistas v2.0, 4 classes"
    with pytest.raises(UserError, match=r"no folder .*v1.2/labels \(of data.root\); unpack Mapillary Vistas"):
        mapillary(tmp_path, "train")
    del labels[4]["name"]
    for damaged in (labels, [{"readable": "Bird"}]):
        (tmp_path / "config_v2.0.json").write_text(json.dumps({"labels": damaged}), encoding="utf-8")
        with pytest.raises(UserError, match=r"config_v2.0.json is not the list of labels that comes with the set"):
            mapillary(tmp_path, "train", "v2.0")


@pytest.fixture
def voc(tmp_path):
    """VOC with two images to train on and one to validate on, and SBD with all of these and one more."""
    from scipy.io import savemat

    root, sbd = tmp_path / "VOC2012", tmp_path / "sbd"
    fill(root, "JPEGImages", "SegmentationClass", [0, 15, 255], ("a", "b", "v"))
    write(root / "JPEGImages" / "s.jpg", photo(6, 8))
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    for split, names in (("train", "a\nb\n"), ("val", "v\n")):
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(names, encoding="utf-8")
    (sbd / "cls").mkdir(parents=True)
    for split, names in (("train", "a\nv\n"), ("val", "s\n")):
        (sbd / f"{split}.txt").write_text(names, encoding="utf-8")
    for name in "avs":
        ids = np.full((6, 8), 20, np.uint8)
        savemat(sbd / "cls" / f"{name}.mat", {"GTcls": {"Segmentation": ids, "Boundaries": np.zeros(3)}})
    return root, sbd


def test_voc_2012(voc):
    source = voc2012(voc[0], "train")
    assert len(source) == 2 and rows(source)[:3] == [0, 15, 255]
    assert source.classes.names[15] == "person" and source.classes.palette[15] == voc_color(15) == (192, 128, 128)


def test_sbd_adds_to_the_training_images_what_is_not_in_val(voc):
    root, sbd = voc
    source = voc2012(root, "train", sbd)
    assert [source.name(i) for i in range(len(source))] == ["a", "b", "s"]
    assert rows(source)[:3] == [0, 15, 255]  # VOC's own masks come first
    assert set(rows(source, 2)) == {20}
    assert len(voc2012(root, "val", sbd)) == 1 and source.classes.protocol != voc2012(root, "val").classes.protocol
    (sbd / "cls" / "s.mat").unlink()
    remedy = "download benchmark.tgz of SBD, and name the folder benchmark_RELEASE/dataset in it (data.sbd)"
    assert voc2012(root, "train", sbd).problems[0].endswith(f"s.mat; {remedy}")


def test_masks_of_sbd_that_are_damaged(voc):
    from scipy.io import savemat

    root, sbd = voc
    path = sbd / "cls" / "s.mat"
    savemat(path, {"GTcls": {"Segmentation": np.arange(48, dtype=np.uint8)}}, do_compression=True)
    damaged = bytearray(path.read_bytes())
    damaged[160] ^= 255
    of_hdf5 = b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(512)
    for content in (b"MATLAB 5.0 and no more", bytes(damaged), of_hdf5):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"s.mat is no mask of SBD that can be read"):
            voc2012(root, "train", sbd).read(2)


OPENERS = {"ade20k": ade20k, "bdd100k": bdd100k, "coco_stuff": coco_stuff, "kitti": kitti, "mapillary": mapillary}
OPENERS["voc2012"] = voc2012


@pytest.mark.parametrize("name", OPENERS)
def test_what_is_missing_is_named_with_what_to_download(tmp_path, name):
    for split in ("train", "val"):
        with pytest.raises(UserError, match=r"no folder .* \(of data.root\); (download|unpack) ") as error:
            OPENERS[name](tmp_path, split)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="test images are not public"):
        OPENERS[name](tmp_path, "test")
    assert open_split.__name__ and parse({"data": {"dataset": name, "root": str(tmp_path)}}).data.dataset == name


def test_scipy_is_imported_for_sbd_alone():
    code = "import sys, segdla.data.voc2012; sys.exit('scipy.io' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
