import copy
import json
import re

import numpy as np
import pytest
from exports import BOX, BOX_PIXELS, SIZE, targets, write_images, write_json, zipped

from segdla.data.annotations import annotations, open_export, recognise
from segdla.data.annotations.runs import decode_counts, patch_of_runs
from segdla.errors import UserError

FLAT = [float(number) for corner in BOX for number in corner]
CONTENT = {
    "images": [
        {"id": 7, "file_name": "a.png", "height": 6, "width": 8},
        {"id": 9, "file_name": "b.png", "height": 6, "width": 8},
    ],
    "categories": [{"id": 3, "name": "car", "supercategory": "car"}, {"id": 80, "name": "person"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "segmentation": [FLAT], "iscrowd": 0, "bbox": [1, 1, 4, 3]},
        {"id": 2, "image_id": 7, "category_id": 80, "segmentation": [[2, 2, 4, 2, 4, 3, 2, 3]]},
    ],
}


@pytest.fixture
def export(tmp_path):
    """A folder with annotations/instances_default.json and images/, as CVAT packs it; and the content to change."""
    write_images(tmp_path / "coco" / "images", "a.png", "b.png")
    content = copy.deepcopy(CONTENT)

    def save(name="annotations/instances_default.json"):
        write_json(tmp_path / "coco" / name, content)
        return tmp_path / "coco"

    return content, save


def test_polygons_by_hand_from_a_folder_a_file_and_a_zip(export, tmp_path):
    folder = export[1]()
    expected = BOX_PIXELS.copy()
    expected[2, 2:4] = 2
    archive = zipped(folder, tmp_path / "export.zip")
    for labels, images in [
        (folder, None),
        (archive, None),
        (folder / "annotations" / "instances_default.json", folder / "images"),
        (folder / "annotations" / "instances_default.json", archive),
    ]:
        assert recognise(labels) == "coco"
        found = targets(labels, "coco", images=images)
        np.testing.assert_array_equal(found["a"], expected)
        assert not found["b"].any()  # an image without annotations holds no objects


def test_the_smaller_lies_on_top_unless_the_config_says_last(export):
    content, save = export
    content["annotations"].reverse()
    assert (targets(save(), "coco")["a"] == 2).sum() == 2
    assert (targets(save(), "coco", smaller_on_top=False)["a"] == 2).sum() == 0


def test_masks_of_runs_as_lists_and_as_text(export):
    content, save = export
    # Column by column: 7 zeros to row 1 of column 1, 3 ones, 3 zeros to the next column's row 1, and so on.
    counts = [7, 3, 3, 3, 3, 3, 3, 3, 20]
    for segmentation in ({"size": [6, 8], "counts": counts}, {"size": [6, 8], "counts": "73300000a0"}):
        content["annotations"] = [{"image_id": 7, "category_id": 3, "segmentation": segmentation, "iscrowd": 0}]
        np.testing.assert_array_equal(targets(save(), "coco")["a"], BOX_PIXELS)


def test_the_text_of_runs_against_pycocotools():
    mask_api = pytest.importorskip("pycocotools.mask")
    for seed, (height, width) in enumerate([(1, 1), (5, 7), (40, 30), (300, 400)]):
        rng = np.random.default_rng(seed)
        for share in (0, 0.02, 0.5, 1):
            mask = np.repeat(rng.random((height, width)) < share, 1 + seed, axis=0)
            text = mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode("ascii")
            patch = patch_of_runs(decode_counts(text, "here"), mask.shape, "here", mask.shape)
            decoded = np.zeros(mask.shape, bool)
            decoded[:, patch.left : patch.left + patch.mask.shape[1]] = patch.mask
            np.testing.assert_array_equal(decoded, mask)


def test_a_mask_of_cvat_is_an_object_although_it_is_called_a_crowd(export):
    content, save = export
    runs = [7, 3, 3, 3, 3, 3, 3, 3, 20]  # down the columns: BOX
    mask = {"segmentation": {"size": list(SIZE), "counts": runs}, "iscrowd": 1, "attributes": {"occluded": False}}
    content["annotations"] = [content["annotations"][0] | mask]
    np.testing.assert_array_equal(targets(save(), "coco")["a"], BOX_PIXELS)


