import json
import os
from collections import defaultdict

import cv2
import numpy as np
import pytest
from PIL import Image
from support import write

from segdla.data.cityscapes import cityscapes
from segdla.data.folder import folder
from segdla.data.scenes import Scenes
from segdla.doctor.check import examine_splits
from segdla.errors import UserError


def picture(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(noise, (64, 48), interpolation=cv2.INTER_CUBIC)


def halves(upper, lower):
    return np.repeat(np.array([upper, lower], np.uint8), 24)[:, None].repeat(64, 1)


class Tree:
    """Two splits of six sound pairs each, to plant faults in."""

    def __init__(self, root):
        self.root = root
        for split, first in (("train", 0), ("val", 100)):
            for seed in range(first, first + 6):
                write(self.image(split, seed), picture(seed))
                write(self.mask(split, seed), halves(0, 1))

    def image(self, split, name):
        return self.root / split / "images" / f"{name}.png"

    def mask(self, split, name):
        return self.root / split / "masks" / f"{name}.png"

    def add(self, split, name, image, mask=None):
        write(self.image(split, name), image)
        write(self.mask(split, name), halves(0, 1) if mask is None else mask)

    def examine(self):
        splits = {
            split: folder(self.root, ("sky", "road"), images=f"{split}/images", masks=f"{split}/masks")
            for split in ("train", "val")
        }
        return examine_splits(splits)


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_images_whose_truth_is_secret_are_no_fault(tmp_path):
    paths = [tmp_path / "leftImg8bit" / "test" / "bonn" / f"bonn_{i}_leftImg8bit.png" for i in range(2)]
    for seed, path in enumerate(paths):
        write(path, picture(seed))
    report = examine_splits({"test": cityscapes(tmp_path, "test")})
    assert report.findings == [] and report.splits["test"].sizes == {"48 x 64": 2}
    paths[1].write_bytes(b"")
    assert [finding.kind for finding in examine_splits({"test": cityscapes(tmp_path, "test")}).findings] == [
        "unreadable image"
    ]


def test_a_weight_to_paste_is_never_rounded_to_none(tmp_path):
    mask = np.zeros((1000, 1000), np.uint8)
    for train_id, pixels in ((1, 3), (2, 5), (3, 4)):
        mask[train_id, :pixels] = train_id
    write(tmp_path / "i" / "1.png", np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8))
    write(tmp_path / "m" / "1.png", mask)
    split = examine_splits({"train": folder(tmp_path, tuple("abcd"), images="i", masks="m")}).splits["train"]
    assert min(split.median_frequency_weights) > 0


def test_a_sound_set_has_no_findings(tree):
    report = tree.examine()
    assert report.findings == [] and not report.serious
    assert report.splits["train"].sizes == {"48 x 64": 6}
    assert report.splits["train"].shares == {"sky": 0.5, "road": 0.5}


