"""The data doctor and the first config, called as from the command line."""

import json
import os
from typing import get_args

import numpy as np
import pytest
import yaml
from exports import write_text, zipped
from support import ROOT, write

from segdla.checkpoints.checkpoint import read_checkpoint
from segdla.config import AnnotationsConfig, load_config, parse
from segdla.data.annotations.label_formats import FORMATS
from segdla.data.images import read_image, read_mask
from segdla.data.scenes import Scenes

pytestmark = pytest.mark.usefixtures("known_pace")


def test_a_sound_set(tool, two_folders, tmp_path, capsys):
    assert tool("check_data")(two_folders, "data.ignore=[255]") == 0
    output = capsys.readouterr().out
    assert "nothing that would hurt training" in output
    pasted = [yaml.safe_load(line) for line in output.splitlines() if line.startswith(("  model: {", "  loss: {"))]
    assert len(pasted) == 3
    for lines in pasted:
        parse({**yaml.safe_load(two_folders.read_text(encoding="utf-8")), **lines})
    report = json.loads((tmp_path / "check_two_folders" / "report.json").read_text(encoding="utf-8"))
    assert report["serious"] is False and report["splits"]["train"]["images"] == 4
    sheet = read_image(tmp_path / "check_two_folders" / "contact.png")
    assert sheet.shape[0] >= 2 * 200  # six images in rows of four


def test_a_set_with_faults(tool, two_folders, tmp_path, capsys):
    (tmp_path / "set" / "train" / "images" / "scene 1.png").write_bytes(b"")
    write(tmp_path / "set" / "val" / "masks" / "scene 4.png", np.full((40, 56), 77, np.uint8))
    (tmp_path / "set" / "val" / "masks" / "scene 5.png").unlink()
    assert tool("check_data")(two_folders, "--output", "out") == 1
    output = capsys.readouterr().out
    assert "scene 1.png" in output and "label id 77 (2240 pixels)" in output and "no mask for" in output
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert {"unreadable image", "unknown labels", "image without mask"} <= {f["kind"] for f in report["findings"]}


def test_a_set_that_is_not_there(tool, two_folders, tmp_path, capsys):
    assert tool("check_data")(two_folders, "data.root=nowhere", "--output", "out") == 1
    output = capsys.readouterr().out
    assert "unusable split" in output and "contact.png" not in output
    assert (tmp_path / "out" / "report.json").is_file()


