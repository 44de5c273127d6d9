import os
import pickle

import numpy as np
import pytest
from exports import BOX, BOX_PIXELS, write_images, write_json, write_text, zipped

from segdla.config import parse
from segdla.data.annotations import annotations, recognise
from segdla.data.cache import CachedSource
from segdla.data.from_config import cached, open_split
from segdla.errors import UserError

FLAT = [number for corner in BOX for number in corner]


@pytest.fixture
def export(tmp_path):
    """Images a, b and c, of which a has a car."""
    root = tmp_path / "coco"
    write_images(root / "images", "a.png", "b.png", "c.png")
    content = {
        "images": [{"id": i, "file_name": f"{name}.png"} for i, name in enumerate("abc")],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{"image_id": 0, "category_id": 1, "segmentation": [FLAT]}],
    }
    write_json(root / "labels.json", content)
    write_text(root / "train.txt", "a.png\nimages/b.png\n\n")
    write_text(root / "val.txt", "c\n")
    return root


def config(root, **data):
    section = {
        "dataset": "annotations",
        "format": "coco",
        "labels": str(root),
        "classes": ["background", "car"],
        "background": "background",
        "train": {"list": f"{root}/train.txt"},
        "val": {"list": f"{root}/val.txt"},
    }
    return parse({"data": section | data})


def test_lists_in_the_archive_of_the_labels(export, tmp_path):
    packed = zipped(export, tmp_path / "coco.zip")
    assert open_split(config(packed), "train").names == ["a", "b"]


def test_a_configs_splits_by_lists(export):
    train, val = open_split(config(export), "train"), open_split(config(export), "val")
    assert [train.name(i) for i in range(len(train))] == ["a", "b"] and val.name(0) == "c"
    np.testing.assert_array_equal(train.read(0)[1], BOX_PIXELS)
    np.testing.assert_array_equal(train.target(0), BOX_PIXELS)
    assert train.image_size(0) == (6, 8) and train.files(0) == (export / "images" / "a.png",)
    assert len(open_split(config(export, train_on_val=True), "train")) == 3
    with pytest.raises(UserError, match=r"the config has no data.test; add its subset or list"):
        open_split(config(export), "test")


def test_a_list_that_names_others(export):
    write_text(export / "val.txt", "d.png\n")
    with pytest.raises(UserError, match=r"no image 'd.png' in .* \(listed in .*val.txt\)"):
        open_split(config(export), "val")
    write_images(export / "images", "d.png")
    with pytest.raises(UserError, match=r"d.png, listed in .*val.txt, has no labels"):
        open_split(config(export), "val")
    with pytest.raises(UserError, match="cannot read the list"):
        open_split(config(export, val={"list": "nothing.txt"}), "val")


def test_the_cache_notices_other_labels_and_other_rules(export, tmp_path):
    source = open_split(config(export), "train")
    cache = cached(config(export, cache="disk", cache_folder=str(tmp_path / "cache")), source, "train")
    assert isinstance(cache, CachedSource)
    np.testing.assert_array_equal(cache.read(0)[1], BOX_PIXELS)
    assert cache.image_size(0) == (6, 8)
    swapped = open_split(config(export, classes=["car", "background"]), "train")
    np.testing.assert_array_equal(CachedSource(swapped, tmp_path / "cache").read(0)[1], 1 - BOX_PIXELS)
    labels = export / "labels.json"
    labels.write_text(labels.read_text(encoding="utf-8").replace(", 4]", ", 3]"), encoding="utf-8")
    os.utime(labels, (1, 1))
    assert CachedSource(open_split(config(export), "train"), tmp_path / "cache").read(0)[1].sum() < 12


def test_a_cache_of_an_archive(export, tmp_path):
    archive = zipped(export, tmp_path / "coco.zip")
    source = annotations(archive, "coco", ("background", "car"), background="background")
    assert source.files(0) == () and source.inputs(0) == (archive, archive)
    cache = CachedSource(source, tmp_path / "cache")
    assert cache.build() == []
    np.testing.assert_array_equal(cache.read(0)[1], BOX_PIXELS)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(0)[1], BOX_PIXELS)


def test_an_image_that_is_damaged(export):
    (export / "images" / "a.png").write_bytes(b"no image")
    source = open_split(config(export), "train")
    with pytest.raises(UserError, match=r"a.png is not an image"):
        source.read(0)
    with pytest.raises(UserError, match=r"a.png is not an image"):
        source.target(0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"background": "road"}, "background names 'road', which is none of the classes"),
        ({"label_map": {"van": "truck"}}, "label_map names 'truck'"),
        ({"ignore": ["car"]}, "ignore names 'car', which is a class"),
        ({"classes": ["car", "car"]}, "two classes have one name"),
        ({"colors": [[0, 0, 0]]}, "2 classes but 1 colors"),
        ({"classes": ["car"], "background": None}, r"say classes: \[background, car\]"),
        ({"format": "kitti"}, "coco"),
    ],
)
def test_configs_that_contradict_themselves(export, data, message):
    with pytest.raises(UserError, match=message):
        config(export, **data)


def test_files_of_no_format_and_of_two(export, tmp_path):
    write_images(tmp_path / "images", "a.png")
    with pytest.raises(UserError, match=r"images \(1 .png\) holds labels of no format that is known: coco, "):
        recognise(tmp_path / "images")
    (tmp_path / "images" / "a.json").write_text('{"images": [', encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.json holds labels of no .*; .*a\.json is no whole JSON file .*export it"):
        recognise(tmp_path / "images" / "a.json")
    with pytest.raises(UserError, match=r"images \(1 .json, 1 .png\) holds .*; .*a\.json is no whole JSON file"):
        recognise(tmp_path / "images")
    write_json(export / "b.json", {"shapes": [], "imagePath": "b.png"})
    with pytest.raises(UserError, match="may be coco or labelme; say which: --format coco"):
        recognise(export)
