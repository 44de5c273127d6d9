import numpy as np
import pytest
from exports import BOX, BOX_PIXELS, SIZE, targets, write_images, write_text, zipped

from segdla.data.annotations import annotations, open_export, recognise
from segdla.errors import UserError

LINE = "0 " + " ".join(f"{x / SIZE[1]} {y / SIZE[0]}" for x, y in BOX)


@pytest.fixture
def export(tmp_path):
    """Ultralytics' layout: images/ and labels/ with a folder for each split."""
    root = tmp_path / "coco8"
    write_text(
        root / "data.yaml",
        "path: ../datasets/coco8\ntrain: images/train\nval: images/val\nnames:\n  0: car\n  1: person\n",
    )
    write_images(root / "images" / "train", "a.png", "b.png")
    write_images(root / "images" / "val", "a.png")
    write_text(root / "labels" / "train" / "a.txt", LINE + "\n1 0.25 0.3334 0.5 0.3334 0.5 0.5 0.25 0.5\n")
    write_text(root / "labels" / "val" / "a.txt", "\n")
    return root


def test_polygons_by_hand_from_a_folder_a_yaml_file_and_a_zip(export, tmp_path):
    expected = BOX_PIXELS.copy()
    expected[2, 2:4] = 2
    for labels in (export, export / "data.yaml", zipped(export, tmp_path / "coco8.zip")):
        assert recognise(labels) == "yolo"
        train = targets(labels, "yolo", subset="train")
        np.testing.assert_array_equal(train["a"], expected)
        assert not train["b"].any()  # no text file: no objects
        assert not targets(labels, "yolo", subset="val")["a"].any()
    (export / "data.yaml").rename(export / "labels" / "data.yaml")  # the labels apart from the images
    found = targets(export / "labels", "yolo", images=export / "images", subset="train")
    np.testing.assert_array_equal(found["a"], expected)


@pytest.mark.parametrize("key", ["val", "valid", "validation"])
def test_roboflows_folders_and_a_list_of_images(export, tmp_path, key):
    root = tmp_path / "roboflow"
    text = f"train: ../train/images\n{key}: ../valid/images\nnc: 2\nnames: ['car', 'person']\n"
    write_text(root / "data.yaml", text)
    for folder in ("train", "valid"):
        write_images(root / folder / "images", f"{folder}.png")
        write_text(root / folder / "labels" / f"{folder}.txt", LINE)
    np.testing.assert_array_equal(targets(root, "yolo", subset="val")["valid"], BOX_PIXELS)
    write_text(export / "data.yaml", "train: train.txt\nnames: [car, person]\n")
    write_text(export / "train.txt", "C:\\data\\coco8\\images\\train\\a.png\n")
    assert list(targets(export, "yolo", subset="train")) == ["a"]


def test_a_box_of_a_label_that_is_ignored(export):
    write_text(export / "labels" / "train" / "a.txt", f"0 {3 / 8} {2.5 / 6} {4 / 8} {3 / 6}\n")
    found = targets(export, "yolo", ("background", "person"), ignore=["car"], subset="train")["a"]
    np.testing.assert_array_equal(found, 255 * BOX_PIXELS)


def test_an_image_in_several_splits_belongs_to_the_first(export):
    """As in Ultralytics' coco128, which validates on what it trains on; other sets test on what they validate on."""
    write_text(export / "data.yaml", "names: [car, person]\ntrain: images/train\nval: images/val\ntest: images/val\n")
    _, found, _ = open_export(export, "yolo", None)
    assert [entry.subset for entry in found.entries] == ["train", "train", "val"]
    assert found.remarks[-1] == "1 images are in two splits in data.yaml; train has them, or else val"
    assert annotations(export, "yolo", ("car", "person"), background="car").problems == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "0 0.5 0.5 0.1 0.1",
            r"a.txt, line 2 has 4 numbers, which are a box or a polygon of two points: export polygons",
        ),
        ("0 0.5 0.5 0.1 0.1 0.2", "line 2 has 5 coordinates, but x and y go in pairs"),
        ("7 0.1 0.1 0.2 0.2 0.3 0.3", r"class 7 is none of data.yaml's, 0 to 1"),
        ("0 10 10 20 20 30 30", "the coordinate 30, where shares of 0 to 1 are expected"),
        ("0 a b c d e f", "is not the number of a class and corners"),
        ("0", "line 2 has 0 corners"),
    ],
)
def test_a_line_that_is_no_polygon(export, line, message):
    write_text(export / "labels" / "train" / "a.txt", f"{LINE}\n{line}\n")
    with pytest.raises(UserError, match=message):
        annotations(export, "yolo", ("car", "person"), subset="train").read(0)


def test_exports_that_lack_something(export, tmp_path):
    write_text(export / "labels" / "val" / "images.txt", "")
    for text, message in [
        ("names: [car\n", "has no data.yaml with names"),
        ("names: car\ntrain: images/train\n", "names is 'car', not a list of classes"),
    ]:
        write_text(export / "data.yaml", text)
        with pytest.raises(UserError, match=message):
            annotations(export, "yolo", ("car", "person"))
    write_text(export / "data.yaml", "names: [car]\ntrain: images/train\n")
    for file in (export / "labels").rglob("a.txt"):
        file.unlink()
    with pytest.raises(UserError, match=r"no image in .* has a text file in"):
        annotations(export, "yolo", ("car", "person"))