def test_a_published_set_may_lack_its_test_split(tool, tmp_path):
    for index, split in enumerate(("train", "val")):
        image, ids = Scenes("train", 2, (40, 56)).read(index)
        write(tmp_path / "camvid" / split / "a.jpg", image)
        write(tmp_path / "camvid" / f"{split}annot" / "a.png", np.where(ids > 8, 11, ids).astype(np.uint8))
    tool("check_data")(ROOT / "configs" / "camvid_dla34.yaml", "data.root=camvid", "--output", "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert set(report["splits"]) == {"train", "val"}
    assert "unusable split" not in {finding["kind"] for finding in report["findings"]}


def test_names_with_brackets_are_shown(tool, two_folders, capsys):
    classes = yaml.safe_load(two_folders.read_text(encoding="utf-8"))["data"]["classes"]
    tool("check_data")(two_folders, f"data.classes={['[bold]', *classes[1:]]}")
    assert "[bold]" in capsys.readouterr().out


def test_results_overwrite_nothing(tool, two_folders, tmp_path):
    for _ in range(2):
        tool("check_data")(two_folders)
    assert (tmp_path / "check_two_folders-2" / "report.json").is_file()


def test_a_folder_that_can_not_be_made_is_answered_before_all_is_read(fails, two_folders, tmp_path):
    (tmp_path / "file").touch()
    message = fails("check_data", two_folders, "--output", tmp_path / "file" / "out")
    assert "file/out: Not a directory; choose another --output" in message


def test_a_config_must_be_named(fails):
    assert "name a config" in fails("check_data")


def folders(root, form):
    """Write fourteen scenes and their masks in a form that people have; return the directories."""
    scenes = Scenes("train", 14, (40, 56))
    for index in range(len(scenes)):
        image, ids = scenes.read(index)
        ids = np.where(ids == 255, 0, ids).astype(np.uint8)
        name = f"city {index % 2}/Straße_{index:02}"
        mask, suffix = {
            "ids": (ids, ".png"),
            "binary": (np.where(ids == 2, 255, 0).astype(np.uint8), "_mask.bmp"),
            "colours": (np.array(scenes.classes.palette, np.uint8)[ids][..., ::-1], "_L.png"),
            "sixteen bits with gaps": (ids.astype(np.uint16) * 1000 + 7, ".tif"),
        }[form]
        write(root / "photos" / f"{name}.jpg", image[..., ::-1])
        write(root / "labels" / f"{name}{suffix}", mask)
    return root / "photos", root / "labels"


@pytest.mark.parametrize("form", ["ids", "binary", "colours", "sixteen bits with gaps"])
def test_two_folders_to_a_model(tool, tmp_path, capsys, form):
    images, masks = folders(tmp_path / "my set", form)
    assert tool("check_data")("--images", images, "--masks", masks, "--write", "configs/mine.yaml") == 0
    output = capsys.readouterr().out
    assert "14 pairs" in output and "segdla train configs/mine.yaml" in output
    small = ["model.backbone=dla46_c", "train.epochs=1", "train.device=cpu", "data.workers=0", "train.batch_size=4"]
    assert tool("train")("configs/mine.yaml", *small) == 0
    card = read_checkpoint(tmp_path / "runs" / "mine" / "best.safetensors").card
    assert len(card.classes) == (2 if form == "binary" else len(Scenes.classes))
    if form == "colours":
        assert sorted(card.classes.palette) == sorted(Scenes.classes.palette)


def test_folders_that_are_split_stay_so(tool, two_folders, tmp_path):
    for kind in ("images", "masks"):
        for split in ("train", "val"):
            (tmp_path / "set" / split / kind).rename(tmp_path / "set" / f"{kind}-{split}")
        (tmp_path / "set" / kind).mkdir()
        for split in ("train", "val"):
            (tmp_path / "set" / f"{kind}-{split}").rename(tmp_path / "set" / kind / split)
    assert tool("check_data")("--images", "set/images", "--masks", "set/masks", "--write", "mine.yaml") == 0
    assert not list(tmp_path.glob("mine_*.txt"))
    assert tool("check_data")("mine.yaml", "--output", "out") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert [report["splits"][split]["images"] for split in ("train", "val")] == [4, 2]


def test_without_a_validation_split_it_is_drawn_from_the_training_images(tool, tmp_path, capsys):
    for number in range(10):
        split = "test" if number < 4 else "train"
        for kind, channels in (("images", (3,)), ("masks", ())):
            noise = np.random.default_rng(number).integers(0, 2, (40, 56, *channels), np.uint8)
            write(tmp_path / "set" / kind / split / f"{number}.png", noise)
    write(tmp_path / "set" / "masks" / "train" / "legend.png", np.zeros((8, 8), np.uint8))
    assert tool("check_data")("--images", "set/images", "--masks", "set/masks", "--write", "mine.yaml") == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "left out, as their names pair them with nothing: 1, such as set/masks/train/legend.png" in output
    lists = {split: (tmp_path / f"mine_{split}.txt").read_text(encoding="utf-8") for split in ("train", "val", "test")}
    assert [len(lines.splitlines()) for lines in lists.values()] == [5, 1, 4]
    assert all("masks/test/" in line for line in lists["test"].splitlines())
    assert "test/" not in lists["train"] + lists["val"]


def test_a_draft_for_three_small_images_trains(tool, tmp_path):
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 2, (40, 56, 3), np.uint8)
        write(tmp_path / "set" / "images" / f"{number}.png", noise)
        write(tmp_path / "set" / "masks" / f"{number}.png", noise[..., 0])
    assert tool("check_data")("--images", "set/images", "--masks", "set/masks", "--write", "mine.yaml") == 0
    small = ["model.backbone=dla46_c", "train.epochs=1", "train.device=cpu", "data.workers=0"]
    assert tool("train")("mine.yaml", *small) == 0


