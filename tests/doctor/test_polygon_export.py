"""Label errors written for labelling tools, and read again by the readers of the package."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from support import photo, write

from segdla.data.source import Classes, Source
from segdla.doctor.from_config import open_labels
from segdla.doctor.label_errors import SuspectRegion, packed
from segdla.doctor.label_ranking import CheckedImage, LabelErrors
from segdla.doctor.polygon_export import TOOLS, PolygonExport
from segdla.errors import UserError
from segdla.media.kinds import POLYGONS

CLASSES = Classes(("sky", "road", "car"), ((0, 0, 0), (200, 0, 0), (0, 0, 250)))
RING = np.array([[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]], bool)
BLOCK = np.ones((5, 3), bool)


class Photos(Source):
    classes = CLASSES

    def __init__(self, folder, names):
        self.folder, self.names = folder, names

    def __len__(self):
        return len(self.names)

    def name(self, index):
        return self.names[index]

    def image_path(self, index):
        return self.folder / f"{self.names[index]}.png"

    def read(self, index):
        raise AssertionError("polygons need no pixels of images")


def region(mask, left, top, given, suggested, score):
    box = left, top, mask.shape[1], mask.shape[0]
    return SuspectRegion(box, given, suggested, int(mask.sum()), 0.75, 0.125, score, packed(mask))


@pytest.fixture
def sources(tmp_path):
    for seed, name in enumerate(("train/a", "val/a", "val/b")):
        write(tmp_path / "photos" / f"{name}.png", photo(12, 20, seed))
    folders = {split: tmp_path / "photos" / split for split in ("train", "val")}
    return {"train": Photos(folders["train"], ["a"]), "val": Photos(folders["val"], ["a", "b"])}


@pytest.fixture
def errors():
    """Two images of one name with regions, and one without."""
    found = LabelErrors(CLASSES)
    facts = {"files": (), "size": (12, 20), "agreement": 0.5}
    one = [region(RING, 2, 1, 0, 1, 9.0), region(BLOCK, 8, 2, 2, 1, 8.0), region(BLOCK, 17, 7, 0, 2, 7.123456)]
    found.add(CheckedImage("val", 1, "b", score=0.0, **facts), [])
    found.add(CheckedImage("val", 0, "a", score=3.0, **facts), [region(BLOCK, 0, 0, 1, 0, 3.0)])
    found.add(CheckedImage("train", 0, "a", score=12.0, **facts), one)
    return found


def expected():
    """The labels of both images, by name: what regions look like, and ignored elsewhere."""
    train, val = np.full((2, 12, 20), 255, np.uint8)
    train[1:4, 2:6][RING], train[2:7, 8:11], train[7:12, 17:20], val[0:5, 0:3] = 1, 1, 2, 0
    return {"train/a": train, "val/a": val}


def places(tmp_path):
    files = {"coco": tmp_path / "issues.json", "cvat": tmp_path / "issues.xml"}
    return [(to, tmp_path / f"{to}_folder", to) for to in TOOLS] + [(to, path, None) for to, path in files.items()]


@pytest.mark.parametrize("number", range(6))
def test_regions_are_read_as_they_were_found(tmp_path, sources, errors, number):
    _, path, to = places(tmp_path)[number]
    PolygonExport(path, to).write(errors, sources)
    found = {}
    for split, source in open_labels(path, tmp_path / "photos", unlabelled="ignored").splits.items():
        assert source.classes.names == CLASSES.names
        for index in range(len(source)):  # some formats are split by the folders of images
            name = source.name(index)
            found[name if "/" in name else f"{split}/{name}"] = source.target(index)
    assert found.keys() == expected().keys()
    for name, target in expected().items():
        np.testing.assert_array_equal(found[name], target)


def test_the_words_are_those_of_predictions():
    assert set(TOOLS) == set(POLYGONS)


def test_each_polygon_says_what_it_is_labelled_as_and_its_score(tmp_path, sources, errors):
    for to, path, given in places(tmp_path):
        PolygonExport(path, given).write(errors, sources)
        if to == "coco":
            file = path if path.is_file() else path / "annotations" / "instances_default.json"
            values = json.loads(file.read_text(encoding="utf-8"))
            assert [image["file_name"] for image in values["images"]] == ["train/a.png", "val/a.png"]
            said = {(one["category_id"] - 1, *one["attributes"].values()) for one in values["annotations"]}
        elif to == "cvat":
            root = ET.parse(path if path.is_file() else path / "annotations.xml").getroot()
            known = [one.text for one in root.findall("./meta/task/labels/label[1]/attributes/attribute/name")]
            assert known == ["labelled_as", "score"]
            said = {
                (CLASSES.names.index(one.get("label")), one[0].text, float(one[1].text)) for one in root.iter("polygon")
            }
        elif to == "labelme":
            shapes = json.loads((path / "train" / "a.json").read_text(encoding="utf-8"))["shapes"]
            words = {shape["description"] for shape in shapes}
            assert words == {
                "labelled_as: sky, score: 9.0",
                "labelled_as: car, score: 8.0",
                "labelled_as: sky, score: 7.1235",
            }
            continue
        else:
            continue
        assert said == {(1, "sky", 9.0), (1, "car", 8.0), (2, "sky", 7.1235), (0, "road", 3.0)}


def test_a_place_that_does_not_fit_is_answered(tmp_path):
    (tmp_path / "there.json").write_text("mine", encoding="utf-8")
    for name, to, words in (
        (
            "issues",
            None,
            r"tells no format: name a file .json \(COCO\) or .xml \(CVAT\), or a folder with --to coco, yolo",
        ),
        ("issues.json", "yolo", "would be a file of coco; for --to yolo name a folder"),
        ("issues", "voc", "'voc' is no format of polygons; choose one of coco, yolo, labelme, cvat"),
        ("there.json", None, "exists; choose another --export"),
    ):
        with pytest.raises(UserError, match=words):
            PolygonExport(tmp_path / name, to)
