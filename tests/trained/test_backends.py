"""Networks to measure, by the names that people give them."""

import pytest
import torch
from image_tree import draw_tree
from support import NAMES

from segdla.checkpoints.checkpoint import Card, write_checkpoint
from segdla.config import parse
from segdla.data.scenes import Scenes
from segdla.data.whole_images.without_labels import NO_CLASSES
from segdla.errors import UserError
from segdla.export.graph import Exported
from segdla.models.from_config import build_network
from segdla.trained.backends import Work, measure_backends, measure_named, open_subject
from segdla.trained.score import evaluate

CPU = torch.device("cpu")
CONFIG = "{data: {dataset: scenes}, model: {backbone: dla46_c, output_stride: 8}}"
WORK = Work((32, 48), batch=1, seconds=0)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A config called mine, in configs/."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "configs" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture
def scenes_run(tmp_path):
    """A checkpoint of a network for drawn scenes, which nobody trained and which decides from place to place."""
    values = {"data": {"dataset": "scenes", "size": [32, 48], "train": 2, "val": 3, "workers": 0}}
    config = parse(values, {"model.backbone": "dla46_c", "model.output_stride": 4, "train.precision": "fp32"})
    torch.manual_seed(0)
    network = build_network(config.model, len(Scenes.classes))
    torch.nn.init.normal_(network.classifier.weight, std=0.5)
    card = Card(config.model_dump(mode="json"), Scenes.classes, step=1, version="0")
    write_checkpoint(tmp_path / "best.safetensors", network.state_dict(), card)
    return tmp_path / "best.safetensors"


@pytest.mark.parametrize("name", ["mine", "configs/mine.yaml"])
def test_a_config_makes_a_network_of_its_classes(config, name):
    network, settings, _ = open_subject(name, {"model.output_stride": 4})
    assert network.output_stride == settings.model.output_stride == 4
    assert network.classifier.out_channels == 9 and not network.training


def test_without_its_data_set_a_config_makes_19_classes(config, capsys, monkeypatch):
    monkeypatch.delenv("CITYSCAPES_DATASET", raising=False)
    config.write_text("{data: {dataset: cityscapes}, model: {backbone: dla46_c}}", encoding="utf-8")
    assert open_subject("mine", {})[0].classifier.out_channels == 19
    assert "with 19 classes, as the data set is not here" in capsys.readouterr().out


def test_a_run_of_the_same_name_goes_before_a_config(config, checkpoint, tmp_path):
    (tmp_path / "mine").symlink_to(checkpoint.parent)
    assert open_subject("mine", {})[0].classifier.out_channels == len(NAMES)
    assert open_subject(str(checkpoint), {})[0].classifier.out_channels == len(NAMES)


def test_an_unknown_backend(config):
    with pytest.raises(UserError, match="'tensorflow' is none of the backends eager, compiled, onnx, openvino"):
        next(measure_backends(open_subject("mine", {}), CPU, WORK, ["eager", "tensorflow"]))


def test_backends_are_measured_in_the_precision_of_the_config(config):
    subject = open_subject("mine", {"train.precision": "fp32"})
    (measurement,) = measure_backends(subject, CPU, WORK._replace(num_images=2), ["eager"])
    assert measurement.backend == "eager fp32" and str(measurement.device) == "cpu" and measurement.size == (32, 48)
    assert 0 < measurement.speed.median <= measurement.speed.p95
    assert measurement.score is None  # nobody trained it


def test_each_backend_is_scored_as_segdla_test_scores(scenes_run):
    (measurement,) = measure_backends(open_subject(str(scenes_run), {}), CPU, WORK._replace(num_images=9), ["eager"])
    assert measurement.score == pytest.approx(evaluate(scenes_run, device="cpu").mean_iou, abs=1e-4)
    assert measurement.figures["mean_iou"] == measurement.score


@pytest.mark.parametrize(("macs", "words"), [(2.4567e12, "2456.7 GMAC"), (2.46e7, "0.025 GMAC")])
def test_the_size_of_a_large_and_of_a_small_network(config, capsys, monkeypatch, macs, words):
    monkeypatch.setattr("segdla.trained.backends.count_macs", lambda *_: macs)
    next(measure_named("mine", {}, CPU, WORK, ["eager"]))
    assert words in capsys.readouterr().out


def test_on_images_of_other_classes_nothing_is_scored(checkpoint, capsys):
    (measurement,) = measure_backends(open_subject(str(checkpoint), {}), CPU, WORK._replace(num_images=2), ["eager"])
    assert measurement.score is None
    assert "not scored: the data set has other classes (sky, building" in capsys.readouterr().out


def test_a_file_for_one_size_is_measured_at_it(scenes_run, monkeypatch, tmp_path):
    network, _, card = open_subject(str(scenes_run), {})
    fixed = Exported(network.logits, network.output_stride, "fp32", card, CPU, size=(16, 24))
    monkeypatch.setattr("segdla.trained.open.open_file", lambda *_: fixed)
    (tmp_path / "a.onnx").touch()
    (measurement,) = measure_named(str(tmp_path / "a.onnx"), {}, CPU, Work(seconds=0, num_images=1))
    assert measurement.size == (16, 24) and measurement.score is not None
    with pytest.raises(UserError, match=r"the file is for images of 16x24, not of 32x48 \(--size\)"):
        next(measure_named(str(tmp_path / "a.onnx"), {}, CPU, WORK))
    with pytest.raises(UserError, match=r"leave out --backends and --int8"):
        next(measure_named(str(tmp_path / "a.onnx"), {}, CPU, WORK, int8=True))


def test_a_network_without_classes_is_not_scored(tmp_path):
    folder = draw_tree(tmp_path / "tree") / "train"
    data = {"dataset": "images", "images": str(folder), "crop": [32, 32], "resize": 36}
    config = parse({"data": data, "train": {"teacher": "runs/large"}}, {"model.backbone": "dla46_c"})
    card = Card(config.model_dump(mode="json"), NO_CLASSES, step=1, version="0")
    write_checkpoint(tmp_path / "best.safetensors", build_network(config.model, 1).state_dict(), card)
    work = Work(seconds=0, num_images=None)
    (measurement,) = measure_named(str(tmp_path / "best.safetensors"), {}, CPU, work, ["eager"])
    assert measurement.score is None
