"""Whole images by command: pretrain, test, predict, and the commands that are for masks."""

import json

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
    for words in (("write_report", run), ("compare", run, "tiny.json"), check):
        assert "labels whole images" in fails(*words), words


def test_it_is_exported_and_used_in_this_form(run, tool, fails, capfd):
    out = run.parents[1] / "exported"
    assert tool("export")(run, "--format", "torch") == 0
    assert "top-1 on 6 validation images" in capfd.readouterr().out
    answers = []
    for file in ("best.pt2", "best.safetensors"):
        assert tool("predict")("tree/val/red/0.png", "--checkpoint", run / file, "--output", out / file) == 0
        assert tool("test")(run / file) == 0
        (answer,) = (out / file / "labels").iterdir()
        answers.append(json.loads(answer.read_text())["best"])
    ours, theirs = ({one["class"]: one["probability"] for one in best} for best in answers)
    assert list(ours) == list(theirs) and ours == pytest.approx(theirs, abs=1e-4)
    first, second = (json.loads(path.read_text()) for path in run.glob("eval_val*.json"))
    assert first["top1"] == second["top1"]
    assert "sees images of 32x32, as it was exported" in fails("test", run / "best.pt2", "data.crop=[20,20]")
    assert "leave out the size (--size)" in fails("export", run, "--size", 64, 64)
    assert "labels whole images" in fails("serve", run / "best.pt2")
    assert "is for images of 32x32, not of 64x64 (--size)" in fails("benchmark", run / "best.pt2", "--size", 64, 64)


def test_it_is_measured_and_scored_in_every_form(run, tool, capfd):
    assert tool("export")(run, "--format", "torch") == tool("test")(run) == 0
    expected = json.loads((run / "eval_val.json").read_text())["top1"]
    for name, subject in (("eager fp32", run), (".pt2 fp32", run / "best.pt2")):
        chosen = ("--backends", "eager") if subject == run else ()
        assert tool("benchmark")(subject, "--seconds", 0, "--json", f"{subject.name}.json", *chosen) == 0
        figures = json.loads((run.parents[1] / f"{subject.name}.json").read_text())["backends"][name]
        assert figures["top1"] == expected and figures["size"] == [32, 32]
        assert "top-1" in capfd.readouterr().out
    assert tool("benchmark")(run, "--seconds", 0, "--backends", "eager", "--size", 64, 64) == 0
    assert "not scored: a network that labels whole images is scored at data.crop" in capfd.readouterr().out


def test_a_teacher_takes_images_and_no_config(fails):
    for words in (["--teacher", "timm/x"], ["--images", "x"], ["--teacher", "x", "--images", "x", "quickstart"]):
        assert "--teacher NAME and --images DIR go together, without CONFIG" in fails("pretrain", *words)
    assert "no directory" in fails("pretrain", "--teacher", "x", "--images", "nowhere", "train.epochs=1")


def test_masks_are_refused_and_none_proposed(fails):
    assert "such as configs/imagenet_dla34.yaml, --resume a run" in fails("pretrain")
    assert "quickstart has masks (data.dataset scenes)" in fails("pretrain", "quickstart")
