import copy

import numpy as np
import pytest
from exports import SIZE, targets, write_images, write_json, zipped
from PIL import Image

from segdla.data.annotations import annotations, recognise
from segdla.errors import UserError

NAMES = ("person", "sky")
LARGE = 7 + 256 * 3 + 65536 * 2  # an id that takes all three channels
IDS = np.zeros(SIZE, np.int64)
IDS[:2], IDS[2:4, :4], IDS[2:4, 4:], IDS[4] = 1, LARGE, 256, 300
EXPECTED = np.full(SIZE, 255)
EXPECTED[:2], EXPECTED[2:4] = 1, 0  # sky, and two persons; a crowd in row 4, no segment in row 5
CONTENT = {
    "images": [{"id": 7, "file_name": "a.png", "height": 6, "width": 8}],
    "categories": [
        {"id": 1, "name": "person", "isthing": 1, "color": [220, 20, 60]},
        {"id": 187, "name": "sky", "isthing": 0, "color": [70, 130, 180]},
    ],
    "annotations": [
        {
            "image_id": 7,
            "file_name": "a.png",
            "segments_info": [
                {"id": 1, "category_id": 187, "iscrowd": 0},
                {"id": LARGE, "category_id": 1, "iscrowd": 0},
                {"id": 256, "category_id": 1, "iscrowd": 0},
                {"id": 300, "category_id": 1, "iscrowd": 1},
            ],
        }
    ],
}


def save_png(path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.stack([ids & 255, ids >> 8 & 255, ids >> 16], 2).astype(np.uint8)).save(path)


@pytest.fixture
def export(tmp_path):
    """COCO's own layout, with images that are named like their PNGs; and the content to change."""
    root, content = tmp_path / "coco", copy.deepcopy(CONTENT)
    write_images(root / "val2017", "a.png")
    save_png(root / "annotations" / "panoptic_val2017" / "a.png", IDS)

    def save():
        write_json(root / "annotations" / "panoptic_val2017.json", content)
        return root

    return content, save


def test_things_and_stuff_a_crowd_and_no_segment(export, tmp_path):
    folder = export[1]()
    for labels in (folder, zipped(folder, tmp_path / "coco.zip")):
        assert recognise(labels) == "coco_panoptic"
        found = targets(labels, "coco_panoptic", NAMES, background=None, subset="val")
        np.testing.assert_array_equal(found["a"], EXPECTED)
    one_file = folder / "annotations" / "panoptic_val2017.json"
    found = targets(one_file, "coco_panoptic", NAMES, background=None, images=folder / "val2017")
    np.testing.assert_array_equal(found["a"], EXPECTED)
    source = annotations(folder, "coco_panoptic", NAMES)
    assert source.classes.palette == ((220, 20, 60), (70, 130, 180))
    assert [path.name for path in source.inputs(0)] == ["a.png", "a.png", "panoptic_val2017.json"]


def test_ids_against_panopticapi(export):
    utils = pytest.importorskip("panopticapi.utils")
    path = export[1]() / "annotations" / "panoptic_val2017" / "a.png"
    ids = utils.rgb2id(np.array(Image.open(path)))
    np.testing.assert_array_equal(ids, IDS)
    np.testing.assert_array_equal(utils.id2rgb(IDS), np.array(Image.open(path)))


def test_what_is_around_things_is_background_if_there_is_no_stuff(export):
    content, save = export
    content["categories"][1]["isthing"] = 1
    found = targets(save(), "coco_panoptic", (*NAMES, "rest"), background="rest")["a"]
    assert (found[5] == 2).all() and (found[4] == 255).all()
    assert (targets(save(), "coco_panoptic", NAMES, background=None)["a"][5] == 255).all()


def test_masks_in_a_folder_of_another_name_are_found_by_their_ids(export):
    folder = export[1]()
    (folder / "annotations" / "panoptic_val2017").rename(folder / "pngs")
    np.testing.assert_array_equal(targets(folder, "coco_panoptic", NAMES, background=None)["a"], EXPECTED)
    save_png(folder / "more" / "a.png", IDS)
    with pytest.raises(UserError, match=r"may be anywhere .*unpack panoptic_val2017.zip there"):
        annotations(folder, "coco_panoptic", NAMES)


def test_a_file_of_both_kinds_of_labels_has_to_be_chosen(export):
    folder = export[1]()
    instances = {"image_id": 7, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 4]]}
    write_json(folder / "annotations" / "instances_val2017.json", CONTENT | {"annotations": [instances]})
    with pytest.raises(UserError, match="may be coco or coco_panoptic; say which: --format coco"):
        recognise(folder)


def test_faults_are_one_line_each(export):
    content, save = export
    segments = content["annotations"][0]["segments_info"]
    segments[1]["id"] = LARGE - 1
    source = annotations(save(), "coco_panoptic", NAMES)
    with pytest.raises(UserError, match=rf"a.png holds the id {LARGE} \(8 pixels\), which is no segment's of .*\[0\]"):
        source.read(0)
    segments[1]["id"] = 1 << 40
    with pytest.raises(UserError, match=r"segments_info\[1\].id is 1099511627776, not an id that a colour can hold"):
        annotations(save(), "coco_panoptic", NAMES).read(0)
    segments[1]["id"] = LARGE
    segments[1]["category_id"] = 2
    with pytest.raises(UserError, match=r"segments_info\[1\].category_id is 2, which is none of the categories"):
        annotations(save(), "coco_panoptic", NAMES).read(0)
    content["annotations"].append({"image_id": 8, "file_name": "b.png", "segments_info": []})
    content["annotations"].append({"image_id": 7, "file_name": "b.png", "segments_info": []})
    problems = annotations(save(), "coco_panoptic", NAMES).problems
    assert "is of image 8, which is none of the images" in problems[0] and "no mask" in problems[1]
