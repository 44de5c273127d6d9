import numpy as np
import pytest
from support import write

from segdla.data.listing import list_images
from segdla.data.pairing import Naming
from segdla.doctor import naming
from segdla.doctor.naming import find_naming
from segdla.errors import UserError


def make(root, *names, mask=None):
    for name in names:
        write(root / name, np.zeros((4, 4), np.uint8) if mask is None else mask)
    return root


@pytest.mark.parametrize(
    ("images", "masks", "expected"),
    [
        (["i/1.jpg", "i/10.jpg", "i/2.jpg"], ["m/1.png", "m/10.png", "m/2.png"], Naming()),
        (["i/a/1.png", "i/b/1.png"], ["m/a/1_L.png", "m/b/1_L.png"], Naming(mask_suffix="_L")),
        (["i/1_rgb.png", "i/2_rgb.png"], ["m/1_gt.bmp", "m/2_gt.bmp"], Naming(image_suffix="_rgb", mask_suffix="_gt")),
        (["i/img_01.jpg", "i/img_02.jpg"], ["m/mask_01.png", "m/mask_02.png"], Naming("img_", "mask_")),
        (["i/image_1.png", "i/image_2.png"], ["m/instance_1.png", "m/instance_2.png"], Naming("image_", "instance_")),
        (
            ["i/1/image.png", "i/2/image.png"],
            ["m/1/mask.png", "m/2/mask.png"],
            Naming(image_suffix="/image", mask_suffix="/mask"),
        ),
        (["i/17.304.png", "i/17.571.png"], ["m/17.304.png", "m/17.571.png"], Naming()),
        (["i/1.jpg", "i/2.jpg"], ["m/1.jpg.png", "m/2.jpg.png"], Naming(mask_suffix=".jpg.png")),
        (["i/1.x.jpg", "i/2.x.jpg"], ["m/1.y.png", "m/2.y.png"], Naming("", "", ".x.jpg", ".y.png")),
        (["i/a/x1_im.png", "i/b/x2_im.png"], ["m/a/y1.png", "m/b/y2.png"], Naming("x", "y", "_im")),
    ],
)
def test_prefixes_and_suffixes_are_found(tmp_path, images, masks, expected):
    make(tmp_path, *images, *masks)
    assert find_naming(tmp_path / "i", tmp_path / "m") == expected


def test_in_one_folder_masks_are_told_by_their_suffix(tmp_path):
    make(tmp_path, "1.png", "1_mask.png", "2.png", "2_mask.png")
    assert find_naming(tmp_path, tmp_path) == Naming(mask_suffix="_mask")


def test_of_several_kinds_of_mask_ids_are_taken(tmp_path):
    for stem in ("1", "2"):
        make(tmp_path, f"i/{stem}_rgb.png", f"m/{stem}_color.png", mask=np.zeros((4, 4, 3), np.uint8))
        make(tmp_path, f"m/{stem}_instance.png", mask=np.arange(16, dtype=np.uint16).reshape(4, 4) * 1000)
        make(tmp_path, f"m/{stem}_label.png", mask=np.arange(16, dtype=np.uint8).reshape(4, 4) % 3)
    assert find_naming(tmp_path / "i", tmp_path / "m") == Naming(image_suffix="_rgb", mask_suffix="_label")


def test_a_mask_for_each_class_or_object_is_no_mask_of_ids(tmp_path):
    for stem in ("1", "2"):
        make(tmp_path, f"i/{stem}.jpg", mask=np.zeros((4, 4, 3), np.uint8))
        make(tmp_path, f"m/{stem}_car.png", f"m/{stem}_road.png", mask=255 * np.eye(4, dtype=np.uint8))
        make(tmp_path, f"m/{stem}_tree.png")  # none in this image
    with pytest.raises(UserError, match=r"each image has several masks, such as .*: leave those of one kind"):
        find_naming(tmp_path / "i", tmp_path / "m")


def test_of_several_kinds_of_image_colours_are_taken(tmp_path):
    for stem in ("1", "2"):
        make(tmp_path, f"i/{stem}_depth.png", mask=np.ones((4, 4), np.uint16))
        make(tmp_path, f"i/{stem}_rgb.png", mask=np.ones((4, 4, 3), np.uint8))
        make(tmp_path, f"m/{stem}.png", mask=np.eye(4, dtype=np.uint8))
    assert find_naming(tmp_path / "i", tmp_path / "m") == Naming(image_suffix="_rgb")


def test_in_one_folder_masks_may_be_told_by_their_extension(tmp_path):
    for stem in ("a", "b"):
        make(tmp_path, f"{stem}.jpg", mask=np.zeros((4, 4, 3), np.uint8))
        make(tmp_path, f"{stem}.png", mask=np.eye(4, dtype=np.uint8))
    assert find_naming(tmp_path, tmp_path) == Naming(image_suffix=".jpg", mask_suffix=".png")


def test_masks_that_can_not_be_read_are_not_looked_at(tmp_path):
    for stem in ("1", "2"):
        make(tmp_path, f"i/{stem}.png", f"m/{stem}_L.png")
    (tmp_path / "m/1_L.png").write_bytes(b"")
    assert find_naming(tmp_path / "i", tmp_path / "m") == Naming(mask_suffix="_L")


def test_numbers_are_not_divided(tmp_path):
    """Else 1 in 0001 and 2 in 0002 would be taken for suffixes of images and masks."""
    for place in ("train/images", "train/masks", "val/images", "val/masks"):
        make(tmp_path, *(f"{place}/{number:04}.png" for number in range(8)))
    with pytest.raises(UserError, match="tells a mask from an image; give the folder of each"):
        find_naming(tmp_path, tmp_path)


def test_polygons_beside_images_are_told(tmp_path):
    make(tmp_path, *(f"{number}.png" for number in range(4)))
    (tmp_path / "README.txt").touch()
    with pytest.raises(UserError, match="tells a mask from an image; give the folder of each"):
        find_naming(tmp_path, tmp_path)
    for number in range(3):
        (tmp_path / f"{number}.json").touch()
    with pytest.raises(
        UserError, match=r"\(3 \.json, 1 \.txt\), such as 0\.json, which may be polygons or boxes: read polygons b"
    ):
        find_naming(tmp_path, tmp_path)


def test_a_stray_file_does_not_hide_a_prefix(tmp_path):
    make(tmp_path, *(f"i/{number:02}.png" for number in range(30)), *(f"m/mask_{n:02}.png" for n in range(30)))
    make(tmp_path, "m/legend.png")
    assert find_naming(tmp_path / "i", tmp_path / "m") == Naming(mask_prefix="mask_")


def test_masks_of_other_folders_than_the_images(tmp_path):
    make(tmp_path, "i/a/x.png", "m/x.png")
    with pytest.raises(UserError, match="put the masks into folders like the images'"):
        find_naming(tmp_path / "i", tmp_path / "m")


def test_folders_are_listed_once(tmp_path, monkeypatch):
    make(tmp_path, "i/1.png", "i/2.png", "m/1_L.png", "m/2_L.png")
    listings = []
    monkeypatch.setattr(naming, "list_images", lambda path, skip: listings.append(path) or list_images(path, skip))
    assert find_naming(tmp_path / "i", tmp_path / "m") == Naming(mask_suffix="_L")
    assert len(listings) == 2


def test_names_that_have_nothing_in_common(tmp_path):
    make(tmp_path, "i/a.png", "m/b/c.png")
    with pytest.raises(UserError, match=r"name in common, such as a and b/c"):
        find_naming(tmp_path / "i", tmp_path / "m")
