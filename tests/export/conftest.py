"""A network that is exported in a second, as a file of each format."""

from importlib.util import find_spec

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
SIZE = (40, 56)
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
    """The network's exported files, by format; one for one size is for ``SIZE``."""
    folder = tmp_path_factory.mktemp("exported")
    paths = Files({kind: folder / f"small{FORMATS[kind].SUFFIX}" for kind in FORMATS if is_installed(kind)})
    for kind, path in paths.items():
        write_file(network, CARD, path, kind, size=SIZE if FORMATS[kind].ONE_SIZE else None)
    return paths


@pytest.fixture(scope="session")
def int8(network, tmp_path_factory):
    """Its files in int8, by format, calibrated on ``pictures``."""
    folder = tmp_path_factory.mktemp("int8")
    kinds = [kind for kind, module in FORMATS.items() if module.INT8 and is_installed(kind)]
    paths = Files({kind: folder / f"small{FORMATS[kind].SUFFIX}" for kind in kinds})
    for kind, path in paths.items():
        size = SIZE if FORMATS[kind].ONE_SIZE else None
        images = (image[0].permute(1, 2, 0).numpy() for image in pictures())
        write_file(network, CARD, path, kind, images, "AVX2", size=size)
    return paths


class Files(dict):
    """Paths by format; a format whose packages are missing skips the test."""

    def __missing__(self, kind):
        pytest.skip(f'this format takes an extra: pip install "segdla[{kind}]"')


def is_installed(kind):
    return all(map(find_spec, FORMATS[kind].PACKAGES))