def test_the_share_of_pixels_taken_for_unlabelled_is_printed(tool, tmp_path, capsys):
    images, masks = folders(tmp_path / "set", "ids")
    for mask in masks.rglob("*.png"):
        write(mask, np.where(np.arange(40)[:, None] < 10, 255, read_mask(mask)).astype(np.uint8))
    assert tool("check_data")("--images", images, "--masks", masks, "--write", "mine.yaml") == 0
    assert "255, in 25 % of the pixels, is taken for what is unlabelled" in capsys.readouterr().out


def test_folders_of_each_split_may_be_given(tool, two_folders, tmp_path):
    """``set`` holds train and val, and these images and masks: the usual way."""
    images, masks = (("set/train/" + kind, "set/val/" + kind) for kind in ("images", "masks"))
    assert tool("check_data")("--images", *images, "--masks", *masks, "--write", "mine.yaml") == 0
    drafted = load_config("mine.yaml").data
    assert (drafted.train.images, drafted.val.masks) == ("train/images", "val/masks")
    assert tool("check_data")("mine.yaml", "--output", "out") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert [report["splits"][split]["images"] for split in ("train", "val")] == [4, 2]


def test_as_many_folders_of_masks_as_of_images(fails, tmp_path):
    assert "one each a split" in fails("check_data", "--images", "a", "b", "--masks", "c", "--write", "mine.yaml")


def test_pairs_that_can_not_be_read_are_left_out_and_reported(tool, tmp_path, capsys):
    images, masks = folders(tmp_path / "set", "ids")
    (images / "city 0" / "Straße_04.jpg").write_bytes(b"")
    (masks / "city 1" / "Straße_05.png").unlink()
    assert tool("check_data")("--images", images, "--masks", masks, "--write", "mine.yaml") == 0
    output = capsys.readouterr().out
    assert "12 pairs" in output and "(and 1 more)" in output
    assert tool("check_data")("mine.yaml") == 0


def test_given_lists_make_the_split(tool, tmp_path):
    images, masks = folders(tmp_path / "set", "ids")
    for name, numbers in (("train.txt", range(10)), ("val.txt", range(10, 12)), ("test.txt", range(12, 14))):
        (tmp_path / name).write_text("".join(f"Straße_{i:02}\n" for i in numbers), encoding="utf-8")
    lists = ("--lists", "train.txt", "val.txt", "test.txt")
    assert tool("check_data")("--images", images, "--masks", masks, "--write", "mine.yaml", *lists) == 0
    assert "Straße_11.jpg\tlabels/city 1/Straße_11.png" in (tmp_path / "mine_val.txt").read_text(encoding="utf-8")
    assert len((tmp_path / "mine_test.txt").read_text(encoding="utf-8").splitlines()) == 2


def test_lists_may_name_images_that_can_not_be_read(tool, tmp_path, capsys):
    images, masks = folders(tmp_path / "set", "ids")
    (images / "city 0" / "Straße_04.jpg").write_bytes(b"")
    for name, numbers in (("train.txt", range(10)), ("val.txt", range(10, 12))):
        (tmp_path / name).write_text("".join(f"Straße_{i:02}\n" for i in numbers), encoding="utf-8")
    words = ("--images", images, "--masks", masks, "--write", "mine.yaml", "--lists", "train.txt", "val.txt")
    assert tool("check_data")(*words) == 0
    output = capsys.readouterr().out
    assert "Straße_04.jpg is not an image" in output and "2 pairs are in none of train, val" in output
    assert len((tmp_path / "mine_train.txt").read_text(encoding="utf-8").splitlines()) == 9


