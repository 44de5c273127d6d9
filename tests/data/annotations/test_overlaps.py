"""Labels that are kept where they overlap: a pixel's set of classes."""

import copy

import numpy as np
import pytest
from exports import SIZE, targets, write_images, write_json
from support import write

from segdla.data.annotations.rasterize import draw, unite
from segdla.data.annotations.shapes import Patch, Shape

CAR = [1.0, 1, 5, 1, 5, 4, 1, 4]  # rows 1 to 3, columns 1 to 4
WHEEL = [3.0, 2, 7, 2, 7, 6, 3, 6]  # rows 2 to 5, columns 3 to 6
CONTENT = {
    "images": [{"id": 7, "file_name": "a.png", "height": 6, "width": 8}],
    "categories": [{"id": 3, "name": "car"}, {"id": 80, "name": "wheel"}, {"id": 9, "name": "glass"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "segmentation": [CAR], "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 80, "segmentation": [WHEEL], "iscrowd": 0},
        {"id": 3, "image_id": 7, "category_id": 3, "segmentation": [CAR], "iscrowd": 0},
    ],
}


def planes():
    car, wheel = np.zeros((2, *SIZE), bool)
    car[1:4, 1:5], wheel[2:6, 3:7] = True, True
    return car, wheel


def read(tmp_path, content, **options):
    write_images(tmp_path, "a.png")
    path = write_json(tmp_path / "labels.json", content)
    names = ("car", "wheel", "glass")
    return targets(path, "coco", names, None, overlapping=True, images=tmp_path, **options)["a"]


def test_a_pixel_in_two_polygons_is_of_both(tmp_path):
    car, wheel = planes()
    target = read(tmp_path, CONTENT)
    np.testing.assert_array_equal(target, 1 * car + 2 * wheel)  # and 0, of none, where there is no label
    assert target.dtype == np.uint8 and (target == 3).sum() == 4


@pytest.mark.parametrize("what", ["crowd", "ignored label"])
def test_what_is_ignored_is_so_under_other_labels_too(tmp_path, what):
    content, options = copy.deepcopy(CONTENT), {}
    if what == "crowd":
        content["annotations"][1]["iscrowd"] = 1
    else:
        content["categories"].append({"id": 5, "name": "unsure"})
        content["annotations"][1]["category_id"] = 5
        options["ignore"] = ("unsure",)
    car, wheel = planes()
    np.testing.assert_array_equal(read(tmp_path, content, **options), np.where(wheel, 255, car))


def test_masks_of_classes_in_folders(tmp_path):
    write_images(tmp_path / "images", "a.png", "b.png")
    car, wheel = planes()
    for image in "ab":
        write(tmp_path / "masks" / "car" / f"{image}.png", 255 * car.astype(np.uint8))
        write(tmp_path / "masks" / "wheel" / f"{image}.png", 255 * wheel.astype(np.uint8))
    options = {"overlapping": True, "images": tmp_path / "images"}
    found = targets(tmp_path / "masks", "binary_masks", ("car", "wheel"), None, **options)
    np.testing.assert_array_equal(found["b"], 1 * car + 2 * wheel)


def test_the_order_of_shapes_does_not_matter():
    car, wheel = planes()
    shapes = [Shape(label, mask=lambda size, m=m: Patch(0, 0, m)) for label, m in (("car", car), ("wheel", wheel))]
    one, other, drawn = np.zeros((3, *SIZE), np.uint8)
    unite(one, shapes, {"car": 1, "wheel": 2})
    unite(other, shapes[::-1], {"car": 1, "wheel": 2})
    np.testing.assert_array_equal(one, other)
    draw(drawn, shapes, {"car": 1, "wheel": 2}, smaller_on_top=False)
    assert (one == 3).sum() == 4 and not (drawn == 3).any()
