"""Each format by hand, and by the reader of another."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from segdla.data.label_files.label_writer import LabelWriter
from segdla.data.label_files.labelled import Labelled, Style
from segdla.data.label_files.written_formats import WRITTEN, written_format
from segdla.data.source import Classes
from segdla.errors import UserError

CLASSES = Classes(("background", "car", "road"), ((0, 0, 0), (200, 0, 0), (0, 0, 250)))
IDS = np.zeros((4, 8), np.uint8)
IDS[1:3, 2:6] = 1
IDS[3, 7] = 255


@pytest.fixture
def write(tmp_path):
    """``write(form)`` writes two images, the second of nothing but background, and returns the folder."""

    def written(form, **style):
        writer = LabelWriter(
            WRITTEN[form], tmp_path / form, Style(CLASSES, **({"background": 0, "tolerance": 0} | style))
        )
        writer.write(Labelled("train/a.png", IDS, "train", tmp_path / "photos" / "a.png"))
        writer.write(Labelled("val/b.png", np.zeros((4, 8), np.uint8), "val"))
        writer.finish({"train": ["train/a.png"], "val": ["val/b.png"]})
        return tmp_path / form

    return written


def test_coco_by_hand(write):
    content = json.loads((write("coco") / "annotations" / "instances_train.json").read_text(encoding="utf-8"))
    assert content["images"] == [{"id": 1, "file_name": "train/a.png", "height": 4, "width": 8}]
    assert [(one["id"], one["name"], one["color"]) for one in content["categories"]][1] == (2, "car", [200, 0, 0])
    car, ignored = content["annotations"]
    assert car == {
        "id": 1,
        "image_id": 1,
        "category_id": 2,
        "segmentation": [[2, 1, 6, 1, 6, 3, 2, 3]],
        "area": 8,
        "bbox": [2, 1, 4, 2],
        "iscrowd": 0,
    }
    assert ignored["iscrowd"] == 1 and ignored["area"] == 1 and ignored["bbox"] == [7, 3, 1, 1]
    assert ignored["segmentation"] == {"size": [4, 8], "counts": [31, 1]}  # down the columns, zeros first
    other = json.loads((write("coco") / "annotations" / "instances_val.json").read_text(encoding="utf-8"))
    assert other["annotations"] == [] and len(other["images"]) == 1


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools under NumPy 2
def test_coco_by_its_own_tools(tmp_path):
    mask = pytest.importorskip("pycocotools.mask")
    coco = pytest.importorskip("pycocotools.coco")
    ids = np.random.default_rng(0).integers(0, 3, (20, 30)).astype(np.uint8)
    ids[5:9, 3:20] = 255
    writer = LabelWriter(WRITTEN["coco"], tmp_path, Style(CLASSES, tolerance=0))
    writer.write(Labelled("a.png", ids))
    writer.finish({"": ["a.png"]})
    opened = coco.COCO(tmp_path / "annotations" / "instances_default.json")
    target = np.full_like(ids, 99)
    for one in opened.loadAnns(opened.getAnnIds()):
        assert one["area"] == mask.area(opened.annToRLE(one))
        target[opened.annToMask(one) == 1] = 255 if one["iscrowd"] else one["category_id"] - 1
    np.testing.assert_array_equal(target, ids)


def test_yolo_by_hand(write):
    folder = write("yolo")
    content = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    assert content == {"train": "train.txt", "val": "val.txt", "names": {0: "background", 1: "car", 2: "road"}}
    assert (folder / "train.txt").read_text(encoding="utf-8") == "./images/train/a.png\n"
    assert (folder / "labels" / "train" / "a.txt").read_text(encoding="utf-8") == (
        "1 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n"
    )
    assert (folder / "labels" / "val" / "b.txt").read_text(encoding="utf-8") == ""


def test_labelme_by_hand(write):
    folder = write("labelme")
    content = json.loads((folder / "train" / "a.json").read_text(encoding="utf-8"))
    car, ignored = content.pop("shapes")
    assert car["label"] == "car" and car["points"] == [[2, 1], [6, 1], [6, 3], [2, 3]]
    assert car["shape_type"] == "polygon" and ignored["label"] == "__ignore__"
    assert content.pop("version").startswith("5.")
    assert content == {
        "flags": {},
        "imagePath": "../../photos/a.png",
        "imageData": None,
        "imageHeight": 4,
        "imageWidth": 8,
    }
    assert (folder / "labels.txt").read_text(encoding="utf-8") == "__ignore__\nbackground\ncar\nroad\n"


def test_cvat_by_hand(write):
    root = ET.parse(write("cvat") / "annotations.xml").getroot()
    assert root.tag == "annotations" and root.findtext("version") == "1.1"
    labels = [(one.findtext("name"), one.findtext("color")) for one in root.iterfind("meta/task/labels/label")]
    assert labels[1] == ("car", "#c80000") and labels[-1][0] == "__ignore__"
    first, second = root.iterfind("image")
    assert dict(first.items()) == {"id": "0", "name": "train/a.png", "subset": "train", "width": "8", "height": "4"}
    assert second.get("id") == "1" and len(second) == 0
    assert first[0].get("points") == "2,1;6,1;6,3;2,3" and first[0].get("label") == "car"
    assert first[1].get("label") == "__ignore__"


def test_voc_and_masks_by_hand(write):
    voc = write("voc")
    lines = (voc / "labelmap.txt").read_text(encoding="utf-8").splitlines()
    assert lines[2] == "car:200,0,0::"
    assert lines[-1] == "__ignore__:224,224,192::"  # else other readers know no such colour
    assert (voc / "ImageSets" / "Segmentation" / "val.txt").read_text(encoding="utf-8") == "val/b\n"
    with Image.open(voc / "SegmentationClass" / "train" / "a.png") as mask:
        np.testing.assert_array_equal(np.array(mask), IDS)
        assert mask.convert("RGB").getpixel((7, 3)) == (224, 224, 192)
    masks = write("masks")
    with Image.open(masks / "masks" / "train" / "a.png") as mask:
        np.testing.assert_array_equal(np.array(mask), IDS)
    assert (masks / "class_names.txt").read_text(encoding="utf-8") == "background\ncar\nroad\n"


def test_the_background_is_labelled_on_request(write):
    lines = (write("yolo", background=None) / "labels" / "val" / "b.txt").read_text(encoding="utf-8")
    assert lines == "0 0 0 1 0 1 1 0 1\n"


@pytest.mark.parametrize("form", ["labelme", "cvat", "voc", "masks"])
@pytest.mark.parametrize("name", ["a\nb", "a\x07", " a", ""])
def test_names_of_classes_that_a_format_can_not_hold(form, name):
    with pytest.raises(UserError, match="can't hold the class name") as error:
        WRITTEN[form].require_fit(Classes((name,), ((0, 0, 0),)))
    assert "\n" not in str(error.value)


def test_markup_in_names_is_escaped(tmp_path):
    name = "<b>&\"'é"
    classes = Classes((name, "rest"), ((0, 0, 0), (1, 1, 1)))
    for form in ("cvat", "labelme", "coco", "yolo"):
        WRITTEN[form].require_fit(classes)
        writer = LabelWriter(WRITTEN[form], tmp_path / form, Style(classes))
        writer.write(Labelled(f"{name}.png", np.zeros((2, 3), np.uint8)))
        writer.finish({"": [f"{name}.png"]})
    image = ET.parse(tmp_path / "cvat" / "annotations.xml").getroot().find("image")
    assert image.get("name") == f"{name}.png" and image[0].get("label") == name
    assert yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text(encoding="utf-8"))["names"][0] == name


@pytest.mark.parametrize(("form", "name"), [("cvat", "a\x01.png"), ("yolo", "a\nb.png"), ("voc", "a b.png")])
def test_names_of_images_that_a_format_can_not_hold(form, name, tmp_path):
    writer = LabelWriter(WRITTEN[form], tmp_path, Style(CLASSES))
    with pytest.raises(UserError, match="can't hold the image name"):
        writer.write(Labelled(name, IDS))


def test_classes_of_one_name_and_the_name_of_what_is_ignored():
    with pytest.raises(UserError, match="two classes have the name 'a'"):
        WRITTEN["coco"].require_fit(Classes(("a", "a"), ((0, 0, 0), (1, 1, 1))))
    with pytest.raises(UserError, match="'__ignore__' stands for what is ignored"):
        WRITTEN["cvat"].require_fit(Classes(("__ignore__",), ((0, 0, 0),)))


def test_an_unknown_format_is_answered_by_the_nearest():
    with pytest.raises(UserError, match="'cocco' is no format that is written; did you mean coco"):
        written_format("cocco")


def test_colours_that_are_alike_leave_voc_its_own(tmp_path):
    classes = Classes(("a", "b"), ((9, 9, 9), (9, 9, 9)))
    writer = LabelWriter(WRITTEN["voc"], tmp_path, Style(classes))
    writer.write(Labelled("a.png", np.ones((2, 3), np.uint8)))
    writer.finish({"": ["a.png"]})
    assert (tmp_path / "class_names.txt").read_text(encoding="utf-8") == "a\nb\n"
    assert not Path(tmp_path / "labelmap.txt").exists()
