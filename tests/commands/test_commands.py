"""Commands, called as from the command line: a life cycle, and every mistake a user can make."""

import json
import os
import re

import cv2
import numpy as np
import pytest
import torch
import yaml
from support import ROOT, write

import segdla
from segdla.checkpoints.checkpoint import read_checkpoint
from segdla.checkpoints.find import SHIPPED
from segdla.data.images import read_mask
from segdla.errors import UserError


@pytest.fixture
def trained(tool, two_folders, tmp_path):
    """A run of one epoch (two steps) on two folders."""
    assert tool("train")(two_folders, "--name", "first") == 0
    return tmp_path / "runs" / "first"


def test_train_test_predict(trained, tool, tmp_path, capsys):
    capsys.readouterr()
    assert tool("test")("--multiscale", "--flip", "--save-masks", tmp_path / "masks") == 0
    output = capsys.readouterr().out
    assert "runs/first/best.safetensors" in output.replace("\n", "")
    result = json.loads((trained / "eval_val_multiscale_flip.json").read_text(encoding="utf-8"))
    assert set(result["iou"]) == set(read_checkpoint(trained / "best.safetensors").card.classes.names)
    assert 0 <= result["mean_iou"] <= 1 and 0 <= result["pixel_accuracy"] <= 1
    assert result["settings"]["scales"] == [0.5, 0.75, 1.0, 1.25, 1.5]
    assert sorted(p.name for p in (tmp_path / "masks" / "ids").iterdir()) == ["scene 4.png", "scene 5.png"]

    photo = tmp_path / "Straße 1.jpg"
    write(photo, np.zeros((33, 47, 3)))
    write(tmp_path / "album" / "sub" / "a.png", np.zeros((20, 30, 3)))
    assert tool("predict")(photo, tmp_path / "album", "--output", "out", "--output-kind", "ids,color,overlay") == 0
    assert read_mask(tmp_path / "out" / "ids" / "Straße 1.png").shape == (33, 47)
    assert read_mask(tmp_path / "out" / "ids" / "sub" / "a.png").shape == (20, 30)
    assert cv2.imread(str(tmp_path / "out" / "color" / "sub" / "a.png")).shape == (20, 30, 3)
    assert cv2.imread(str(tmp_path / "out" / "overlay" / "sub" / "a.png")).shape == (20, 30, 3)
    assert cv2.imread(str(tmp_path / "out" / "legend.png")) is not None

    image = np.zeros((33, 47, 3), np.uint8)
    np.testing.assert_array_equal(
        segdla.load(trained).predict(image), read_mask(tmp_path / "out" / "ids" / "Straße 1.png")
    )


def test_single_scale_score_is_the_one_of_training(trained, tool):
    assert tool("test")(trained) == 0
    result = json.loads((trained / "eval_val.json").read_text(encoding="utf-8"))
    assert result["mean_iou"] == pytest.approx(read_checkpoint(trained / "best.safetensors").card.scores.mean_iou)


def test_training_validates_as_the_config_says_that_images_are_seen(tool, two_folders, tmp_path):
    assert tool("train")(two_folders, "eval.window=[24, 32]", "--name", "windows") == 0
    run = tmp_path / "runs" / "windows"
    assert tool("test")(run) == tool("test")(run, "eval.window=whole") == 0
    windows, whole = (
        json.loads((run / f"{name}.json").read_text(encoding="utf-8")) for name in ("eval_val_window", "eval_val")
    )
    assert windows["mean_iou"] == pytest.approx(read_checkpoint(run / "best.safetensors").card.scores.mean_iou)
    assert windows["iou"] != whole["iou"]


def test_evaluating_again_overwrites_nothing(trained, tool):
    assert tool("test")(trained) == tool("test")(trained, "eval.merge=probs") == 0
    assert (trained / "eval_val.json").is_file() and (trained / "eval_val-2.json").is_file()


def test_a_window_of_at_least_the_image_changes_nothing(trained, tool):
    tool("test")(trained)
    tool("test")(trained, "--window", 64, 64)
    plain, by_windows = (
        json.loads((trained / n).read_text(encoding="utf-8")) for n in ("eval_val.json", "eval_val_window.json")
    )
    assert plain["iou"] == by_windows["iou"]


