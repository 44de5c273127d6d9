"""A teacher on a folder of images: its features are learned, without labels and classes."""

import json
import math

import numpy as np
import pytest
import torch
import yaml
from support import photo, write
from tiny_run import TINY, assert_same_run, small_network, stop_at_step, use_small_networks

import segdla
from segdla.checkpoints.checkpoint import read_checkpoint
from segdla.config import ModelConfig, parse
from segdla.evaluation.evaluator import Prediction
from segdla.evaluation.feature_scores import FeatureLikeness, FeatureScores
from segdla.models.from_config import load_initial_weights
from segdla.training import log


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch):
    use_small_networks(monkeypatch)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A folder of images, and a network that was trained for masks."""
    folder = tmp_path_factory.mktemp("places")
    for index in range(9):
        write(folder / "images" / f"{index}.png", photo(40, 48, seed=index))
    with pytest.MonkeyPatch.context() as patch:
        use_small_networks(patch)
        patch.setattr(log, "curves", lambda _: np.zeros((8, 8, 3), np.uint8))
        config = segdla.Config.model_validate(yaml.safe_load(TINY))
        return folder / "images", segdla.train(config, name="teacher", runs=folder).folder


def config(places, **changes):
    images, teacher = places
    data = {"dataset": "images", "images": str(images), "crop": [32, 32], "resize": 36, "held_out": 0.2, "workers": 0}
    train = {"epochs": 5, "batch_size": 4, "optimizer": "adamw", "lr": 0.02, "report_every": 1, "device": "cpu"}
    train |= {"teacher": str(teacher), "seed": 1, "ema": 0.5}
    return parse({"data": data | changes, "train": train, "eval": {"batch_size": 2}})


def test_the_features_are_learned_and_networks_for_masks_start_from_them(places, tmp_path, capsys):
    run = segdla.train(config(places), name="learned", runs=tmp_path).folder
    said = capsys.readouterr().out
    assert "teaches features at strides 4, 8 (weight 0.5)\n" in said and "7 images to train on, 2 to validate" in said
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if "loss" in record]
    scores = [record["correlation"] for record in records if "correlation" in record]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:2])
    card = read_checkpoint(run / "best.safetensors").card
    assert card.scores == FeatureScores(max(scores), 2, "val") and max(scores) > scores[0]
    started, kept = small_network(5), read_checkpoint(run / "best.safetensors").state_dict
    load_initial_weights(started, ModelConfig(weights=str(run)))
    assert all(torch.equal(tensor, kept[f"backbone.{name}"]) for name, tensor in started.backbone.state_dict().items())
    for use in (segdla.load, segdla.load_classifier):
        with pytest.raises(segdla.UserError, match="has learned a teacher's features alone, and knows no classes"):
            use(run)


def test_features_that_are_not_finite_are_answered_with_what_helps(places, tmp_path, monkeypatch):
    monkeypatch.setattr(FeatureLikeness, "result", lambda _: math.nan)
    with pytest.raises(segdla.UserError, match=r"not finite on the validation images; lower train\.lr") as answer:
        segdla.train(config(places), runs=tmp_path)
    assert "masks" not in str(answer.value)


def test_a_stopped_run_resumes_to_the_same_bits(places, tmp_path, monkeypatch):
    whole = segdla.train(config(places), name="whole", runs=tmp_path)
    stop_at_step(3, monkeypatch)
    stopped = segdla.train(config(places), name="stopped", runs=tmp_path)
    assert not stopped.finished
    assert segdla.resume(stopped).finished
    assert_same_run(whole.folder, stopped.folder)


def test_what_lacks_is_answered(places, tmp_path):
    (tmp_path / "one").mkdir()
    write(tmp_path / "one" / "0.png", photo(40, 48))
    with pytest.raises(segdla.UserError, match="holds one image, and one is to be held out"):
        segdla.train(config(places, images=str(tmp_path / "one")), runs=tmp_path)
    with pytest.raises(segdla.UserError, match=r"data\.dataset images has no labels: set train\.teacher"):
        parse({"data": {"dataset": "images", "images": "x"}})
    with pytest.raises(segdla.UserError, match=r"augment\.mixup 1 mixes labels, which images have none of; leave"):
        config(places, augment={"mixup": 1})
    with pytest.raises(segdla.UserError, match=r"^train\.teacher: no run or checkpoint at nowhere"):
        segdla.train(config((places[0], "nowhere")), runs=tmp_path)


def test_batches_weigh_by_their_images():
    counts = FeatureLikeness(lambda images: images.mean())
    for images in (torch.full((3, 1), 0.2), torch.full((1, 1), 0.6)):
        counts.update(images, images, Prediction(images))
    assert counts.scores(()).correlation == pytest.approx(0.3)
