"""A network that is exported in a second, as a file of each format."""

import pytest
import torch
from torch import nn

from segdla.checkpoints.checkpoint import Card
from segdla.data.source import Classes
from segdla.evaluation.scores import Scores
from segdla.export.formats import FORMATS, write_file
from segdla.export.verify import pictures
from segdla.models.dlaseg import DLASeg
from segdla.models.ida import DLAUp

SCORES = Scores(0.5, 0.6, 0.5, {"a": 0.5}, {"a": 0.5}, split="val")
CARD = Card({"data": {}}, Classes(("a", "b", "c"), ((0, 0, 0), (9, 9, 9), (255, 0, 7))), SCORES, 3, "0.2", True)


class ThreeLevels(nn.Module):
    """A backbone of three convolutions."""

    strides, channels = (1, 2, 4), (4, 6, 8)

    def __init__(self):
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, stride, 1), nn.BatchNorm2d(o), nn.ReLU())
            for i, o, stride in ((3, 4, 1), (4, 6, 2), (6, 8, 2))
        )

    def forward(self, x):
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features


@pytest.fixture(scope="session")
def network():
    torch.manual_seed(0)
    backbone = ThreeLevels()
    decoder = DLAUp(backbone.channels[1:], backbone.strides[1:])
    return DLASeg(backbone, decoder, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).eval()


@pytest.fixture(scope="session")
def card():
    return CARD


@pytest.fixture(scope="session")
def files(network, tmp_path_factory):
    """The network's exported files, by format."""
    require_extras()
    folder = tmp_path_factory.mktemp("exported")
    paths = {kind: folder / f"small{module.SUFFIX}" for kind, module in FORMATS.items()}
    for kind, path in paths.items():
        write_file(network, CARD, path, kind)
    return paths


@pytest.fixture(scope="session")
def int8(network, tmp_path_factory):
    """Its files in int8, by format, calibrated on ``pictures``."""
    require_extras()
    folder = tmp_path_factory.mktemp("int8")
    paths = {kind: folder / f"small{module.SUFFIX}" for kind, module in FORMATS.items() if module.INT8}
    for kind, path in paths.items():
        write_file(network, CARD, path, kind, (image[0].permute(1, 2, 0).numpy() for image in pictures()), "AVX2")
    return paths


def require_extras():
    for package in ("onnx", "onnxruntime", "onnxscript", "openvino"):
        pytest.importorskip(package, reason='exporting takes extras: pip install "segdla[onnx,openvino]"')
