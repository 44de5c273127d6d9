"""What tests share: tools as callables, and tiny data sets on disk."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

import segdla
from segdla import build, config
from segdla.checkpoint import BEST, save_weights
from segdla.data.scenes import Scenes

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _alike():
    """Each test starts from the same seed, and leaves torch as it was."""
    torch.manual_seed(0)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def tool(monkeypatch, tmp_path):
    """``tool("train")(*argv)`` runs tools/train.py in an empty folder and returns its exit status."""
    monkeypatch.chdir(tmp_path)
    return lambda name: lambda *argv: run_tool(name, *argv)


def run_tool(name, *argv):
    """Runs tools/NAME.py in this process and returns its exit status."""
    spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.entry([str(word) for word in argv])


@pytest.fixture
def fails(tool, capfd):
    """``fails("train", *argv)`` checks exit status 2 and a single line without traceback on stderr; returns it."""

    def check(name, *argv):
        capfd.readouterr()
        assert tool(name)(*argv) == 2
        message = capfd.readouterr().err
        assert "Traceback" not in message
        assert message.count("\n") == 1, message
        return message

    return check


@pytest.fixture
def two_folders(tmp_path):
    """A folder data set of six 40x56 scenes, four of them to train on, and its config file."""
    scenes = Scenes("train", 6, (40, 56))
    for index in range(len(scenes)):
        split = "train" if index < 4 else "val"
        image, mask = scenes.read(index)
        write(tmp_path / "set" / split / "images" / f"scene {index}.png", image[..., ::-1])
        write(tmp_path / "set" / split / "masks" / f"scene {index}.png", mask)
    settings = {
        "data": {
            "dataset": "folder",
            "root": str(tmp_path / "set"),
            "classes": list(scenes.classes.names),
            "train": {"images": "train/images", "masks": "train/masks"},
            "val": {"images": "val/images", "masks": "val/masks"},
            "crop": [32, 64],
            "workers": 0,
        },
        "model": {"backbone": "dla46_c", "output_stride": 8},
        "train": {"epochs": 1, "batch_size": 2, "report_every": 1, "device": "cpu"},
    }
    path = tmp_path / "two_folders.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def write(path, array):
    """Write an array as OpenCV has it, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(array))


NAMES = ("sky", "road", "car", "person", "tree")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A checkpoint of a small network that nobody trained, and that decides differently from place to place."""
    torch.manual_seed(0)
    settings = config.parse(
        {"data": {"dataset": "scenes"}}, ["model.backbone=dla46_c", "model.output_stride=4", "train.device=cpu"]
    )
    network = build.model(settings, len(NAMES))
    torch.nn.init.normal_(network.classifier.weight, std=0.5)
    card = {
        "config": settings.model_dump(mode="json"),
        "classes": list(NAMES),
        "palette": [[10, 20, 30], [200, 0, 0], [0, 200, 0], [0, 0, 200], [250, 250, 250]],
        "protocol": None,
        "scores": {"split": "val", "mean_iou": 0.5},
        "step": 1,
        "version": segdla.__version__,
    }
    path = tmp_path_factory.mktemp("run") / BEST
    save_weights(path, network.state_dict(), card)
    return path


def photo(height, width, seed=0):
    """An image (H,W,3) uint8 of coloured blobs."""
    small = np.random.default_rng(seed).integers(0, 256, (max(2, height // 12), max(2, width // 12), 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