def test_a_split_without_masks_is_answered(fails, tmp_path):
    images, masks = folders(tmp_path / "set", "ids")
    for folder in (images, masks):
        (folder / "city 0").rename(folder / "train")
        (folder / "city 1").rename(folder / "val")
    for mask in (masks / "train").iterdir():
        mask.rename(mask.with_name(f"other {mask.name}"))
    output = fails("check_data", "--images", images, "--masks", masks, "--write", "mine.yaml")
    assert "no image of the train split has a mask and can be read: no mask for" in output


def test_names_that_are_no_text_are_answered(tool, fails, two_folders, tmp_path):
    for kind in ("images", "masks"):
        folder = os.fsencode(tmp_path / "set" / "train" / kind)
        os.rename(folder + b"/scene 1.png", folder + b"/stra\xdfe.png")  # noqa: PTH104 (a Path is text)
    assert tool("check_data")(two_folders) == 0
    folder = tmp_path / "set" / "train"
    words = ("--images", folder / "images", "--masks", folder / "masks", "--write", "a.yaml")
    assert "bytes that are no UTF-8" in fails("check_data", *words)


def test_wrong_words_to_the_draft(tool, fails, tmp_path):
    images, masks = folders(tmp_path / "set", "ids")
    both = ("--images", images, "--masks", masks)
    assert "takes --images DIR" in fails("check_data", *both)
    assert "--fraction is" in fails("check_data", *both, "--write", "a.yaml", "--fraction", "2")
    assert "no directory none" in fails("check_data", "--images", "none", "--masks", masks, "--write", "a.yaml")
    (tmp_path / "a.yaml").write_text("mine", encoding="utf-8")
    assert "a.yaml exists" in fails("check_data", *both, "--write", "a.yaml")
    assert (tmp_path / "a.yaml").read_text(encoding="utf-8") == "mine"


def test_an_archive_of_a_labelling_tool_becomes_a_config_and_is_checked(tool, tmp_path, capsys):
    shape = '<polygon label="car" points="0,0;56,0;56,10;0,10" z_order="0"></polygon>'
    for number in range(8):
        noise = np.random.default_rng(number).integers(0, 256, (40, 56, 3), np.uint8)
        write(tmp_path / "cvat" / "images" / f"{number}.png", noise)
    images = "".join(f'<image name="{i}.png" width="56" height="40">{shape}</image>' for i in range(8))
    write_text(tmp_path / "cvat" / "annotations.xml", f"<annotations>{images}</annotations>")
    archive = zipped(tmp_path / "cvat", tmp_path / "export.zip")
    assert tool("check_data")("--labels", archive, "--write", "mine.yaml") == 0
    data = load_config("mine.yaml").data
    assert (data.format, data.classes, data.labels) == ("cvat", ("background", "car"), str(archive))
    assert "next: segdla check mine.yaml" in capsys.readouterr().out
    assert tool("check_data")("mine.yaml", "--output", "out") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["splits"]["val"]["shares"] == {"background": 0.75, "car": 0.25}


@pytest.mark.parametrize(
    "more",
    [(), *(("--write", "n.yaml", *one) for one in (("--masks", "m"), ("--images", "a", "b")))],
)
def test_labels_take_the_place_of_masks(fails, more):
    assert "labels take --labels PATH --write CONFIG" in fails("check_data", "--labels", "l", *more)


def test_the_formats_stand_alike_in_the_config_and_the_data():
    assert tuple(FORMATS) == get_args(AnnotationsConfig.model_fields["format"].annotation)


@pytest.mark.parametrize(
    "words", [("check_data", "--labels", ".", "--write", "n.yaml"), ("convert", ".", "--to", "coco", "--output", "o")]
)
def test_a_format_that_is_none_is_answered_by_all_that_are(fails, words):
    expected = "'voc2012' is no format of labels; those that are read: coco, coco_panoptic, yolo"
    assert expected in fails(*words, "--format", "voc2012")
