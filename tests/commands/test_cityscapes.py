"""Cityscapes end to end: trained, scored by both evaluators, submitted; and a tree that isn't as it should be."""

import json
import zipfile

import numpy as np
import pytest
from cityscapes_tree import write_tree
from processes import run_together
from support import ROOT, run_tool, write

from segdla.checkpoints.checkpoint import read_checkpoint


@pytest.fixture
def tree(tmp_path, monkeypatch):
    write_tree(tmp_path / "set", train=3, val=2, test=3)
    monkeypatch.setenv("CITYSCAPES_DATASET", str(tmp_path / "set"))
    return tmp_path / "set"


SMALL = (
    "data.crop=[32, 64]", "data.workers=0", "train.epochs=1", "train.batch_size=2", "train.device=cpu",
    "train.precision=fp32", "model.backbone=dla46_c", "model.output_stride=8",
)  # fmt: skip


@pytest.fixture
def run(tool, tree, tmp_path):
    assert tool("train")(ROOT / "configs" / "cityscapes_dla34.yaml", *SMALL) == 0
    return tmp_path / "runs" / "cityscapes_dla34"


def result(run, name):
    return json.loads((run / f"{name}.json").read_text(encoding="utf-8"))


def test_trained_scored_and_submitted(run, tool, tree, tmp_path, capsys):
    assert tool("test")("--multiscale") == 0
    output = capsys.readouterr().out
    assert "official" in output and "iIoU %" in output and "mean (categories)" in output
    scores = result(run, "eval_val_multiscale")
    assert len(scores["iou"]) == 19 and scores["settings"]["protocol"] == "Cityscapes 19 classes"
    assert scores["official"]["mean_iou"] == pytest.approx(scores["mean_iou"], abs=1e-9)
    assert scores["official"]["mean_category_iou"] == pytest.approx(scores["mean_category_iou"], abs=1e-9)
    assert set(scores["official"]["instance_iou"]) == set(scores["iou"])

    assert tool("test")("--split", "test", "--multiscale", "--submission", tmp_path / "out.zip") == 0
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        images = [path.name for path in (tree / "leftImg8bit" / "test").rglob("*.png")]
        assert sorted(archive.namelist()) == sorted(images)


def test_low_memory_scores_the_same(run, tool):
    assert tool("test")("--multiscale", "--flip") == tool("test")("--multiscale", "--flip", "eval.low_memory=true") == 0
    name = "eval_val_multiscale_flip"
    assert result(run, name)["iou"] == result(run, f"{name}-2")["iou"]


def test_a_submission_goes_on(run, tool, tree, tmp_path, capsys):
    image = sorted((tree / "leftImg8bit" / "test").rglob("*.png"))[-1]
    content = image.read_bytes()
    image.write_bytes(b"broken")
    out = tmp_path / "out.zip"
    assert tool("test")("--split", "test", "--submission", out) == 2
    assert not out.exists() and len(list(tmp_path.glob("out.zip.parts/*.png"))) == 1
    image.write_bytes(content)
    capsys.readouterr()
    assert tool("test")("--split", "test", "--submission", out) == 0
    assert "3 predictions, 1 of them from before" in capsys.readouterr().out
    assert not (tmp_path / "out.zip.parts").exists()


def test_a_submission_that_goes_on_writes_every_mask(run, tool, tree, tmp_path):
    image = sorted((tree / "leftImg8bit" / "test").rglob("*.png"))[-1]
    content = image.read_bytes()
    image.write_bytes(b"broken")
    out = tmp_path / "out.zip"
    assert tool("test")("--split", "test", "--submission", out) == 2
    image.write_bytes(content)
    assert tool("test")("--split", "test", "--save-masks", tmp_path / "expected") == 0
    expected = {path.name: path.read_bytes() for path in (tmp_path / "expected" / "ids").rglob("*.png")}
    done = next(tmp_path.glob("out.zip.parts/*.png")).name
    write(tmp_path / "masks" / "ids" / done, np.zeros((3, 3), np.uint8))  # another network's
    assert tool("test")("--split", "test", "--submission", out, "--save-masks", tmp_path / "masks") == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "masks" / "ids").rglob("*.png")} == expected


