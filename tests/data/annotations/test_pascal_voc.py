import numpy as np
import pytest
from exports import SIZE, targets, write_images, write_text, zipped
from PIL import Image

from segdla.data.annotations import annotations, recognise
from segdla.data.annotations.pascal_voc import voc_color
from segdla.errors import UserError

IDS = np.zeros(SIZE, np.uint8)
IDS[1:4, 1:5], IDS[4] = 15, 255


def palette_image(ids):
    image = Image.fromarray(ids)
    image.putpalette([sample for i in range(256) for sample in voc_color(i)])
    return image


@pytest.fixture
def devkit(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    write_images(root / "JPEGImages", "2007_1.png", "2007_2.png", "2008_3.png")
    (root / "SegmentationClass").mkdir()
    for name in ("2007_1", "2007_2"):
        palette_image(IDS).save(root / "SegmentationClass" / f"{name}.png")
    for split, names in (("train", "2007_1"), ("val", "2007_2"), ("trainval", "2007_1\n2007_2"), ("test", "2008_3")):
        write_text(root / "ImageSets" / "Segmentation" / f"{split}.txt", names + "\n")
    return tmp_path / "VOCdevkit"


def test_the_palette_is_the_challenges():
    listed = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    assert {i: voc_color(i) for i in listed} == listed


def test_the_challenges_own_layout(devkit, tmp_path):
    names = ("person", "background")
    for labels in (devkit, zipped(devkit, tmp_path / "voc.zip")):
        assert recognise(labels) == "voc"
        found = targets(labels, "voc", names, subset="train")
        np.testing.assert_array_equal(found["2007_1"], np.select([IDS == 15, IDS == 255], [0, 255], 1))
        assert list(targets(labels, "voc", names, subset="val")) == ["2007_2"]
    with pytest.raises(UserError, match=r"the label 'person' on .* is none of data.classes"):
        annotations(devkit, "voc", ("background", "car"), background="background").read(0)
    palette = annotations(devkit, "voc", names, background="background").classes.palette
    assert palette == ((192, 128, 128), (0, 0, 0))


def test_a_labelmap_without_colours_as_datumaro_writes_it(devkit):
    write_text(devkit / "labelmap.txt", "# label:color_rgb:parts:actions\nbackground:::\ncar:::\nperson:::\n")
    for name in ("2007_1", "2007_2"):
        colors = np.where(IDS[..., None] == 15, np.uint8([0, 128, 0]), np.uint8(0))
        Image.fromarray(colors).save(devkit / "VOC2012" / "SegmentationClass" / f"{name}.png")
    found = targets(devkit, "voc", ("background", "person"))
    np.testing.assert_array_equal(found["2007_1"], IDS == 15)


def test_the_colours_of_a_labelmap_as_cvat_writes_it(devkit):
    root = devkit / "VOC2012"
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::", "car:250,50,83::"]
    write_text(root / "labelmap.txt", "\n".join(lines))
    for name in ("2007_1", "2007_2"):
        colors = np.where(IDS[..., None] == 15, np.uint8([250, 50, 83]), np.uint8(0))
        Image.fromarray(colors).save(root / "SegmentationClass" / f"{name}.png")
    found = targets(root, "voc", ("background", "car"))
    np.testing.assert_array_equal(found["2007_1"], IDS == 15)
    write_text(root / "labelmap.txt", "background:0,0,0::\ncar:250,50\n")
    with pytest.raises(UserError, match=r"labelmap.txt, line 2: 'car:250,50' is not NAME:RED,GREEN,BLUE"):
        annotations(root, "voc", ("background", "car"))


def test_rgb_masks_without_a_list_of_classes_have_the_challenges_colours(devkit):
    colors = np.array([voc_color(i) for i in range(256)], np.uint8)
    for name, ids in (("2007_1", IDS), ("2007_2", np.where(IDS == 15, 36, IDS))):
        Image.fromarray(colors[ids]).save(devkit / "VOC2012" / "SegmentationClass" / f"{name}.png")
    names = ("person", "background")
    found = targets(devkit, "voc", names, subset="train")["2007_1"]
    np.testing.assert_array_equal(found, np.select([IDS == 15, IDS == 255], [0, 255], 1))
    message = r"colour \[32, 0, 0\] .* none of the classes'; mend the mask, or name the colour in a labelmap.txt"
    with pytest.raises(UserError, match=message.replace("32, 0, 0", ", ".join(map(str, voc_color(36))))):
        annotations(devkit, "voc", names, subset="val").read(0)


def test_the_class_names_of_labelme2voc(devkit):
    write_text(devkit / "class_names.txt", "_background_\n" + "".join(f"thing {i}\n" for i in range(1, 16)))
    found = targets(devkit, "voc", ("_background_", "thing 15"), background="_background_")
    assert (found["2007_1"] == 1).sum() == 12


def test_masks_and_images_without_a_partner(devkit):
    write_text(devkit / "VOC2012" / "ImageSets" / "Segmentation" / "train.txt", "2007_1\n2008_3\n")
    palette_image(IDS).save(devkit / "VOC2012" / "SegmentationClass" / "2010_4.png")
    problems = annotations(devkit, "voc", ("background", "person")).problems
    assert len(problems) == 2
    assert "no mask 2008_3.png in" in problems[0] and "2010_4.png: no image 'JPEGImages/2010_4' in" in problems[1]
    palette_image(IDS[:, :5]).save(devkit / "VOC2012" / "SegmentationClass" / "2007_1.png")
    with pytest.raises(UserError, match=r"2007_1.png is 6x8 .* but was labelled as 6x5"):
        annotations(devkit, "voc", ("background", "person"), subset="train").read(0)