def test_two_steps_resumed_to_four(trained, tool):
    assert torch.load(trained / "last.pt", weights_only=True)["step"] == 2
    assert tool("train")("--resume", trained, "train.epochs=2") == 0
    assert torch.load(trained / "last.pt", weights_only=True)["step"] == 4
    records = [json.loads(line) for line in (trained / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [r["step"] for r in records if "loss" in r] == [1, 2, 3, 4]
    assert {path.name for path in trained.glob("scores*.json")} == {"scores.json", "scores-2.json"}
    assert yaml.safe_load((trained / "config.yaml").read_text(encoding="utf-8"))["train"]["epochs"] == 2


def test_a_second_run_of_a_config_gets_a_name_of_its_own(tool, two_folders, tmp_path):
    tool("train")(two_folders)
    tool("train")(two_folders)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["two_folders", "two_folders-2"]


def test_a_run_learns(tool, two_folders, tmp_path):
    """Twenty steps on the same four images, which are all there is to learn, so that luck has no part in it.

    The last loss is 0.52 with a standard deviation of 0.03 over ten seeds, on AVX2 and without it. A network that knew
    the classes' shares, but did not look at the images, would come to their entropy, 1.82.
    """
    same_images = ("crop=[40, 56]", "augment.scale=[1, 1]", "augment.flip=0", "augment.jitter=0")
    train = ("batch_size=4", "epochs=20", "eval_every=20", "optimizer=adamw", "lr=0.003")
    words = [*(f"data.{word}" for word in same_images), *(f"train.{word}" for word in train)]
    assert tool("train")(two_folders, *words) == 0
    records = (tmp_path / "runs" / "two_folders" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [record["loss"] for record in map(json.loads, records) if "loss" in record]
    assert len(losses) == 20
    assert losses[-1] < 0.9  # more than ten standard deviations away


def test_the_quickstart_runs_at_any_size(tool):
    small = ["data.size=[32, 48]", "data.crop=[32, 32]", "data.train=4", "data.val=2", "data.workers=0"]
    assert tool("train")(ROOT / "configs" / "quickstart.yaml", *small, "train.epochs=1", "train.device=cpu") == 0
    assert tool("test")("--multiscale") == 0


def test_learning_other_classes_from_the_network_that_comes_along(tool, two_folders, capsys):
    assert tool("train")(two_folders, f"model.weights={SHIPPED}", "model.output_stride=4", "--name", "tuned") == 0
    assert "the classifier starts at random" in capsys.readouterr().out


def test_training_from_weights(trained, tool, two_folders):
    assert tool("train")(two_folders, f"model.weights={trained / 'best.safetensors'}", "--name", "second") == 0


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_a_cache_changes_no_number(trained, tool, two_folders, tmp_path, cache):
    words = (f"data.cache={cache}", f"data.cache_folder={tmp_path / 'cache'}", "data.workers=1")
    assert tool("train")(two_folders, *words, "--name", "second") == 0
    assert len(list((tmp_path / "cache").glob("*.raw"))) == (6 if cache == "disk" else 0)
    first, second = (read_checkpoint(tmp_path / "runs" / name / "best.safetensors") for name in ("first", "second"))
    assert all(torch.equal(first.state_dict[key], second.state_dict[key]) for key in first.state_dict)


# What a user can do wrong: exit status 2, one line that names the thing and the remedy, nothing left behind.


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.lrr=1"], "did you mean 'train.lr'"),
        (["train.epochs=many"], "'train.epochs' is 'many'"),
        (["data.root=nowhere"], "nowhere/train/images"),
        (["train.device=tpu"], "device 'tpu'"),
        (["model.weights=none.pth"], "no weights file at none.pth"),
        (["data.augment.transforms=[{Blurr: {}}]"], "did you mean Blur"),
        (["loss.class_weights=[1]"], "1 numbers for 9 classes"),
        (["--name", "x", "--resume", "runs/none"], "leave out --name"),
        (["--sped"], "--sped"),
    ],
)
def test_wrong_words_to_train(fails, two_folders, tmp_path, words, message):
    assert message in fails("train", two_folders, *words)
    assert not (tmp_path / "runs").exists()


def test_training_needs_a_config(fails):
    assert "configs/quickstart.yaml" in fails("train")


def test_resuming_what_is_no_run(fails, trained):
    assert "runs/none" in fails("train", "--resume", "runs/none")
    assert "has done its 1 epochs; to go on, add train.epochs=2" in fails("train", "--resume", trained)
    assert "does not fit" in fails("train", "--resume", trained, "train.epochs=2", "model.output_stride=4")


def test_a_name_that_is_taken(fails, trained, two_folders):
    assert "runs/first exists; choose another name (--name), or resume it" in fails(
        "train", two_folders, "--name", "first"
    )
    (trained / "config.yaml").unlink()  # killed before there was any
    assert "or remove it: it holds no run" in fails("train", two_folders, "--name", "first")


def change_mask(path, change):
    mask = read_mask(path)
    write(path, change(mask))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mask: np.where(mask == 2, 40, mask), "label id 40 ("),
        (lambda mask: mask[:-1], "is 40x56 (height x width) but its mask"),
        (lambda mask: np.dstack([mask] * 3), "3-channel, 8-bit"),
    ],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_wrong_masks(fails, two_folders, tmp_path, change, message, workers):
    change_mask(tmp_path / "set" / "train" / "masks" / "scene 2.png", change)
    answer = fails("train", two_folders, f"data.workers={workers}")
    assert message in answer and "scene 2.png" in answer and "segdla check" in answer
    assert not list((tmp_path / "runs").glob("*"))


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_an_unreadable_image(fails, two_folders, tmp_path, content):
    (tmp_path / "set" / "train" / "images" / "scene 1.png").write_bytes(content)
    assert "scene 1.png is not an image" in fails("train", two_folders)


