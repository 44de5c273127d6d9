import numpy as np
import pytest
from exports import BOX_PIXELS, targets, write_images, write_text, zipped

from segdla.data.annotations import annotations, recognise
from segdla.errors import UserError

HEAD = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><job><labels>
<label><name>car</name><color>#fa3253</color><type>any</type><attributes></attributes></label>
<label><name>person</name><color>#3d3df5</color></label><label><name>background</name><color>#000000</color></label>
</labels></job></meta>
"""
POLYGON = '<polygon label="{}" source="manual" occluded="0" points="{}" z_order="{}"></polygon>'
BOX = "1.00,1.00;5.00,1.00;5.00,4.00;1.00,4.00"


def save(folder, shapes, size='width="8" height="6"', name="a.png"):
    image = f'<image id="0" name="{name}" subset="Train" {size}>{shapes}</image>'
    empty = '<image id="1" name="b.png" subset="Validation" width="8" height="6"><tag label="car"></tag></image>'
    write_text(folder / "annotations.xml", f"{HEAD}{image}{empty}</annotations>")
    return folder


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / "cvat" / "images" / "Train", "a.png")
    write_images(tmp_path / "cvat" / "images" / "Validation", "b.png")
    return tmp_path / "cvat"


def test_polygons_by_z_order_from_a_folder_and_a_zip(folder, tmp_path):
    inner = POLYGON.format("person", "2,2;4,2;4,3;2,3", "{}")
    for z_order, pixels in ((1, 2), (0, 2), (-1, 0)):
        save(folder, POLYGON.format("car", BOX, 0) + inner.format(z_order))
        for labels in (folder, zipped(folder, tmp_path / "cvat.zip")):
            assert recognise(labels) == "cvat"
            found = targets(labels, "cvat")
            assert (found["a"] == 2).sum() == pixels
            np.testing.assert_array_equal(found["a"] > 0, BOX_PIXELS)
            assert not found["b"].any()
    assert list(targets(folder, "cvat", subset="train")) == ["a"]
    assert list(targets(folder, "cvat", subset="val")) == ["b"]
    palette = annotations(folder, "cvat", ("background", "car")).classes.palette
    assert palette == ((0, 0, 0), (250, 50, 83))


def test_images_of_one_name_in_the_tasks_of_a_project(folder):
    """A project's images lie in a folder for each subset, and their names do not say which."""
    write_images(folder / "images" / "Validation", "a.png")
    images = "".join(
        f'<image id="0" name="a.png" subset="{subset}" width="8" height="6">{shape}</image>'
        for subset, shape in (("Train", POLYGON.format("car", BOX, 0)), ("Validation", ""))
    )
    write_text(folder / "annotations.xml", f"{HEAD}{images}</annotations>")
    np.testing.assert_array_equal(targets(folder, "cvat", subset="train")["a"], BOX_PIXELS)
    assert not targets(folder, "cvat", subset="val")["a"].any()


def test_boxes_of_a_label_that_is_ignored(folder):
    box = '<box label="sign" xtl="1" ytl="1" xbr="5" ybr="4" z_order="0"></box>'
    np.testing.assert_array_equal(targets(save(folder, box), "cvat", ignore=["sign"])["a"], 255 * BOX_PIXELS)
    turned = box.replace('z_order="0"', 'rotation="90"')  # around (3, 2.5): columns 1.5 to 4.5, rows 0.5 to 4.5
    found = targets(save(folder, turned), "cvat", ignore=["sign"])["a"]
    assert np.argwhere(found).min(0).tolist() == [0, 1] and np.argwhere(found).max(0).tolist() == [3, 3]


def test_masks_of_runs_and_ellipses(folder):
    mask = '<mask label="car" rle="0, 4, 2, 6" left="1" top="1" width="4" height="3" z_order="0"></mask>'
    ellipse = '<ellipse label="person" cx="6.5" cy="4.5" rx="1.6" ry="0.4" z_order="0" rotation="90.0"></ellipse>'
    found = targets(save(folder, mask + ellipse), "cvat")["a"]
    assert found[1:4, 1:5].tolist() == [[1] * 4, [0, 0, 1, 1], [1] * 4]
    assert np.argwhere(found == 2).tolist() == [[3, 6], [4, 6], [5, 6]]
    edge = mask.replace('left="1"', 'left="6"').replace('top="1"', 'top="-1"')
    assert np.argwhere(targets(save(folder, edge), "cvat")["a"]).tolist() == [[1, 6], [1, 7]]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            '<box label="car" xtl="1" ytl="1" xbr="5" ybr="4"></box>',
            r"image 'a.png', box 1 is a box, .*draw a polygon or",
        ),
        ('<polyline label="car" points="1,1;2,2;3,4"></polyline>', "polyline 1 has no area of one class"),
        ('<blob label="car"></blob>', "of the kind 'blob'"),
        (POLYGON.format("car", "1,1;2,2", 0), "polygon 1 has 2 corners"),
        (POLYGON.format("car", "1,1;2;3,4", 0), r"not a list of corners"),
        (POLYGON.format("car", BOX, "top"), "has no whole number where one is expected"),
        ('<mask label="car" rle="3" left="1" top="1" width="4" height="3"></mask>', "runs make 3 pixels, not 3x4"),
        ('<mask label="car" rle="x" left="1" top="1" width="4" height="3"></mask>', "no whole number"),
        (POLYGON.format("truck", BOX, 0), "the label 'truck' on .*a.png is none of data.classes"),
    ],
)
def test_shapes_that_are_none(folder, shape, message):
    source = annotations(save(folder, shape), "cvat", ("background", "car"), background="background")
    with pytest.raises(UserError, match=message) as error:
        source.read(0)
    assert "\n" not in str(error.value)


def test_sizes_that_disagree_and_images_that_are_missing(folder):
    source = annotations(save(folder, "", size='width="6" height="8"'), "cvat", ("car", "person"))
    with pytest.raises(UserError, match=r"a.png is 6x8 .* labelled as 8x6 .*EXIF"):
        source.read(0)
    problems = annotations(save(folder, "", name="c.png"), "cvat", ("car", "person")).problems
    assert len(problems) == 1 and "annotations.xml: no image 'c.png' in" in problems[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + '<image id="0" na', "is no whole XML file .*cut short"),
        (HEAD + '<track id="0" label="car"></track></annotations>', "not in the format CVAT for images; export it as"),
        (
            '<!DOCTYPE a [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><annotations>&b;</annotations>',
            "declares a document type",
        ),
        ("<html></html>", "not in the format CVAT for images"),
    ],
)
def test_files_of_another_kind(folder, text, message):
    write_text(folder / "annotations.xml", text)
    with pytest.raises(UserError, match=message):
        annotations(folder, "cvat", ("car", "person"))


def test_the_label_of_what_is_ignored(folder):
    save(folder, POLYGON.format("__ignore__", BOX, 0))
    np.testing.assert_array_equal(targets(folder, "cvat")["a"], 255 * BOX_PIXELS)
