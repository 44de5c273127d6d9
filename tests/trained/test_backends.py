"""Networks to measure, by the names that people give them."""

import pytest
import torch
from support import NAMES

from segdla.errors import UserError
from segdla.trained.backends import Work, measure_backends, open_network

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


@pytest.mark.parametrize("name", ["mine", "configs/mine.yaml"])
def test_a_config_makes_a_network_of_its_classes(config, name):
    network, settings = open_network(name, {"model.output_stride": 4})
    assert network.output_stride == settings.model.output_stride == 4
    assert network.classifier.out_channels == 9 and not network.training


def test_without_its_data_set_a_config_makes_19_classes(config, capsys, monkeypatch):
    monkeypatch.delenv("CITYSCAPES_DATASET", raising=False)
    config.write_text("{data: {dataset: cityscapes}, model: {backbone: dla46_c}}", encoding="utf-8")
    assert open_network("mine", {})[0].classifier.out_channels == 19
    assert "with 19 classes, as the data set is not here" in capsys.readouterr().out


def test_a_run_of_the_same_name_goes_before_a_config(config, checkpoint, tmp_path):
    (tmp_path / "mine").symlink_to(checkpoint.parent)
    assert open_network("mine", {})[0].classifier.out_channels == len(NAMES)
    assert open_network(str(checkpoint), {})[0].classifier.out_channels == len(NAMES)


def test_an_unknown_backend(config):
    network, settings = open_network("mine", {})
    with pytest.raises(UserError, match="'tensorflow' is none of the backends eager, compiled, onnx, openvino"):
        next(measure_backends(network, settings, torch.device("cpu"), WORK, ["eager", "tensorflow"]))


def test_backends_are_measured_in_the_precision_of_the_config(config):
    network, settings = open_network("mine", {"train.precision": "fp32"})
    (measurement,) = measure_backends(network, settings, torch.device("cpu"), WORK, ["eager"])
    assert measurement.backend == "eager fp32" and str(measurement.device) == "cpu"
    assert 0 < measurement.speed.median <= measurement.speed.p95
