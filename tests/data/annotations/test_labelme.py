import base64
import io

import numpy as np
import pytest
from exports import BOX, BOX_PIXELS, targets, write_images, write_json, write_text, zipped
from PIL import Image

from segdla.data.annotations import annotations, open_export, recognise
from segdla.errors import UserError


def shape(label, points, kind="polygon", **more):
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


def save(path, *shapes, **more):
    content = {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imageData": None}
    return write_json(path, content | {"imagePath": f"{path.stem}.png", "imageHeight": 6, "imageWidth": 8} | more)


def test_polygons_in_the_order_of_drawing_beside_the_images(tmp_path):
    root = tmp_path / "labelme"
    write_images(root, "a.png", "b.png")
    inner = [[2, 2], [4, 2], [4, 3], [2, 3]]
    save(root / "a.json", shape("car", BOX), shape("person", inner))
    save(root / "b.json", shape("person", inner), shape("car", BOX))
    for labels in (root, zipped(root, tmp_path / "labelme.zip")):
        assert recognise(labels) == "labelme"
        found = targets(labels, "labelme")
        assert (found["a"] == 2).sum() == 2
        np.testing.assert_array_equal(found["b"], BOX_PIXELS)  # the later lies on top


def test_rectangles_circles_masks_and_what_is_ignored(tmp_path):
    write_images(tmp_path / "images", "a.png")
    png = io.BytesIO()
    Image.fromarray(np.array([[1, 0, 1]], bool)).save(png, "PNG")
    mask = base64.b64encode(png.getvalue()).decode("ascii")
    save(
        tmp_path / "labels" / "a.json",
        shape("car", [[1, 1], [5, 4]], "rectangle"),
        shape("person", [[6.5, 4.5], [6.5, 5.4]], "circle"),
        shape("person", [[1.0, 2.0], [3.0, 2.0]], "mask", mask=mask),
        shape("person", [[6, 0], [8, 0], [8, 1], [6, 1]], "oriented_rectangle"),
        shape("__ignore__", [[0, 5], [2, 5], [2, 6], [0, 6]]),
        imagePath="..\\images\\a.png",
    )
    expected = BOX_PIXELS.copy()
    expected[4, 6] = expected[2, 1] = expected[2, 3] = expected[0, 6:] = 2
    expected[5, :2] = 255
    found = targets(tmp_path / "labels", "labelme", images=tmp_path / "images")["a"]
    np.testing.assert_array_equal(found, expected)


def test_the_image_that_a_file_names_if_none_is_named_like_it(tmp_path):
    write_images(tmp_path, "photo.png")
    save(tmp_path / "1.json", shape("car", BOX), imagePath="C:\\Users\\me\\photo.png")
    assert list(targets(tmp_path, "labelme")) == ["photo"]
    save(tmp_path / "2.json", shape("car", BOX), imagePath="other.png")
    problems = annotations(tmp_path, "labelme", ("car", "road")).problems
    assert len(problems) == 1 and "2.json: no image 'other.png' in" in problems[0]
    save(tmp_path / "2.json", shape("car", BOX), imagePath="photo.png")
    assert "photo.png is labelled 2 times" in annotations(tmp_path, "labelme", ("car", "road")).problems[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (shape("car", [[1, 1], [2, 2]]), r"a.json: shapes\[0\].points has 2 corners"),
        (shape("car", [[1, 1]], "rectangle"), r"not two points \[x, y\]"),
        (shape("car", [[1, 1], [2, 2]], "line"), "of the kind 'line', which has no area; draw a polygon"),
        (shape("", BOX), r"label is '', not text"),
        (shape("car", [[1, 1], [2, 2]], "mask", mask="!"), r"mask is no mask that can be decoded"),
        (shape("car", [[1, 1], [2, 2]], "mask", mask="aGVsbG8="), r"shapes\[0\].mask is not an image"),
        ({"label": "car"}, r"shapes\[0\] has no 'points'"),
        ("car", r"shapes\[0\] is 'car', not a mapping with 'label'"),
    ],
)
def test_shapes_that_are_none(tmp_path, wrong, message):
    write_images(tmp_path, "a.png")
    save(tmp_path / "a.json", wrong)
    with pytest.raises(UserError, match=message) as error:
        annotations(tmp_path, "labelme", ("car", "road")).read(0)
    assert "\n" not in str(error.value)


def test_a_file_cut_short_and_one_of_another_size(tmp_path):
    write_images(tmp_path, "a.png")
    save(tmp_path / "a.json", imageHeight=7)
    with pytest.raises(UserError, match=r"a.png is 6x8 .* but was labelled as 7x8 in .*a.json"):
        annotations(tmp_path, "labelme", ("car", "road")).read(0)
    write_text(tmp_path / "a.json", '{"shapes": [{"label": "car", "poi')
    with pytest.raises(UserError, match=r"a.json is no whole JSON file .*cut short"):
        annotations(tmp_path, "labelme", ("car", "road")).read(0)


def test_the_list_of_classes_that_labelme_is_started_with(tmp_path):
    write_images(tmp_path, "a.png")
    save(tmp_path / "a.json", shape("car", BOX))
    assert list(open_export(tmp_path, "labelme", None)[1].classes) == []
    write_text(tmp_path / "labels.txt", "__ignore__\n_background_\nperson\n\ncar\n")
    assert list(open_export(tmp_path, "labelme", None)[1].classes) == ["_background_", "person", "car"]
