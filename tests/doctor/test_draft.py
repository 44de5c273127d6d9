import os

import numpy as np
import pytest
from PIL import Image
from support import write

from segdla.config import load_config, parse_yaml
from segdla.data.from_config import open_split
from segdla.doctor.budget import Pace
from segdla.doctor.draft import draft
from segdla.errors import UserError


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (40, 56, 3), np.uint8)


def fill(root, count=8, mask=((0,), (1,))):
    """Write pairs of 40x56, whose masks hold two rows of values, magnified; return the folders."""
    values = np.array(mask, np.uint8)
    for number in range(count):
        write(root / "i" / f"{number}.png", picture(number))
        write(root / "m" / f"{number}_L.png", values.repeat(20, axis=0).repeat(56 // values.shape[1], axis=1))
    return root / "i", root / "m"


def pace(pairs, num_classes):
    return Pace("cpu", "cpu with 2 threads", "fp32", step=2.0, pair=0.001)


def drafted(tmp_path, *folders, fraction=0.25, seed=0, lists=()):
    return draft(folders, tmp_path / "mine.yaml", fraction, seed, lists, pace)


def test_a_draft_is_a_config_with_reasons_and_lists_of_pairs(tmp_path):
    draft = drafted(tmp_path, fill(tmp_path / "set"))
    config, train, val = draft.files
    text = draft.files[config]
    lines = text.splitlines()
    assert (
        lines[0]
        == f"# Drafted from {tmp_path}/set: rename the classes, and see what the doctor says: segdla check THIS"
    )
    assert '  classes: ["class_0", "class_1"]  # in the order of their numbers; give them names' in lines
    assert "  # of the pixels they have, in %: 50, 50" in lines
    assert f'  train: {{list: "{tmp_path}/mine_train.txt"}}' in lines
    assert "  crop: [32, 32]  # (height, width); the images are 40 x 56" in lines
    assert "  epochs: 1500  # 3000 steps" in lines  # six images in batches of three
    assert "  backbone: dla46_c" in lines and "  precision: fp32" in lines
    # At 2 s a megapixel, 3 crops of 0.001024 take less than the shortest step, 0.05 s; 3 images are read at 0.001 s.
    assert lines[1:3] == [
        "# Trains for about 3 min on cpu with 2 threads, if nothing else runs there: 3000 steps of 0.053 s, as "
        "measured.",
        "# With more time: more epochs, a larger crop, backbone: dla34 (two to three times as slow), output_stride: 2.",
    ]
    assert draft.remarks == [
        "8 pairs; 2 ids in the masks",
        "6 images to train on and 2 to validate on, drawn with seed 0",
    ]
    assert (train.name, val.name) == ("mine_train.txt", "mine_val.txt")
    pairs = [line.split("\t") for line in (draft.files[train] + draft.files[val]).splitlines()]
    assert sorted(pairs) == [[f"i/{number}.png", f"m/{number}_L.png"] for number in range(8)]
    assert parse_yaml(text).data.dataset == "folder"


def test_folders_of_each_split_need_no_lists(tmp_path):
    draft = drafted(tmp_path, fill(tmp_path / "a"), fill(tmp_path / "b", 3))
    (text,) = draft.files.values()
    data = parse_yaml(text).data
    assert (data.root, data.train.images, data.val.masks) == (str(tmp_path), "a/i", "b/m")
    assert data.val.mask_suffix == "_L" and data.test is None


def test_a_pair_that_can_not_be_read_makes_lists_of_the_others(tmp_path):
    folders = fill(tmp_path / "a"), fill(tmp_path / "b", 3)
    (tmp_path / "b" / "i" / "1.png").write_bytes(b"")
    write(tmp_path / "b" / "m" / "legend.png", np.zeros((2, 2), np.uint8))
    draft = drafted(tmp_path, *folders)
    assert [len(text.splitlines()) for text in list(draft.files.values())[1:]] == [8, 2]
    assert "1.png is not an image" in draft.remarks[1]
    assert draft.remarks[2].endswith(f"pair them with nothing: 1, such as {tmp_path}/b/m/legend.png")


def test_the_share_of_pixels_taken_for_unlabelled_is_said(tmp_path):
    draft = drafted(tmp_path, fill(tmp_path / "set", mask=((0, 0, 255, 1), (1, 0, 1, 255))))
    assert draft.remarks[1].startswith("255, in 25 % of the pixels, is taken for what is unlabelled; if it is a class")
    assert parse_yaml(draft.files[tmp_path / "mine.yaml"]).data.ignore == (255,)


def test_255_that_is_a_class_is_said(tmp_path):
    draft = drafted(tmp_path, fill(tmp_path / "set", mask=((0, 128), (255, 255))))
    assert draft.remarks[1].startswith("255 is taken for a class, as the ids [0, 128, 255] are even steps of grey")
    assert parse_yaml(draft.files[tmp_path / "mine.yaml"]).data.ignore == ()


def test_one_pair_is_too_little(tmp_path):
    with pytest.raises(UserError, match=r"one pair in .*set/i is too little"):
        drafted(tmp_path, fill(tmp_path / "set", 1))


def test_a_split_without_readable_pairs_is_refused(tmp_path):
    folders = fill(tmp_path / "a"), fill(tmp_path / "b", 1)
    (tmp_path / "b" / "i" / "0.png").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"no image of the val split has a mask and can be read: .*0\.png is not an image"
    ):
        drafted(tmp_path, *folders)


@pytest.mark.parametrize("name", ["a\tb", "a\nb", os.fsdecode(b"stra\xdfe")])
def test_names_that_no_list_can_hold_are_refused(tmp_path, name):
    root = tmp_path / name
    fill(tmp_path / "set")
    (tmp_path / "set").rename(root)
    with pytest.raises(UserError, match="has a tab, a line break or bytes that are no UTF-8 in its name; rename it"):
        drafted(tmp_path, (root / "i", root / "m"))


def test_names_beside_the_masks_and_colours_of_their_palettes_are_taken(tmp_path):
    images, masks = fill(tmp_path / "set")
    ids = np.array([[0, 1, 4, 255]], np.uint8).repeat(40, 0).repeat(14, 1)
    for path in masks.iterdir():
        picture = Image.fromarray(ids, "P")
        picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 0, 0, 128, 0, 0, 255] + 250 * [0] * 3 + [224, 224, 192])
        picture.save(path)
    names = tmp_path / "set" / "class_names.txt"
    names.write_text("ground\nroad\ncar\ntree\nsky\n", encoding="utf-8")
    draft = drafted(tmp_path, (images, masks))
    assert draft.remarks[2:4] == [
        "the colours of the classes are those of the masks' palettes",
        f"the names of the classes are from {names}",
    ]
    for path, text in draft.files.items():
        path.write_text(text, encoding="utf-8")
    config = load_config(tmp_path / "mine.yaml")
    assert config.data.classes == ("ground", "road", "sky") and config.data.ignore_colors == ((224, 224, 192),)
    source = open_split(config, "train")
    assert source.classes.palette == ((0, 0, 0), (128, 0, 0), (0, 0, 255))
    assert source.read(0)[1][0, ::14].tolist() == [0, 1, 2, 255]


def test_images_of_12_bits_get_their_range_and_the_mean_within_it(tmp_path):
    images, masks = fill(tmp_path / "set")
    for path in images.glob("*.png"):
        write(path, np.linspace(0, 4000, 40 * 56).astype(np.uint16).reshape(40, 56))
    text = drafted(tmp_path, (images, masks)).files[tmp_path / "mine.yaml"]
    config = parse_yaml(text)
    assert config.data.sample_range == (0, 4095)
    assert config.model.mean == pytest.approx([2000 / 4096] * 3, abs=0.003)
    write(next(images.glob("*.png")), picture(0))
    assert "sample_range" not in drafted(tmp_path, (images, masks)).files[tmp_path / "mine.yaml"]