def test_a_box_of_a_label_that_is_ignored_lies_below_outlines(export):
    content, save = export
    sign = {"id": 9, "name": "sign"}
    content["categories"].append(sign)
    content["annotations"].append({"image_id": 7, "category_id": 9, "segmentation": [], "bbox": [0, 1, 5, 3]})
    found = targets(save(), "coco", ignore=["sign"])["a"]
    np.testing.assert_array_equal(found[:, 1:] > 0, BOX_PIXELS[:, 1:])
    assert found[:, 0].tolist() == [0, 255, 255, 255, 0, 0]
    refused = (
        r"annotations\[2\] has no outline, only a box.*; or ignore all that are labelled so, data.ignore: \[sign\]"
    )
    with pytest.raises(UserError, match=refused):
        annotations(save(), "coco", ("car", "person", "sign"), background="car").read(0)


def test_a_crowd_is_ignored(export):
    content, save = export
    content["annotations"][0]["iscrowd"] = 1
    target = targets(save(), "coco")["a"]
    assert (target == 255).sum() == 10 and (target == 2).sum() == 2


def test_splits_by_file_and_by_folder(tmp_path):
    for split, file in (("train", "instances_train2017.json"), ("val", "instances_val2017.json")):
        name = f"{split}.png"
        write_images(tmp_path / "coco" / f"{split}2017", name)
        content = CONTENT | {"images": [{"id": 7, "file_name": name}]}
        write_json(tmp_path / "coco" / "annotations" / file, content)
        write_json(tmp_path / "coco" / "annotations" / file.replace("instances", "person_keypoints"), content)
    for split in ("train", "val"):
        assert list(targets(tmp_path / "coco", "coco", subset=split)) == [split]
    with pytest.raises(UserError, match="no image of the subset 'test'; there are train, val"):
        annotations(tmp_path / "coco", "coco", ("a", "b"), subset="test")
    for split, folder in (("train", "train"), ("val", "valid")):  # as Roboflow packs it
        write_images(tmp_path / "roboflow" / folder, f"{split}.png")
        content = CONTENT | {"images": [{"id": 7, "file_name": f"{split}.png"}]}
        content["categories"] = [
            {"id": 0, "name": "things", "supercategory": "none"},
            *({"id": i, "name": n, "supercategory": "things"} for i, n in ((3, "car"), (80, "person"))),
        ]
        write_json(tmp_path / "roboflow" / folder / "_annotations.coco.json", content)
    assert list(targets(tmp_path / "roboflow", "coco", subset="val")) == ["val"]
    assert annotations(tmp_path / "roboflow", "coco", ("car", "person")).rules.ground == ("car", "person")


def wrong(content, change):
    for keys, value in change.items():
        place = content
        *way, last = keys.split(".")
        for key in way:
            place = place[int(key) if key.isdigit() else key]
        place[int(last) if last.isdigit() else last] = value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations.0.segmentation.0": [1, 1, 2, 2]}, r"json: annotations\[0\].segmentation\[0\] has 2 corners"),
        ({"annotations.0.segmentation.0": [1, 1, 2]}, "not a list of x, y, x, y"),
        ({"annotations.0.category_id": 4}, r"category_id is 4, which is none of the categories \(3, 80\)"),
        ({"annotations.0.segmentation": []}, r"annotations\[0\] has no outline, only a box: draw polygons"),
        ({"annotations.0.segmentation": {"size": [8, 6], "counts": [48]}}, "is of 8x6 .* but the image of 6x8"),
        ({"annotations.0.segmentation": {"size": [6, 8], "counts": [47]}}, "its runs make 47 pixels, not 6x8"),
        ({"annotations.0.segmentation": {"size": [6, 8], "counts": [50, -2]}}, "its runs make 48 pixels, not 6x8"),
        ({"annotations.0.segmentation": {"size": [6, 8], "counts": ["a"]}}, "not a list of whole numbers, or text"),
        ({"annotations.0.segmentation": {"size": [6, 8], "counts": "7330"[:3] + "`"}}, "cut short"),
        ({"images.0.width": 9}, r"a.png is 6x8 \(height x width\) but was labelled as 6x9 in .*json"),
        ({"images.0.height": 8, "images.0.width": 6}, "labelled as 8x6 .*EXIF"),
    ],
)
def test_a_fault_of_one_image_is_one_line_about_it(export, change, message):
    content, save = export
    wrong(content, change)
    source = annotations(save(), "coco", ("background", "car", "person"), background="background")
    with pytest.raises(UserError, match=message) as error:
        source.read(0)
    assert "\n" not in str(error.value)
    assert not source.read(1)[1].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images.0.file_name": "c.png"}, r"images\[0\]: no image 'c.png' in .*coco; add it"),
        ({"images.1.file_name": "a.png"}, "a.png is labelled 2 times in"),
        ({"annotations.0.image_id": 8}, "is 8, which is the id of no image"),
    ],
)
def test_images_that_are_not_there_or_twice_are_problems(export, change, message):
    content, save = export
    wrong(content, change)
    problems = annotations(save(), "coco", ("car", "person")).problems
    assert re.search(message, problems[0])