def test_an_image_without_mask(fails, two_folders, tmp_path):
    (tmp_path / "set" / "val" / "masks" / "scene 4.png").unlink()
    assert "no mask for" in fails("train", two_folders)


def test_an_empty_split(fails, two_folders, tmp_path):
    for path in (tmp_path / "set" / "val" / "images").iterdir():
        path.unlink()
    assert "no images in" in fails("train", two_folders)


def test_an_unreadable_image_among_those_to_be_cached(fails, two_folders, tmp_path, monkeypatch):
    # It would have seen the image first.
    monkeypatch.setattr("segdla.training.own.from_config.quick_check", lambda source: None)
    (tmp_path / "set" / "train" / "images" / "scene 1.png").write_bytes(b"")
    words = ("data.cache=disk", f"data.cache_folder={tmp_path / 'cache'}")
    assert "scene 1.png is not an image" in fails("train", two_folders, *words)
    assert not (tmp_path / "runs").exists()


def network_of(answer):
    """The line that says which network predicts, and why."""
    return next(line for line in answer.splitlines() if ".safetensors" in line)


def test_photographs_are_never_predicted_by_a_network_of_drawn_scenes(tool, two_folders, tmp_path, capfd):
    """Before any run and after a quickstart the network that comes along predicts; after another run, that one does."""
    write(tmp_path / "a.png", np.zeros((40, 56, 3)))
    predict = ("a.png", "--device", "cpu", "--output-kind", "ids")
    assert tool("predict")(*predict) == 0
    line = network_of(capfd.readouterr().out)
    assert str(SHIPPED) in line and "comes along" in line and "no run yet" in line
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    small = ["data.size=[32, 48]", "data.crop=[32, 32]", "data.train=2", "data.val=2", "data.workers=0"]
    assert tool("train")("quickstart", *small, "train.epochs=1", "train.batch_size=2", "train.device=cpu") == 0
    capfd.readouterr()
    assert tool("predict")(*predict) == 0
    line = network_of(capfd.readouterr().out)
    assert str(SHIPPED) in line and "runs/quickstart knows drawn scenes alone" in line
    assert tool("predict")(*predict, "--checkpoint", "runs/quickstart") == 0  # named, it may
    assert "runs/quickstart/best.safetensors" in network_of(capfd.readouterr().out)
    assert tool("train")(two_folders) == 0
    os.utime(tmp_path / "runs" / "quickstart" / "best.safetensors")  # the newest run all the same
    capfd.readouterr()
    assert tool("predict")(*predict) == 0
    line = network_of(capfd.readouterr().out)
    assert "runs/two_folders/best.safetensors" in line and "but for runs/quickstart" in line
    assert len(list(tmp_path.glob("predictions*/ids/a.png"))) == 4


def test_nothing_to_test_or_predict_with(fails, tmp_path):
    assert "no run or checkpoint at runs/none" in fails("test", "runs/none")
    (tmp_path / "notes.txt").write_text("not a checkpoint", encoding="utf-8")
    assert "notes.txt is not a checkpoint" in fails("test", "notes.txt")