def test_two_processes_score_and_submit_as_one(run, tool, tree, tmp_path):
    assert run_together(run_tool, "test", run, f"data.root={tree}", "--device", "cpu") == [0, 0]
    assert tool("test")(run, "--device", "cpu") == 0
    assert result(run, "eval_val")["official"] == result(run, "eval_val-2")["official"]
    words = (run, f"data.root={tree}", "--device", "cpu", "--split", "test", "--submission", tmp_path / "out.zip")
    assert run_together(run_tool, "test", *words) == [0, 0]
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert len(archive.namelist()) == 3


def test_train_ids_alone_are_scored_by_us_alone(run, tool, tree):
    from segdla.data.cityscapes import cityscapes

    source = cityscapes(tree, "val")
    paths = [source.files(index)[1] for index in range(len(source))]
    for index, path in enumerate(paths):
        write(path.with_name(path.name.replace("labelIds", "labelTrainIds")), source.read(index)[1])
    for path in paths:
        path.unlink()
    assert tool("test")(run) == 0
    assert "official" not in result(run, "eval_val")
    in_training = read_checkpoint(run / "best.safetensors").card.scores.mean_iou
    assert result(run, "eval_val")["mean_iou"] == pytest.approx(in_training)


def test_masks_of_the_test_split_need_no_score(run, tool, tmp_path):
    assert tool("test")("--split", "test", "--save-masks", tmp_path / "masks") == 0
    assert len(list((tmp_path / "masks" / "ids").iterdir())) == 3
    assert not list(run.glob("eval_*"))


def test_wrong_words(fails, run, two_folders, tool, tmp_path):
    assert "--submission out.zip, or score --split val" in fails("test", run, "--split", "test")
    for option in ("--fit-temperature", "--report"):
        words = ("test", run, "--split", "test", option)
        assert "--submission out.zip, or score --split val" in fails(*words, "--save-masks", "masks")
        assert f"--submission scores nothing, so leave out {option}" in fails(*words, "--submission", "out.zip")
    assert "takes a .zip" in fails("test", run, "--split", "test", "--submission", "out.tar")
    (tmp_path / "taken.zip").write_bytes(b"")
    assert "taken.zip exists" in fails("test", run, "--split", "test", "--submission", "taken.zip")
    tool("train")(two_folders, "--name", "other")
    assert "--submission is for Cityscapes" in fails("test", tmp_path / "runs" / "other", "--submission", "out.zip")


def first(tree, pattern):
    return sorted(tree.rglob(pattern))[0]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda tree: first(tree / "gtFine" / "val", "*_labelIds.png").unlink(), "1 of 2 masks are missing, such as"),
        (
            lambda tree: write(first(tree / "gtFine" / "val", "*_labelIds.png"), np.zeros((40, 55), np.uint8)),
            "but its mask",
        ),
        (
            lambda tree: write(first(tree / "gtFine" / "val", "*_labelIds.png"), np.zeros((40, 56, 3), np.uint8)),
            "3-channel, 8-bit",
        ),
        (
            lambda tree: write(first(tree / "gtFine" / "val", "*_labelIds.png"), np.full((40, 56), 77, np.uint8)),
            "label id 77 (2240 pixels)",
        ),
        (lambda tree: first(tree / "leftImg8bit" / "val", "*.png").write_bytes(b"\x89PNG"), "is not an image"),
    ],
    ids=["missing", "size", "mode", "id", "broken"],
)
def test_a_tree_that_is_not_as_it_should_be(fails, run, tree, spoil, message):
    spoil(tree)
    output = fails("test", run)
    assert message in output and "aachen_000000_000019" in output
    assert not list(run.glob("eval_*"))