def test_two_images_of_one_id(export):
    content, save = export
    content["images"][1]["id"] = 7
    with pytest.raises(UserError, match=r"images\[0\] and .*images\[1\] have one id, 7"):
        annotations(save(), "coco", ("car", "person"))


def test_windows_paths_name_the_images_too(export):
    content, save = export
    content["images"][0]["file_name"] = "C:\\Users\\me\\images\\a.png"
    assert list(targets(save(), "coco")) == ["a", "b"]


@pytest.mark.parametrize(
    "text", ["", "{", '{"images": [', '{"images": 1}', "[" * 100_000, "\x00", '{"images": [], "a": 1e']
)
def test_a_file_that_is_cut_short_or_no_coco(tmp_path, text):
    (tmp_path / "labels.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"labels.json") as error:
        annotations(tmp_path / "labels.json", "coco", ("car", "person"))
    assert "\n" not in str(error.value)


def test_an_unknown_label(export):
    source = annotations(export[1](), "coco", ("background", "car"), background="background")
    with pytest.raises(UserError, match=r"the label 'person' on .*a.png is none of data.classes"):
        source.read(0)
    ids = np.unique(targets(export[1](), "coco", ("background", "car"), ignore=("person",))["a"])
    assert ids.tolist() == [0, 1, 255]
    found = targets(export[1](), "coco", ("background", "thing"), label_map={"person": "thing", "car": "thing"})["a"]
    np.testing.assert_array_equal(found, BOX_PIXELS)


def test_without_a_background_the_rest_is_ignored(export):
    target = targets(export[1](), "coco", ("car", "person"), background=None)["a"]
    assert (target == 255).sum() == np.prod(SIZE) - 12


def test_numbers_that_json_cannot_hold(tmp_path, export):
    path = export[1]() / "annotations" / "instances_default.json"
    path.write_text(json.dumps(CONTENT).replace("1.0", "NaN"), encoding="utf-8")
    source = annotations(path, "coco", ("car", "person"), images=path.parents[1])
    with pytest.raises(UserError, match="has a corner at"):
        source.read(0)


def test_colours_of_categories(export):
    content, save = export
    content["categories"][0]["color"] = [1, 2, 3]
    content["categories"][1]["color"] = [1, 2, 999]  # no colour
    assert dict(open_export(save(), "coco", None)[1].colors) == {"car": (1, 2, 3)}


def test_two_categories_of_one_id(export):
    content, save = export
    content["categories"][1]["id"] = content["categories"][0]["id"]
    with pytest.raises(UserError, match=r"categories\[0\] \('.*'\) and .*categories\[1\] \('.*'\) have one id"):
        annotations(save(), "coco", ("car", "person"))
    content["categories"][1]["name"] = content["categories"][0]["name"]  # twice the same
    assert len(annotations(save(), "coco", ("car", "person"))) > 0
