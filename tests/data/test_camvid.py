import unicodedata

import numpy as np
import pytest
from PIL import Image
from support import write

from segdla.data.camvid import camvid
from segdla.errors import UserError


@pytest.fixture
def segnet_tree(tmp_path):
    for split in ("train", "test"):
        for i in range(3):
            write(tmp_path / split / f"{split}_{i}.jpg", np.full((6, 8, 3), 50 * i))
            write(
                tmp_path / f"{split}annot" / f"{split}_{i}.png", np.array([[0, 5, 10, 11]] * 6, np.uint8).repeat(2, 1)
            )
    return tmp_path


def test_segnet_layout_with_differing_extensions(segnet_tree):
    source = camvid(segnet_tree, "train")
    assert len(source) == 3 and source.name(1) == "train_1"
    image, target = source.read(1)
    assert image.shape == (6, 8, 3)
    np.testing.assert_array_equal(target[0], [0, 0, 5, 5, 10, 10, 255, 255])
    assert source.classes.names[5] == "Tree" and source.classes.palette[5] == (128, 128, 0)


def test_lists_choose_and_order(segnet_tree):
    # As published: PNGs in a folder of the list's author.
    (segnet_tree / "train.txt").write_text(
        "/SegNet/CamVid/train/train_2.png /SegNet/CamVid/trainannot/train_2.png\n"
        "/SegNet/CamVid/train/train_0.png /SegNet/CamVid/trainannot/train_0.png\n"
    )
    source = camvid(segnet_tree, "train")
    assert [source.name(i) for i in range(len(source))] == ["train_2", "train_0"]
    (segnet_tree / "train.txt").write_text("train/gone.png trainannot/gone.png\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"lacks gone"):
        camvid(segnet_tree, "train")


def test_a_root_in_the_home_folder_and_names_in_another_unicode_form(segnet_tree, monkeypatch):
    monkeypatch.setenv("HOME", str(segnet_tree.parent))
    for path in sorted(segnet_tree.rglob("train_1.*")):
        path.rename(path.with_stem(unicodedata.normalize("NFD", "é")))
    listed = unicodedata.normalize("NFC", "/SegNet/é.png /SegNet/é.png\n")
    (segnet_tree / "train.txt").write_text(listed, encoding="utf-8")
    source = camvid(f"~/{segnet_tree.name}", "train")
    assert [source.files(i)[0].parent for i in range(len(source))] == [segnet_tree / "train"]


@pytest.fixture
def originals(tmp_path):
    # Sky, its colour; Archway, grouped into Building; Road; a colour of no class.
    colors = np.array([[(128, 128, 128), (192, 0, 128), (128, 64, 128), (1, 2, 3)]], np.uint8)
    for stem in ("0001TP_006690", "0001TP_008550", "0016E5_07959", "0016E5_08190", "Seq05VD_f02610"):
        write(tmp_path / "701_StillsRaw_full" / f"{stem}.png", np.zeros((1, 4, 3)))
        write(tmp_path / "LabeledApproved_full" / f"{stem}_L.png", colors[..., ::-1])
    return tmp_path


@pytest.mark.parametrize(("protocol", "expected"), [("grouped", [0, 1, 3, 255]), ("native", [0, 255, 3, 255])])
def test_protocols_of_the_originals(originals, protocol, expected):
    source = camvid(originals, "train", protocol)
    np.testing.assert_array_equal(source.read(0)[1], [expected])
    assert (
        source.classes.protocol
        != camvid(originals, "train", "native" if protocol == "grouped" else "grouped").classes.protocol
    )


def test_originals_saved_with_a_palette_have_the_same_colours(originals):
    colors = [(1, 2, 3), (128, 64, 128), (192, 0, 128), (128, 128, 128)]
    mask = Image.fromarray(np.array([[3, 2, 1, 0]], np.uint8), mode="P")
    mask.putpalette(np.ravel(colors).tolist())
    mask.save(originals / "LabeledApproved_full" / "0001TP_006690_L.png")
    np.testing.assert_array_equal(camvid(originals, "train", "grouped").read(0)[1], [[0, 1, 3, 255]])


def test_originals_are_split_like_the_segnet_lists(originals):
    names = {
        split: [s.name(i) for i in range(len(s))]
        for split in ("train", "val", "test")
        for s in [camvid(originals, split, "grouped")]
    }
    assert names == {
        "train": ["0001TP_006690", "0016E5_08190"],
        "val": ["0016E5_07959"],
        "test": ["0001TP_008550", "Seq05VD_f02610"],
    }


def test_a_stray_file_among_the_originals_is_named(originals):
    for folder, name in (("701_StillsRaw_full", "0001TP_006690 (1)"), ("LabeledApproved_full", "0001TP_006690 (1)_L")):
        (originals / folder / f"{name}.png").touch()
    with pytest.raises(UserError, match=r"0001TP_006690 \(1\) is not named as"):
        camvid(originals, "train", "native")


def test_missing_root_names_the_setting():
    with pytest.raises(UserError, match=r"data\.root=nowhere"):
        camvid("nowhere", "train")


def test_segnet_protocol_on_originals_names_the_setting(originals):
    with pytest.raises(UserError, match=r"data\.protocol"):
        camvid(originals, "train")


def test_frames_of_ten_seconds_are_a_group_joined_or_not(originals):
    train, val = camvid(originals, "train", "grouped"), camvid(originals, "val", "grouped")
    both = train.joined(val)
    groups = {source.name(i): source.group(i) for source in (train, val) for i in range(len(source))}
    assert groups == {"0001TP_006690": "0001TP 22", "0016E5_08190": "0016E5 27", "0016E5_07959": "0016E5 26"}
    assert {both.name(i): both.group(i) for i in range(len(both))} == groups
