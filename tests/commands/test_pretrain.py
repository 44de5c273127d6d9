"""Whole images by command: pretrain, test, predict, and the commands that are for masks."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import yaml
from image_tree import draw_tree, values

from segdla.data.images import read_image
from segdla.training import log


@pytest.fixture
def run(tool, tmp_path, monkeypatch, capfd):
    """A run of one step, that ``segdla pretrain`` made in the current folder."""
    monkeypatch.setattr(log, "curves", lambda _: np.zeros((8, 8, 3), np.uint8))
    draw_tree(tmp_path / "tree", train=2, val=2)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values("tree", steps=1)), encoding="utf-8")
    assert tool("pretrain")("tiny.yaml") == 0
    assert "segdla test runs/tiny\n" in capfd.readouterr().out
    return tmp_path / "runs" / "tiny"


def test_it_is_scored_used_and_refused_where_masks_are_meant(run, tool, fails, capfd):
    assert tool("test")(run) == 0
    scores = json.loads((run / "eval_val.json").read_text())
    assert f"val, 6 images: top-1 {100 * scores['top1']:.2f} %" in capfd.readouterr().out
    assert scores["images"] == 6 and "top5" not in scores
    assert tool("predict")("tree/val", "--checkpoint", run, "--output", "out") == 0
    assert "6 of 6 predicted" in capfd.readouterr().out
    best = json.loads((run.parents[1] / "out" / "labels" / "red" / "0.json").read_text())["best"]
    assert {one["class"] for one in best} == {"blue", "green", "red"}
    shares = [one["probability"] for one in best]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1, abs=1e-5)
    height, width, _ = read_image(run.parents[1] / "out" / "overlay" / "red" / "0.png").shape
    assert height > 40 + 3 * 18 and width == 240
    for words in (("test", run, "--flip"), ("test", run, "--save-masks", "m"), ("predict", "tree", "--no-legend")):
        assert "is for masks" in fails(*words)
    # serve and report open networks as segdla.load does.
    check = "check_data", "tiny.yaml", "--model", run
    for words in (("export", run), ("write_report", run), ("compare", run, "tiny.json"), check):
        assert "labels whole images" in fails(*words), words
    if find_spec("onnx"):
        assert "onnx is for networks for masks" in fails("benchmark", run, "--backends", "onnx")


def test_a_teacher_takes_images_and_no_config(fails):
    for words in (["--teacher", "timm/x"], ["--images", "x"], ["--teacher", "x", "--images", "x", "quickstart"]):
        assert "--teacher NAME and --images DIR go together, without CONFIG" in fails("pretrain", *words)
    assert "no directory" in fails("pretrain", "--teacher", "x", "--images", "nowhere", "train.epochs=1")


def test_masks_are_refused_and_none_proposed(fails):
    assert "such as configs/imagenet_dla34.yaml, --resume a run" in fails("pretrain")
    assert "quickstart has masks (data.dataset scenes)" in fails("pretrain", "quickstart")