def test_planted_faults_are_all_named(tree):
    names = ("empty", "cut", "text", "folder", "loop", "bomb", "animated", "wide", "colored", "strange")
    for seed, name in enumerate(names, start=200):
        tree.add("train", name, picture(seed))
    image, mask = (lambda name: tree.image("train", name)), (lambda name: tree.mask("train", name))
    image("empty").write_bytes(b"")
    image("cut").write_bytes(image("cut").read_bytes()[:900])
    mask("text").write_bytes(b"not an image")
    image("folder").unlink()
    image("folder").mkdir()
    image("loop").unlink()
    image("loop").symlink_to(image("loop"))
    Image.new("1", (20_000, 20_000)).save(image("bomb"))
    frames = [Image.fromarray(picture(seed)) for seed in (1, 2)]
    frames[0].save(image("animated"), save_all=True, append_images=frames[1:])
    write(mask("wide"), np.zeros((48, 70), np.uint8))
    write(mask("colored"), np.zeros((48, 64, 3), np.uint8))
    write(mask("strange"), halves(0, 7))
    write(image("lonely"), picture(300))  # without mask
    write(mask("orphan"), halves(0, 1))  # without image
    tree.add("train", "twice", picture(301))
    write(mask("twice").with_suffix(".bmp"), halves(0, 1))  # two masks
    tree.add("train", "void", picture(302), halves(255, 255))
    tree.add("train", "black", np.zeros((48, 64, 3), np.uint8))
    tree.add("train", "again", picture(3))
    tree.add("train", "otherwise", picture(4), halves(1, 0))
    tree.add("val", "leaked", picture(0))
    tree.add("val", "nearly leaked", cv2.convertScaleAbs(picture(1), alpha=0.7))
    for seed in (*range(100, 106), "leaked", "nearly leaked"):
        write(tree.mask("val", seed), halves(0, 0))

    report = tree.examine()
    messages = defaultdict(list)
    for finding in report.findings:
        messages[finding.kind].append(finding.message)
    for kind, name, words in (
        ("unreadable image", "empty.png", "empty (0 bytes)"),
        ("unreadable image", "cut.png", "cut short"),
        ("unreadable mask", "text.png", "not an image"),
        ("unreadable image", "folder.png", "is a directory"),
        ("unreadable image", "loop.png", "Too many levels of symbolic links"),
        ("unreadable image", "bomb.png", "too large to decode"),
        ("unreadable image", "animated.png", "holds 2 pictures"),
        ("sizes differ", "wide.png", "48x64 (height x width) but"),
        ("unknown labels", "colored.png", "this one is 3-channel"),
        ("unknown labels", "strange.png", "label id 7 (1536 pixels)"),
        ("image without mask", "lonely.png", "no mask for"),
        ("mask without image", "orphan.png", "no image for"),
        ("image without mask", "twice.png", "2 masks for"),
        ("unlabelled", "void.png", "ignored"),
        ("nearly constant image", "black.png", "[0, 0, 0]"),
        ("duplicates", "again.png", "train/images/3.png (train)"),
        ("duplicates with different masks", "otherwise.png", "train/images/4.png (train)"),
        ("duplicate across splits", "leaked.png", "train/images/0.png (train)"),
        ("near duplicate across splits", "nearly leaked.png", "train/images/1.png (train)"),
        ("class missing from split", "road", "val has no pixel"),
    ):
        assert any(name in message and words in message for message in messages[kind]), (kind, name, messages[kind])
    assert report.serious
    assert sum(map(len, messages.values())) == 20  # and no other finding
    json.dumps(report.as_dict())


def test_a_leak_alone_is_serious_and_a_repetition_is_not(tree):
    tree.add("train", "nearly again", cv2.convertScaleAbs(picture(1), alpha=0.7))
    report = tree.examine()
    assert [finding.kind for finding in report.findings] == ["near duplicates"] and not report.serious
    tree.add("val", "similar", cv2.addWeighted(picture(2), 0.55, picture(500), 0.45, 0))
    report = tree.examine()
    (message,) = (finding.message for finding in report.findings if finding.kind == "similar images across splits")
    assert "similar.png (val) resembles" in message and "2.png (train), similarity 0.7" in message
    assert not report.serious
    tree.add("val", "nearly leaked", cv2.convertScaleAbs(picture(2), alpha=0.7))
    assert tree.examine().serious


def test_a_split_that_can_not_be_listed_leaves_the_others(tree):
    sound = folder(tree.root, ("sky", "road"), images="train/images", masks="train/masks")
    report = examine_splits({"train": sound, "val": UserError("no directory val")})
    assert [(f.kind, f.split, f.message) for f in report.findings] == [("unusable split", "val", "no directory val")]
    assert report.serious and set(report.splits) == {"train"}
    assert report.sources == {"train": sound}


def test_what_a_split_is_made_of(tmp_path):
    image = np.zeros((2, 4, 3), np.uint8)
    image[:, 2:] = (0, 102, 255)  # BGR on disk: red 1.0, green 0.4
    write(tmp_path / "i" / "a.png", image)
    write(tmp_path / "m" / "a.png", np.array([[0, 0, 0, 1], [0, 0, 255, 255]], np.uint8))
    split = examine_splits({"train": folder(tmp_path, ("a", "b", "c"), images="i", masks="m")}).splits["train"]
    assert split.mean == [0.5, 0.2, 0] and split.std == [0.5, 0.2, 0]
    assert split.labelled == 0.75
    assert split.pixels == {"a": 5, "b": 1, "c": 0} and split.images_with == {"a": 1, "b": 1, "c": 0}
    # Frequencies 5/8 and 1/8, median 3/8.
    assert split.median_frequency_weights == [0.6, 3.0, 0.0]


def test_a_set_without_files_is_checked_too():
    assert not examine_splits({"train": Scenes("train", 8, (48, 64))}).serious


def test_an_unforeseen_error_is_a_finding():
    class Defective(Scenes):
        def read(self, index):
            raise RuntimeError("boom")

    (finding,) = examine_splits({"val": Defective("val", 1, (48, 64))}).findings
    assert "RuntimeError: boom" in finding.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read(tree):
    tree.image("train", 2).chmod(0)
    assert any("Permission denied" in finding.message for finding in tree.examine().findings)
