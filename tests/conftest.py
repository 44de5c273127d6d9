"""Fixtures of all tests: commands as callables, and tiny data sets on disk."""

import os
import signal

if "PYTEST_XDIST_WORKER" in os.environ:  # threads of several processes would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read at its first use, which may be a test's own
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a script; tests send it to themselves
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
import torch
import yaml
from support import NAMES, run_tool, write

import segdla
from segdla.checkpoints.checkpoint import BEST, Card, write_checkpoint
from segdla.config import parse
from segdla.data.scenes import Scenes
from segdla.data.source import Classes
from segdla.doctor.budget import Pace
from segdla.evaluation.scores import Scores
from segdla.models.from_config import build_network

pytest_plugins = ("browser",)  # the fixture of that file


@pytest.fixture(autouse=True)
def _alike():
    """Each test starts from the same seed, and leaves torch as it was."""
    torch.manual_seed(0)
    yield
    if torch.are_deterministic_algorithms_enabled():  # to switch it off imports the compiler
        torch.use_deterministic_algorithms(False)


@pytest.fixture
def two_threads():
    """PyTorch computes with two threads, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tool(monkeypatch, tmp_path):
    """``tool("train")(*argv)`` runs the command of tools/train.py in an empty folder and returns its exit status."""
    monkeypatch.chdir(tmp_path)
    return lambda name: lambda *argv: run_tool(name, *argv)


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


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A checkpoint of a small network that nobody trained, and that decides differently from place to place."""
    torch.manual_seed(0)
    overrides = {"model.backbone": "dla46_c", "model.output_stride": 4, "train.device": "cpu"}
    config = parse({"data": {"dataset": "scenes"}}, overrides)
    network = build_network(config.model, len(NAMES))
    torch.nn.init.normal_(network.classifier.weight, std=0.5)
    palette = ((10, 20, 30), (200, 0, 0), (0, 200, 0), (0, 0, 200), (250, 250, 250))
    scores = Scores(mean_iou=0.5, pixel_accuracy=0.5, mean_accuracy=0.5, iou={}, accuracy={}, split="val")
    card = Card(config.model_dump(mode="json"), Classes(NAMES, palette), scores, 1, segdla.__version__)
    path = tmp_path_factory.mktemp("run") / BEST
    write_checkpoint(path, network.state_dict(), card)
    return path


@pytest.fixture
def known_pace(monkeypatch):
    """Drafts are fitted to this pace, without a measurement that takes seconds."""
    pace = Pace("cpu", "cpu with 2 threads", "fp32", step=2.0, pair=0.001)
    monkeypatch.setattr("segdla.doctor.from_config.measure_pace", lambda pairs, num_classes, *read: pace)
