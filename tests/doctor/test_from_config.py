import re

import numpy as np
import pytest
from support import write

import segdla
from segdla.doctor.from_config import write_draft
from segdla.doctor.report import print_report
from segdla.errors import UserError

pytestmark = pytest.mark.usefixtures("known_pace")


def test_a_data_set_is_checked_from_python(two_folders, tmp_path):
    report = segdla.check(two_folders)
    assert not report.serious and report.splits["train"].images == 4
    assert report.sources["val"].name(0) == "scene 4"
    (tmp_path / "set" / "val" / "masks" / "scene 5.png").unlink()
    report = segdla.check(segdla.load_config(two_folders))
    assert report.serious
    assert [(finding.kind, finding.split) for finding in report.findings if finding.serious] == [
        ("image without mask", "val")
    ]


def test_overrides_change_the_config_that_is_checked(two_folders):
    report = segdla.check(str(two_folders), {"data.root": "nowhere"})
    assert [finding.kind for finding in report.findings] == ["unusable split"] * 2 and report.splits == {}
    with pytest.raises(UserError, match=r"data\.rot"):
        segdla.check(two_folders, {"data.rot": "nowhere"})


def test_weights_that_can_not_be_had_are_a_finding(two_folders):
    report = segdla.check(two_folders, {"model.weights": "gone.pth"})
    assert [(finding.kind, finding.split) for finding in report.findings if finding.serious] == [
        ("missing weights", "model")
    ]
    assert "no weights file at gone.pth" in report.findings[0].message
    assert "with model.weights=imagenet it starts from timm/dla46_c.in1k" in segdla.check(two_folders).weights


@pytest.fixture
def more(two_folders, tmp_path):
    """Images without masks: copies of one to train and of one to validate on, a new one, and one that is broken."""
    (tmp_path / "more").mkdir()
    for split, number in (("train", 0), ("val", 4)):
        image = f"scene {number}.png"
        (tmp_path / "more" / f"{split}.png").write_bytes((tmp_path / "set" / split / "images" / image).read_bytes())
    write(tmp_path / "more" / "new.png", np.random.default_rng(9).integers(0, 256, (32, 48, 3), np.uint8))
    (tmp_path / "more" / "broken.png").write_bytes(b"broken")
    return tmp_path / "more"


def test_images_without_masks_are_read_too_and_held_against_those_that_score(two_folders, more, capsys):
    report = segdla.check(two_folders, {"data.unlabelled": str(more), "train.ema": 0.9})
    assert report.splits["unlabelled"].images == 4
    assert [(finding.kind, finding.serious) for finding in report.findings if finding.split == "unlabelled"] == [
        ("unreadable image", True),
        ("duplicate across splits", True),
        ("labelled images among the unlabelled", False),
    ]
    assert "broken.png" in report.findings[0].message
    print_report(report)
    assert "unlabelled %" not in capsys.readouterr().out  # no column of zeros


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("set", r"train.masks.scene 0\.png is a mask, and data\.unlabelled is a folder of images alone"),
        ("gone", r"no directory .*gone; check the path \(data\.unlabelled\)"),
        ("mine.yaml", r"is a file, where a folder or an archive \(ZIP, tar\) is asked for \(data\.unlabelled\)"),
    ],
)
def test_a_folder_that_holds_no_images_without_masks(two_folders, tmp_path, folder, message):
    (tmp_path / "mine.yaml").touch()
    overrides = {"data.unlabelled": str(tmp_path / folder), "train.ema": 0.9}
    (finding,) = [one for one in segdla.check(two_folders, overrides).findings if one.split == "unlabelled"]
    assert finding.serious and re.search(message, finding.message)
    with pytest.raises(UserError, match=message):
        segdla.train(two_folders, overrides, runs=tmp_path / "runs")


@pytest.fixture
def folders(tmp_path):
    for number in range(4):
        write(tmp_path / "i" / f"{number}.png", np.random.default_rng(number).integers(0, 256, (40, 56, 3), np.uint8))
        write(tmp_path / "m" / f"{number}.png", np.eye(40, 56, dtype=np.uint8))
    return tmp_path / "i", tmp_path / "m"


def test_a_draft_is_written_and_can_be_checked(folders, tmp_path):
    config = tmp_path / "configs" / "mine.yaml"
    draft = write_draft([folders], config)
    assert {path: path.read_text(encoding="utf-8") for path in draft.files} == draft.files
    report = segdla.check(config)
    assert [report.splits[split].images for split in ("train", "val")] == [3, 1]


@pytest.mark.parametrize("name", ["mine.yaml", "mine_val.txt"])
def test_a_draft_overwrites_no_file(folders, tmp_path, name):
    (tmp_path / name).write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match=f"{name} exists; --write under another name, or remove it"):
        write_draft([folders], tmp_path / "mine.yaml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i", "m", name]
    assert (tmp_path / name).read_text(encoding="utf-8") == "mine"
