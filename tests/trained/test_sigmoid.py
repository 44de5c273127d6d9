"""A network of head sigmoid, from its config to every use of it."""

import json

import numpy as np
import pytest
import yaml
from support import photo, write
from tiny_run import with_logits_around_0

import segdla
from segdla.checkpoints.checkpoint import read_card
from segdla.config import parse
from segdla.data.from_config import open_split
from segdla.errors import UserError


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A light square on dark ground; in a corner of each image nothing is known."""
    folder = tmp_path_factory.mktemp("squares")
    for index in range(8):
        mask = np.zeros((32, 48), np.uint8)
        mask[4:20, 4 * index : 4 * index + 16] = 1
        write(folder / "images" / f"{index}.png", 40 + 160 * np.repeat(mask[..., None], 3, axis=2))
        mask[-4:, -4:] = 255
        write(folder / "masks" / f"{index}.png", mask)
    split = {"images": "images", "masks": "masks"}
    path = folder / "squares.yaml"
    values = {
        "data": {
            "dataset": "folder",
            "root": str(folder),
            "classes": ["ground", "square"],
            "train": split,
            "val": split,
        },
        "model": {"backbone": "dla46_c", "output_stride": 8, "head": "sigmoid"},
        "loss": {"dice": 0.5, "focal": 0.5, "class_weights": [1, 2]},
        "train": {"epochs": 1, "batch_size": 4, "lr": 1e-4, "report_every": 1, "device": "cpu"},
    }
    values["data"] |= {"crop": [32, 32], "workers": 0}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    return with_logits_around_0(segdla.train(config, runs=tmp_path_factory.mktemp("runs")).folder)


def test_one_logit_is_trained_and_scored_as_two_classes(run):
    losses = [json.loads(line).get("loss") for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert all(0 < loss < 20 for loss in filter(None, losses))
    assert segdla.load(run, "cpu").model.classifier.out_channels == 1
    assert list(segdla.evaluate(run, device="cpu").iou) == ["ground", "square"]


def test_the_threshold_decides_and_the_colours_follow(run):
    image = photo(40, 56)
    probabilities = segdla.load(run, "cpu").probabilities(image)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-6)
    middle = float(np.median(probabilities[1]))
    segmenter = segdla.load(run, "cpu", threshold=middle)
    ids, confidence = segmenter.predict_with_confidence(image)
    clear = abs(probabilities[1] - middle) > 1e-5
    np.testing.assert_array_equal(ids[clear], (probabilities[1] > middle)[clear])
    np.testing.assert_allclose(confidence, np.take_along_axis(probabilities, ids[None], 0)[0], atol=1e-6)
    np.testing.assert_array_equal(segmenter.colorize(ids), np.array(segmenter.palette, np.uint8)[ids])


def test_a_fitted_threshold_is_kept_and_used_from_then_on(run, tool, capsys):
    before = segdla.evaluate(run, device="cpu")
    assert tool("test")(run, "--fit-threshold", "--fit-temperature", "--device", "cpu") == 0
    (threshold,) = read_card(run / "best.safetensors").thresholds
    said = capsys.readouterr().out
    assert f"threshold {threshold:.3f}, at which the IoU of square is " in said
    assert "the threshold is in the checkpoint, and used from now on" in said
    after = segdla.evaluate(run, device="cpu")
    assert after.iou["square"] > before.iou["square"]
    same = segdla.evaluate(run, device="cpu", overrides={"eval.threshold": 0.5})
    assert same.iou == before.iou
    assert segdla.load(run, "cpu").trained.head.threshold == threshold


def test_what_does_not_fit_is_refused(config, run, fails):
    assert "eval.threshold is what is to be fitted" in fails("test", run, "eval.threshold=0.4", "--fit-threshold")
    tempered = fails("test", run, "eval.temperature=2", "--fit-threshold")
    assert "a threshold is of probabilities before the temperature, here 2; fit it with" in tempered
    assert "less than 1" in fails("test", run, "eval.threshold=1")
    with pytest.raises(UserError, match=r"model.head sigmoid is for two classes, .* for 3, set it to softmax"):
        segdla.load_config(config, {"data.classes": ["a", "b", "c"]})
    nine = parse({"data": {"dataset": "scenes"}}, {"model.head": "sigmoid"})  # known only when the data are opened
    assert len(open_split(nine, "train").classes) == 9
    with pytest.raises(UserError, match=r"for two classes, .* for 9, set it to softmax"):
        segdla.train(nine)
