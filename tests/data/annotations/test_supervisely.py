import base64
import io
import zlib

import numpy as np
import pytest
from exports import BOX, BOX_PIXELS, targets, write_images, write_json, zipped
from PIL import Image

from segdla.data.annotations import annotations, recognise
from segdla.errors import UserError


def bitmap(mask, origin, label="person"):
    """An object as the SDK packs it: a palette PNG whose index 0 is transparent, compressed again."""
    image = Image.fromarray(np.asarray(mask, np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    file = io.BytesIO()
    image.save(file, "PNG", transparency=0, optimize=0)
    data = base64.b64encode(zlib.compress(file.getvalue())).decode("ascii")
    return {"classTitle": label, "geometryType": "bitmap", "bitmap": {"data": data, "origin": origin}}


def polygon(exterior, *interior, label="car"):
    points = {"exterior": exterior, "interior": list(interior)}
    return {"classTitle": label, "geometryType": "polygon", "points": points}


RECTANGLE = {"points": {"exterior": [[4, 3], [1, 1]], "interior": []}}


def save(root, *objects, size=(6, 8)):
    content = {"size": {"height": size[0], "width": size[1]}, "tags": [], "objects": list(objects)}
    write_json(root / "train" / "ann" / "a.png.json", content)
    return root


@pytest.fixture
def root(tmp_path):
    write_images(tmp_path / "project" / "train" / "img", "a.png")
    classes = [{"title": "car", "color": "#FA3253", "shape": "polygon"}, {"title": "person", "color": "#3D3DF5"}]
    write_json(tmp_path / "project" / "meta.json", {"classes": classes, "tags": []})
    return tmp_path / "project"


def test_polygons_with_holes_and_bitmaps_from_a_folder_and_a_zip(root, tmp_path):
    hole = [[2, 2], [4, 2], [4, 3], [2, 3]]
    save(root, polygon(BOX, hole), bitmap([[1, 0, 1]], [6, 5]))
    expected = BOX_PIXELS.copy()
    expected[2, 2:4] = 0
    expected[5, 6] = 2  # the last of the bitmap is out of the frame
    for labels in (root, zipped(root, tmp_path / "project.zip")):
        assert recognise(labels) == "supervisely"
        np.testing.assert_array_equal(targets(labels, "supervisely", subset="train")["a"], expected)
    assert annotations(root, "supervisely", ("car", "person")).classes.palette == ((250, 50, 83), (61, 61, 245))


def test_a_box_of_a_label_that_is_ignored(root):
    """Supervisely's rectangles end with the pixel of their second corner."""
    save(root, {"classTitle": "sign", "geometryType": "rectangle", **RECTANGLE})
    found = targets(root, "supervisely", ignore=["sign"], subset="train")["a"]
    np.testing.assert_array_equal(found, 255 * BOX_PIXELS)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (polygon(BOX[:2]), "exterior has 2 corners"),
        (bitmap([[1]], [1]), r"origin is \[1\], not \[x, y\]"),
        ({"classTitle": "car", "geometryType": "rectangle", **RECTANGLE}, "holds what is around the object too"),
        ({"classTitle": "car", "geometryType": "point"}, "of the kind 'point', which holds what is around"),
        (
            bitmap([[1]], [0, 0]) | {"bitmap": {"data": "aGVsbG8=", "origin": [0, 0]}},
            "data is no mask that can be decoded",
        ),
        (polygon(BOX, label="truck"), "the label 'truck' on .* is none of data.classes"),
    ],
)
def test_objects_that_are_no_shapes(root, wrong, message):
    with pytest.raises(UserError, match=message) as error:
        annotations(save(root, wrong), "supervisely", ("car", "person")).read(0)
    assert "\n" not in str(error.value)


def test_sizes_that_disagree_and_images_that_are_missing(root):
    with pytest.raises(UserError, match=r"a.png is 6x8 .* labelled as 7x8"):
        annotations(save(root, size=(7, 8)), "supervisely", ("car", "person")).read(0)
    (root / "train" / "img" / "a.png").unlink()
    problems = annotations(root, "supervisely", ("car", "person")).problems
    assert len(problems) == 1 and "a.png.json: no image 'train/img/a.png' in" in problems[0]
