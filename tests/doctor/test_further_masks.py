import numpy as np
import pytest
from support import write

from segdla.doctor.naming import find_naming
from segdla.errors import UserError


def fill(root, folder, names):
    for name in names:
        write(root / folder / f"{name}.png", 255 * np.eye(4, dtype=np.uint8))
    return root / folder


@pytest.mark.parametrize(
    ("masks", "one", "another"),
    [
        (["0_0", "1_0", "1_1", "2_0", "2_1", "2_2", "3_0"], "m/1_0.png", "m/1_1.png"),
        (["0/obj0", "1/obj0", "1/obj1", "2/obj0", "3/obj0"], "m/1/obj0.png", "m/1/obj1.png"),
        (["0_mask", "1_mask", "1_mask_1", "2_mask", "3_mask"], "m/1_mask.png", "m/1_mask_1.png"),
        (["0_obj_a", "1_obj_a", "1_obj_b", "2_obj_a", "3_obj_a"], "m/1_obj_a.png", "m/1_obj_b.png"),
        (["0/7f", "0/a1", "1/3c", "2/9e", "2/b0", "3/d4", "3/e5"], "m/0/7f.png", "m/0/a1.png"),  # DSB 2018
    ],
)
def test_a_mask_for_each_object_is_to_be_merged(tmp_path, masks, one, another):
    images, folder = fill(tmp_path, "i", "0123"), fill(tmp_path, "m", masks)
    words = rf" ha(ve|s) several masks, such as {tmp_path}/{one} and {tmp_path}/{another}: leave those of one kind"
    with pytest.raises(UserError, match=words):
        find_naming(images, folder)


def test_in_one_folder_too(tmp_path):
    both = fill(tmp_path, "both", ["0", "0_mask", "0_mask_1", "1", "1_mask", "2", "2_mask"])
    with pytest.raises(UserError, match=r"both/0\.png has several masks, such as .*0_mask\.png and .*0_mask_1"):
        find_naming(both, both)


def test_masks_of_another_kind_are_no_further_ones(tmp_path):
    for stem in "0123":
        write(tmp_path / f"m/{stem}_color.png", np.zeros((4, 4, 3), np.uint8))
    images, masks = fill(tmp_path, "i", "0123"), fill(tmp_path, "m", [f"{n}_ids" for n in "0123"])
    assert find_naming(images, masks).mask_suffix == "_ids"
    (masks / "3_color.png").unlink()  # one of them is missing
    assert find_naming(images, masks).mask_suffix == "_ids"


def test_a_stray_mask_among_many_is_left_out(tmp_path):
    images = fill(tmp_path, "i", [f"{n:02}" for n in range(30)])
    masks = fill(tmp_path, "m", [*(f"{n:02}_L" for n in range(30)), "07_L_backup"])
    assert find_naming(images, masks).mask_suffix == "_L"
