"""A network of classes that overlap, from their labels to every use of it."""

import json

import numpy as np
import pytest
import yaml
from exports import write_json
from support import photo, write
from tiny_run import with_logits_around_0

import segdla
from segdla.checkpoints.checkpoint import read_card
from segdla.data.images import read_image, read_mask
from segdla.errors import UserError

NAMES = ["car", "wheel", "glass"]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Polygons of cars with wheels on them, in four images, half of which are to train on."""
    folder = tmp_path_factory.mktemp("cars")
    images, annotations = [], []
    for index in range(4):
        write(folder / f"{index}.png", photo(32, 48, index))
        images.append({"id": index, "file_name": f"{index}.png", "height": 32, "width": 48})
        for category, (x, y, size) in enumerate([(4 + index, 4, 24), (8, 16, 8), (12, 6, 6)]):
            box = [x, y, x + size, y, x + size, y + size, x, y + size]
            facts = {"image_id": index, "category_id": category, "segmentation": [list(map(float, box))]}
            annotations.append({"id": len(annotations), "iscrowd": 0, **facts})
    categories = [{"id": i, "name": name} for i, name in enumerate(NAMES)]
    labels = write_json(
        folder / "labels.json", {"images": images, "categories": categories, "annotations": annotations}
    )
    for split, names in (("train", "0.png\n1.png"), ("val", "2.png\n3.png")):
        (folder / f"{split}.txt").write_text(names, encoding="utf-8")
    values = {
        "data": {
            "dataset": "annotations",
            "format": "coco",
            "labels": str(labels),
            "classes": NAMES,
            "overlap": "keep",
            "train": {"list": str(folder / "train.txt")},
            "val": {"list": str(folder / "val.txt")},
            "augment": {"rotate": 20, "balance": 0.5, "paste": 0.5},
            "crop": [32, 32],
            "workers": 0,
        },
        "model": {"backbone": "dla46_c", "output_stride": 8, "head": "sigmoid"},
        "loss": {"dice": 0.5, "focal": 0.5},
        "train": {"epochs": 1, "batch_size": 2, "lr": 1e-4, "report_every": 1, "device": "cpu"},
    }
    path = folder / "cars.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    return with_logits_around_0(segdla.train(config, runs=tmp_path_factory.mktemp("runs")).folder)


def test_each_class_is_scored(run):
    scores = segdla.evaluate(run, device="cpu")
    assert list(scores.iou) == list(scores.precision) == NAMES and not scores.other
    assert scores.mean_iou == pytest.approx(np.mean(list(scores.iou.values())))
    assert segdla.load(run, "cpu").model.classifier.out_channels == 3
    assert (run / "samples" / "step_0000001.png").exists()


def test_sets_follow_from_the_probabilities_and_the_last_class_is_drawn_on_top(run):
    image, segmenter = photo(40, 56), segdla.load(run, "cpu")
    probabilities, sets = segmenter.probabilities(image), segmenter.predict(image)
    assert probabilities.shape == (3, 40, 56) and len(np.unique(sets)) > 3
    np.testing.assert_array_equal(sets, ((probabilities > 0.5) << np.arange(3)[:, None, None]).sum(0))
    black_below = np.array([(0, 0, 0), *segmenter.palette], np.uint8)
    top = np.array([value.bit_length() for value in range(8)])[sets]
    np.testing.assert_array_equal(segmenter.colorize(sets), black_below[top])


def test_thresholds_are_fitted_class_by_class(run, tool, capsys):
    before = segdla.evaluate(run, device="cpu")
    assert tool("test")(run, "--fit-threshold", "--device", "cpu") == 0
    thresholds = read_card(run / "best.safetensors").thresholds
    said = capsys.readouterr().out
    assert all(f"threshold {t:.3f}, at which the IoU of {n} is" in said for t, n in zip(thresholds, NAMES, strict=True))
    after = segdla.evaluate(run, device="cpu")
    assert all(after.iou[name] >= before.iou[name] for name in NAMES) and after.mean_iou > before.mean_iou
    assert segdla.load(run, "cpu").trained.head.thresholds == thresholds


def test_prediction_writes_a_mask_for_each_class(run, tool, tmp_path):
    image = photo(40, 56)
    write(tmp_path / "a.png", image[..., ::-1])
    options = "--checkpoint", run, "--device", "cpu", "--output", tmp_path / "out"
    assert tool("predict")(tmp_path / "a.png", *options, "--output-kind", "masks,color,overlay") == 0
    sets = segdla.load(run, "cpu").predict(image)
    for bit, name in enumerate(NAMES):
        mask = read_mask(tmp_path / "out" / "masks" / "a" / f"{bit}_{name}.png")
        np.testing.assert_array_equal(mask, 255 * (sets >> bit & 1))
    colors = read_image(tmp_path / "out" / "color" / "a.png")
    np.testing.assert_array_equal(colors, segdla.load(run, "cpu").colorize(sets))


def test_what_has_no_meaning_is_refused_in_a_line(config, run, fails, tmp_path):
    write(tmp_path / "a.png", photo(40, 56))
    message = "is for classes of which each pixel has one, and these overlap (data.overlap)"
    predict = tmp_path / "a.png", "--checkpoint", run, "--device", "cpu", "--output", tmp_path / "out", "--output-kind"
    assert f"--output-kind ids {message}" in fails("predict", *predict, "ids")
    assert f"--output-kind coco {message}" in fails("predict", *predict, "color,coco")
    assert f"a report {message}" in fails("write_report", run, "--device", "cpu")
    assert f"a temperature {message}" in fails("test", run, "--fit-temperature", "--device", "cpu")
    assert f"--save-masks {message}" in fails("test", run, "--save-masks", tmp_path / "m", "--device", "cpu")
    assert f"segdla convert {message}" in fails("convert", config, "--to", "coco", "--output", tmp_path / "c")
    with pytest.raises(UserError, match=r"looking for label errors is for classes of which each pixel has one"):
        segdla.check(config, model=run, device="cpu")
    with pytest.raises(UserError, match=r"was trained for the classes car, wheel, glass"):
        segdla.evaluate(run, device="cpu", source=Exclusive())


class Exclusive(segdla.Source):
    classes = segdla.Classes(NAMES, ((0, 0, 0),) * 3)

    def __len__(self):
        return 1

    def name(self, index):
        return "x"

    def read(self, index):
        return np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)


def test_the_doctor_counts_each_class(config, tool, capsys, tmp_path):
    assert tool("check_data")(config, "--output", tmp_path / "checked") == 0
    said = capsys.readouterr().out
    assert "model: {mean: [" in said and "class_weights" not in said
    summary = segdla.check(config).splits["train"]
    assert summary.pixels == {"car": 2 * 24 * 24, "wheel": 2 * 8 * 8, "glass": 2 * 6 * 6} and summary.labelled == 1
    assert json.dumps(summary.shares)


def test_a_file_is_not_scored_where_no_class_occurs(run, monkeypatch, tmp_path, capsys):
    nothing = np.zeros((32, 48), np.uint8)  # known to be of no class
    monkeypatch.setattr("segdla.data.annotations.annotation_source.AnnotationSource.target", lambda *_: nothing)
    monkeypatch.setattr("segdla.export.from_config.export", lambda *_, scorer, **__: scorer)
    assert segdla.load(run, "cpu").export(tmp_path / "a.onnx") is None
    assert "not scored: no labelled pixel of a class in 2 validation images" in capsys.readouterr().out
