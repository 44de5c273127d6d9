"""A run on folders of classes: the loop of all runs, whose network others start from."""

import copy
import json
import shutil

import numpy as np
import pytest
import torch
from image_tree import draw_tree, values
from support import photo
from tiny_run import assert_same_run, small_network, stop_at_step, use_small_networks

import segdla
from segdla.checkpoints.checkpoint import read_checkpoint
from segdla.config import ModelConfig
from segdla.models.from_config import load_initial_weights
from segdla.training import log

MIXED = {"mixup": 0.2, "cutmix": 1.0}


def config(tree, **train):
    return segdla.Config.model_validate(values(tree, **train))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return draw_tree(tmp_path_factory.mktemp("data") / "tree")


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch):
    use_small_networks(monkeypatch)


@pytest.fixture(scope="module")
def run(tree, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        use_small_networks(patch)
        patch.setattr(log, "curves", lambda _: np.zeros((8, 8, 3), np.uint8))
        return segdla.train(config(tree, epochs=8, lr=0.02), name="shapes", runs=tmp_path_factory.mktemp("runs")).folder


def test_it_learns_and_says_so(run):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if "loss" in record]
    assert sum(losses[-4:]) < 0.7 * sum(losses[:4])
    scores = [record["top1"] for record in records if "top1" in record]
    card = read_checkpoint(run / "best.safetensors").card
    assert card.classes.names == ("blue", "green", "red") and card.classes.whole_images
    assert card.scores.top1 == max(scores) > 0.8
    assert len(list((run / "samples").iterdir())) == 8
    assert segdla.load_classifier(run).evaluate("val") == card.scores


def test_a_network_for_masks_starts_from_it(run):
    fresh = small_network(5)
    started = copy.deepcopy(fresh)
    load_initial_weights(started, ModelConfig(weights=str(run)))
    kept = read_checkpoint(run / "best.safetensors").state_dict
    assert all(torch.equal(tensor, kept[f"backbone.{name}"]) for name, tensor in started.backbone.state_dict().items())
    image = torch.from_numpy(photo(32, 32)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        assert not torch.allclose(fresh.eval().maps(image)[-1], started.eval().maps(image)[-1], rtol=0.1)


def test_a_stopped_run_resumes_to_the_same_bits(tree, tmp_path, monkeypatch):
    asked = config(tree, augment=MIXED)
    whole = segdla.train(asked, name="whole", runs=tmp_path)
    stop_at_step(4, monkeypatch)
    stopped = segdla.train(asked, name="stopped", runs=tmp_path)
    assert not stopped.finished
    assert segdla.resume(stopped).finished
    assert_same_run(whole.folder, stopped.folder)


def test_a_worker_hands_on_the_same_labels(tree, tmp_path):
    runs = []
    for workers in (0, 1):
        asked = values(tree, epochs=1)
        asked["data"]["workers"] = workers
        runs.append(segdla.train(segdla.Config.model_validate(asked), name=f"{workers}", runs=tmp_path).folder)
    assert_same_run(*runs)


def test_a_teacher_of_the_same_classes(tree, run, tmp_path, capsys):
    asked = config(tree, epochs=1, teacher=str(run))
    assert segdla.train(asked, name="taught", runs=tmp_path).finished
    assert "teaches logits (weight 1, temperature 4) and features at strides 4, 8" in capsys.readouterr().out


def test_an_image_that_cannot_be_read_is_answered_or_left_out(tree, tmp_path, capsys):
    broken = shutil.copytree(tree, tmp_path / "broken")
    (broken / "train" / "red" / "2.png").write_bytes(b"no picture")
    with pytest.raises(segdla.UserError, match=r"train/red/2\.png is not an image.*segdla check"):
        segdla.train(config(broken), runs=tmp_path)
    assert not (tmp_path / "run").exists()
    asked = values(broken, epochs=1)
    asked["data"]["unreadable"] = "skip"
    assert segdla.train(segdla.Config.model_validate(asked), runs=tmp_path).finished
    assert "left out: " in capsys.readouterr().out


@pytest.mark.parametrize("key", ["mixup", "cutmix"])
def test_a_loss_of_class_ids_is_not_mixed(tree, tmp_path, key):
    with pytest.raises(
        segdla.UserError, match=rf"data\.augment\.{key} 0\.5 mixes labels, and loss= takes class ids; set"
    ):
        segdla.train(config(tree, augment={key: 0.5}), runs=tmp_path, loss=lambda logits, targets: logits.sum())


def test_what_is_for_masks_is_refused(tree):
    for section, values_of, message in (
        ("loss", {"dice": 1}, r"loss\.dice is of masks; whole images have cross_entropy alone"),
        ("loss", {"class_weights": "enet"}, r"loss\.class_weights enet is counted in masks"),
        ("model", {"decoder": "ida"}, r"model\.decoder ida does not suit data\.dataset image_folder"),
        ("model", {"output_stride": 4}, "decoder pool gives one label an image"),
        ("model", {"network": "torchvision/fcn_resnet50", "decoder": "pool"}, "has no decoder"),
    ):
        with pytest.raises(segdla.UserError, match=message):
            segdla.config.parse({**values(tree), section: values_of})
