import numpy as np
import pytest
from exports import SIZE, targets, write_images, zipped
from support import photo, write

from segdla.config import parse_yaml
from segdla.data.annotations import annotations, recognise
from segdla.data.annotations.binary_masks import fit
from segdla.data.from_config import open_split
from segdla.doctor.from_config import write_draft, write_label_draft
from segdla.errors import UserError


def mask(rows, columns, value=255):
    ids = np.zeros(SIZE, np.uint8)
    ids[rows, columns] = value
    return ids


LARGE, SMALL = mask(slice(0, 4), slice(0, 6)), mask(slice(2, 4), slice(4, 8), 1)
MERGED = np.where(SMALL, 2, np.where(LARGE, 1, 0))  # 8 pixels over 24


@pytest.mark.parametrize(
    "names",
    [
        ("car/{}.png", "person/{}.png"),
        ("all/car/{}.png", "all/person/{}.png"),
        ("{}_car.png", "{}_person.png"),
        ("{}-car-01.png", "{}-person-1.png"),
        ("{}/car.png", "{}/person_3.png"),
        ("{}/masks/car_0.png", "{}/masks/person_0.png"),
    ],
)
def test_classes_by_name_and_the_smaller_on_top(tmp_path, names):
    for image in ("a", "b_1"):
        write_images(tmp_path / "images", f"{image}.png")
        for name, pixels in zip(names, (LARGE, SMALL), strict=True):
            write(tmp_path / "masks" / name.format(image), pixels)
    assert fit(tmp_path / "images", tmp_path / "masks")
    found = targets(tmp_path / "masks", "binary_masks", images=tmp_path / "images")
    assert list(found) == ["a", "b_1"]
    for target in found.values():
        np.testing.assert_array_equal(target, MERGED)
    last = targets(tmp_path / "masks", "binary_masks", images=tmp_path / "images", smaller_on_top=False)["a"]
    np.testing.assert_array_equal(last, MERGED)  # person comes after car in the alphabet too


@pytest.mark.parametrize(
    "names", [("{}_mask_0.png", "{}_mask_1.png"), ("{}_0.png", "{}_1.png"), ("{}/7f.png", "{}/7f2.png")]
)
def test_objects_without_a_class(tmp_path, names):
    write_images(tmp_path / "images", "a.png", "b.png")
    for name, pixels in zip(names, (LARGE, SMALL), strict=True):
        for image in "ab":
            write(tmp_path / "masks" / name.format(image).replace("7f", f"{image}7f"), pixels)
    names = ("background", "object")
    export = annotations(tmp_path / "masks", "binary_masks", names, images=tmp_path / "images", background="background")
    np.testing.assert_array_equal(export.read(1)[1], MERGED > 0)


def test_one_folder_an_image_as_in_the_data_science_bowl(tmp_path):
    rng = np.random.default_rng(0)
    for image in ("0a", "1b", "2c"):
        write_images(tmp_path / "stage1" / image / "images", f"{image}.png")
        for pixels in (LARGE, SMALL):
            write(tmp_path / "stage1" / image / "masks" / f"{rng.bytes(16).hex()}.png", pixels)
    many = tmp_path / "stage1"
    for labels in (many, zipped(many, tmp_path / "stage1.zip")):
        assert recognise(labels) == "binary_masks"
        source = annotations(labels, "binary_masks", ("background", "object"), background="background")
        assert len(source) == 3
        np.testing.assert_array_equal(source.read(0)[1], MERGED > 0)


def test_more_names_than_classes_are_objects(tmp_path):
    for i in range(33):
        write_images(tmp_path / "set" / f"x{i}" / "images", f"x{i}.png")
        for j in range(2):
            write(tmp_path / "set" / f"x{i}" / "masks" / f"{chr(97 + i % 26)}{chr(97 + i // 26)}{'xy'[j]}.png", LARGE)
    source = annotations(tmp_path / "set", "binary_masks", ("background", "object"), background="background")
    np.testing.assert_array_equal(source.read(0)[1], LARGE > 0)


def test_what_is_no_such_mask(tmp_path):
    write_images(tmp_path / "images", "a.png", "b.png")
    write(tmp_path / "masks" / "a_car.png", mask(slice(0, 2), slice(0, 3)) + mask(slice(3, 4), slice(0, 3), 7))
    write(tmp_path / "masks" / "a_person.png", LARGE[:3])
    assert not fit(tmp_path / "images", tmp_path / "masks")
    source = annotations(tmp_path / "masks", "binary_masks", ("car", "person"), images=tmp_path / "images")
    with pytest.raises(UserError, match=r"a_person.png is 3x8 .* but its image 6x8"):
        source.items[0].entry.load(SIZE).shapes[1].mask(SIZE)
    with pytest.raises(UserError, match=r"a_car.png holds several values beside 0"):
        source.read(0)
    with pytest.raises(UserError, match="holds no masks named like the images"):
        annotations(tmp_path / "images", "binary_masks", ("car", "person"), images=tmp_path / "masks")


def test_frames_of_a_sequence_are_no_objects(tmp_path):
    for i in range(4):
        write_images(tmp_path / "images", f"drive_{i}.png")
        write(tmp_path / "masks" / f"drive_{i}.png", LARGE)
    assert not fit(tmp_path / "images", tmp_path / "masks")


@pytest.mark.parametrize(
    "names", [("road/{}.png", "car/{}.png"), ("{}_road.png", "{}_car.png"), ("{}_mask_0.png", "{}_mask_1.png")]
)
def test_from_two_folders_to_a_config_that_merges(tmp_path, known_pace, names):
    for i in range(6):
        write(tmp_path / "set" / "images" / f"x{i}.jpg", photo(40, 56, i))
        for name, rows in zip(names, (slice(0, 20), slice(10, 15)), strict=True):
            ids = np.zeros((40, 56), np.uint8)
            ids[rows] = 255
            write(tmp_path / "set" / "masks" / name.format(f"x{i}"), ids)
    config = tmp_path / "mine.yaml"
    draft = write_draft([(tmp_path / "set" / "images", tmp_path / "set" / "masks")], config)
    parsed = parse_yaml(config.read_text(encoding="utf-8"))
    target = open_split(parsed, "train").read(0)[1][:, 0].tolist()
    things = [2] * 10 + [1] * 5 + [2] * 5 if "car" in parsed.data.classes else [1] * 20
    assert target == things + [0] * 20
    assert "12 masks of 6 images are merged when an image is read; the smaller is on top" in draft.remarks
    whole = tmp_path / "whole.yaml"
    write_label_draft(zipped(tmp_path / "set", tmp_path / "set.zip"), whole)
    assert parse_yaml(whole.read_text(encoding="utf-8")).data.classes == parsed.data.classes
