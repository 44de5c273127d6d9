import tarfile

import numpy as np
import pytest
from exports import zipped
from support import photo, write

from segdla.config import parse_yaml
from segdla.data.from_config import open_split
from segdla.doctor import mask_folders as module
from segdla.doctor.from_config import write_label_draft
from segdla.doctor.mask_folders import find_mask_folders, left_out
from segdla.errors import UserError


def fill(root, images, masks, count=6, mask_suffix=""):
    """Write photos, and masks of two ids."""
    for i in range(count):
        write(root / images / f"{i}.jpg", photo(40, 56, i))
        mask = np.zeros((40, 56), np.uint8)
        mask[: 5 + i] = 1
        write(root / masks / f"{i}{mask_suffix}.png", mask)
    return root


@pytest.mark.parametrize(
    ("images", "masks"), [("images", "masks"), ("set/a", "set/b"), ("b", "a"), ("x/images/y", "x/labels/y")]
)
def test_folders_that_differ_in_one_name(tmp_path, images, masks):
    root = fill(tmp_path / "set", images, masks, mask_suffix="_mask")
    write(root / "preview" / "all.jpg", photo(40, 56))
    top = images.removesuffix("/y"), masks.removesuffix("/y")
    assert find_mask_folders(root) == [(root / top[0], root / top[1])]


def test_folders_of_each_split(tmp_path):
    for split in ("train", "val"):
        fill(tmp_path / "set", f"{split}/images", f"{split}/masks")
    path = zipped(tmp_path / "set", tmp_path / "set.zip")
    folders = [(path / split / "images", path / split / "masks") for split in ("train", "val")]
    assert find_mask_folders(path) == folders


def test_a_folder_beside_each_split(tmp_path):
    """CamVid's layout as the SegNet authors have it, where all splits name their images alike."""
    for split in ("train", "val", "test"):
        fill(tmp_path / "set", split, f"{split}annot")
    found = find_mask_folders(tmp_path / "set")
    assert [(images.name, masks.name) for images, masks in found] == [
        (split, f"{split}annot") for split in ("train", "val", "test")
    ]


def test_pictures_that_are_left_out_are_named(tmp_path):
    root = fill(tmp_path / "set", "images", "masks")
    folders = find_mask_folders(root)
    assert left_out(root, folders) == []
    write(root / "preview" / "all.jpg", photo(40, 56))
    assert left_out(root, folders)[0].startswith("1 pictures, such as preview/all.jpg, are not in ")


def test_only_the_largest_of_many_folders_are_compared(monkeypatch):
    made = []
    kinds = module._Kinds
    monkeypatch.setattr(module, "_Kinds", lambda *values: made.append(values) or kinds(*values))
    files = [f"scene {i}/a.png" for i in range(200)] + ["x/a.png", "x/b.png", "y/a.png", "y/b.png"]
    assert next(iter(module._alike(files))) == (0, "x", "y")
    assert len(made) < 1000  # of 20301 pairs


def test_no_such_folders(tmp_path):
    write(tmp_path / "a.png", photo(8, 8))
    with pytest.raises(
        UserError, match=r"no two folders in .* hold images and their masks \(1 pictures, such as a.png"
    ):
        find_mask_folders(tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_from_a_download_to_a_config(tmp_path, known_pace, kind):
    fill(tmp_path / "set", "set/images", "set/masks")
    (tmp_path / "set" / "set" / "classes.txt").write_text("road\ncar\n", encoding="utf-8")
    path = tmp_path / f"set.{kind}"
    if kind == "zip":
        zipped(tmp_path / "set", path)
    else:
        with tarfile.open(path, "w:gz") as archive:
            archive.add(tmp_path / "set", ".")
    config = tmp_path / "mine.yaml"
    write_label_draft(path, config)
    parsed = parse_yaml(config.read_text(encoding="utf-8"))
    assert parsed.data.root == str(path / "set") and parsed.data.classes == ("road", "car")
    source = open_split(parsed, "train")
    image, target = source.read(0)
    assert image.shape == (40, 56, 3) and set(np.unique(target)) == {0, 1}
    assert len(source) + len(open_split(parsed, "val")) == 6


def test_neither_labels_nor_masks(tmp_path, known_pace):
    write(tmp_path / "set" / "a.png", photo(8, 8))
    with pytest.raises(
        UserError, match=r"labels of no format that is known: .*; and as masks it can't be read: no two"
    ):
        write_label_draft(tmp_path / "set", tmp_path / "mine.yaml")