def test_a_checkpoint_for_other_classes(fails, trained):
    answer = fails("test", trained, "data.classes=[sky, road]")
    assert "was trained for the classes sky, building" in answer and "has sky, road" in answer


def test_a_window_of_no_size(fails):
    assert "'0' is not a whole number above 0" in fails("test", "--window", 0, 64)


def test_a_split_that_is_not_there(fails, trained):
    assert "no data.test" in fails("test", trained, "--split", "test")


def test_inputs_that_are_not_there(fails, trained):
    assert "no image, video, folder or match for none.jpg" in fails("predict", "none.jpg")


def test_inputs_that_would_overwrite_each_other(fails, trained, tmp_path):
    for name in ("a/x.png", "b/x.jpg"):
        write(tmp_path / name, np.zeros((8, 8, 3)))
    assert "would both become x.png" in fails("predict", "a/x.png", "b/x.jpg")


def test_masks_in_place_of_the_truth(fails, trained, tmp_path):
    val = tmp_path / "set" / "val"
    (val / "masks").rename(val / "ids")
    message = fails("test", trained, "data.val.masks=val/ids", "--save-masks", val)
    assert "is the data set's and would be overwritten" in message


def test_outputs_in_place_of_inputs(fails, trained, tmp_path):
    write(tmp_path / "scene" / "color" / "x.png", np.zeros((8, 8, 3)))
    before = (tmp_path / "scene" / "color" / "x.png").read_bytes()
    assert "x.png would be written over" in fails("predict", "scene/color", "--output", "scene")
    (tmp_path / "link").symlink_to("scene")
    assert "x.png would be written over" in fails("predict", "scene/color/x.png", "--output", "link")
    assert (tmp_path / "scene" / "color" / "x.png").read_bytes() == before


def test_nothing_is_left_where_nothing_was_done(tool, trained, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    assert tool("predict")("bad.png") == 2
    assert not (tmp_path / "predictions").exists()
    (tmp_path / "mine").mkdir()
    assert tool("predict")("bad.png", "--output", "mine") == 2
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_second_call_does_not_take_the_first_one_s_outputs(tool, trained, tmp_path, capfd):
    write(tmp_path / "album" / "x.png", np.zeros((8, 8, 3)))
    for _ in range(2):
        assert tool("predict")("album", "--output", "album/made") == 0
        assert "1 of 1 predicted" in capfd.readouterr().out


def test_a_broken_image_among_good_ones(trained, tool, tmp_path, capfd):
    write(tmp_path / "album" / "good.png", np.zeros((8, 8, 3)))
    (tmp_path / "album" / "bad.png").write_bytes(b"no image")
    assert tool("predict")("album") == 1  # the rest was done
    assert "bad.png is not an image" in capfd.readouterr().err
    assert (tmp_path / "predictions" / "color" / "good.png").is_file()
    assert tool("predict")("album/bad.png") == 2  # nothing was


def test_debug_shows_the_traceback(tool):
    with pytest.raises(UserError):
        tool("test")("--debug")


def test_a_network_is_measured(tool, tmp_path, capfd):
    words = ("--size", 32, 48, "--seconds", 0, "--backends", "eager", "--device", "cpu", "--json", tmp_path / "x.json")
    assert tool("benchmark")(ROOT / "configs" / "quickstart.yaml", *words) == 0
    assert re.search(r"1\.30 M parameters, 0\.\d+ GMAC at 32x48", capfd.readouterr().out)
    output = json.loads((tmp_path / "x.json").read_text())
    assert set(output["backends"]) == {"eager fp32"} and output["machine"]["threads"] == torch.get_num_threads()


def test_a_measurement_that_can_not_be_kept_is_not_begun(fails, tmp_path):
    (tmp_path / "x.json").touch()
    words = (ROOT / "configs" / "quickstart.yaml", "--json")
    assert "x.json exists; choose another --json" in fails("benchmark", *words, tmp_path / "x.json")
    assert "no folder nowhere" in fails("benchmark", *words, "nowhere/x.json")


def test_a_measurement_out_of_memory(fails, monkeypatch):
    def too_large(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "randint", too_large)
    words = ("--backends", "eager", "--batch", 64, "--size", 64, 96, "--device", "cpu")
    message = fails("benchmark", ROOT / "configs" / "quickstart.yaml", *words)
    assert "lower batch (--batch, now 64) or size (--size, now 64x96)" in message
