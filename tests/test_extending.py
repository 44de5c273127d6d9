"""One of each kind of thing that people add, from outside: one class or function, one line to hand it in, and used."""

import io
import json
import types

import numpy as np
import pytest
import torch
from torch import nn

import segdla
from segdla.data.source import Classes, Source
from segdla.export.formats import FORMATS
from segdla.models.dlaseg import DLASeg
from segdla.models.from_config import build_network
from segdla.models.ida import DLAUp

TINY = {
    "data": {"dataset": "scenes", "size": [32, 48], "crop": [32, 32], "train": 4, "val": 2, "workers": 0},
    "model": {"backbone": "dla46_c", "output_stride": 8},
    "train": {"epochs": 1, "batch_size": 4, "device": "cpu"},
}


@pytest.fixture
def config():
    return segdla.Config.model_validate(TINY)


class Stripes(Source):
    """A data set: images whose left part is dark and whose right part is light."""

    classes = Classes(("dark", "light"), ((0, 0, 0), (255, 255, 255)))

    def __len__(self):
        return 4

    def name(self, index):
        return f"stripes_{index}"

    def read(self, index):
        target = np.zeros((32, 48), np.uint8)
        target[:, 8 * (index + 1) :] = 1
        return np.repeat(200 * target[..., None], 3, axis=2), target


def test_a_data_set(config, tmp_path):
    run = segdla.train(config, runs=tmp_path, source={"train": Stripes(), "val": Stripes()})
    assert segdla.load(run, "cpu").classes == ("dark", "light")
    scores = segdla.evaluate(run, source=Stripes(), device="cpu")
    assert set(scores.iou) == {"dark", "light"}


def mean_squared(logits, targets):
    """A loss, of logits (B,C,H,W) and targets (B,H,W) in which 255 is ignored."""
    truth = nn.functional.one_hot(targets.clamp(max=logits.shape[1] - 1), logits.shape[1]).movedim(-1, 1)
    labelled = (targets != 255)[:, None]
    return ((logits.softmax(1) - truth) ** 2 * labelled).sum() / labelled.sum().clamp(min=1)


def test_a_loss(config, tmp_path):
    run = segdla.train(config, {"train.report_every": 1}, runs=tmp_path, loss=mean_squared)
    first = json.loads((run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert 0 < first["loss"] < 2  # a sum of nine squares that add up to less than 2; cross-entropy of 9 classes is 2.2


class Pyramid(nn.Module):
    """A backbone: maps of 8, 16 and 32 channels at strides 2, 4 and 8."""

    channels, strides = (8, 16, 32), (2, 4, 8)

    def __init__(self):
        super().__init__()
        self.levels = nn.ModuleList(nn.Conv2d(i, o, 3, 2, 1) for i, o in ((3, 8), (8, 16), (16, 32)))

    def forward(self, images):
        maps = []
        for level in self.levels:
            images = level(images).relu()
            maps.append(images)
        return maps


class SumNode(nn.Module):
    """A decoder's aggregation node: the sum of two maps, convolved."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, y):
        return self.conv(x + y).relu()


def own_network(num_classes=9):
    backbone = Pyramid()
    decoder = DLAUp(backbone.channels, backbone.strides, node=SumNode)
    return DLASeg(backbone, decoder, num_classes, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def test_a_backbone_and_a_decoder_node(config, tmp_path):
    run = segdla.train(config, runs=tmp_path, model=own_network())
    segmenter = segdla.load(run, "cpu", model=own_network())
    assert isinstance(segmenter.model.backbone, Pyramid) and isinstance(
        segmenter.model.decoder.idas[0].nodes[0], SumNode
    )
    ids = segmenter.predict(np.zeros((30, 50, 3), np.uint8))
    assert ids.shape == (30, 50) and ids.max() < 9


class Confidence:
    """A metric: the mean of the highest probability."""

    name, needs_probabilities = "confidence", True

    def __init__(self):
        self.total, self.pixels = 0.0, 0

    def update(self, images, targets, prediction):
        highest = prediction.probabilities.max(dim=1).values
        assert len(prediction.names) == len(images)
        assert torch.equal(prediction.probabilities.argmax(dim=1), prediction.class_ids.long())
        self.total, self.pixels = self.total + float(highest.sum()), self.pixels + highest.numel()

    def reduce(self):
        pass  # one process alone

    def result(self):
        return self.total / self.pixels


def test_a_metric(config, tmp_path):
    run = segdla.train(config, runs=tmp_path)
    plain = segdla.evaluate(run, device="cpu")
    scores = segdla.evaluate(run, device="cpu", evaluators=[Confidence()])
    assert 1 / 9 <= scores.other["confidence"] <= 1
    assert scores.mean_iou == plain.mean_iou


def write_state_dict(graph, card, path, calibration):
    file = io.BytesIO()
    torch.save({"weights": {k: v for k, v in graph.state_dict().items()}, "card": card}, file)
    path.write_bytes(file.getvalue())


def read_state_dict(path, device):
    held = torch.load(path, weights_only=True)
    config = segdla.Config.model_validate(json.loads(held["card"])["config"])
    network = build_network(config.model, 9).eval()
    network.load_state_dict({k.removeprefix("network."): v for k, v in held["weights"].items()}, strict=False)
    return network.logits, held["card"], torch.device("cpu")


PLAIN = types.SimpleNamespace(
    SUFFIX=".plain",
    WRITES=(".plain",),
    PACKAGES=(),
    INT8=False,
    ONE_SIZE=False,
    write=write_state_dict,
    read=read_state_dict,
)


def test_an_exported_format(config, tmp_path, monkeypatch):
    run = segdla.train(config, runs=tmp_path)
    monkeypatch.setitem(FORMATS, "plain", PLAIN)  # the one line: FORMATS["plain"] = PLAIN
    export = segdla.load(run, "cpu").export(tmp_path / "network.plain")
    assert export.path.is_file() and export.scores is not None and export.scores[0] == export.scores[1]
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    assert segdla.load(export.path, "cpu").predict(image).shape == (32, 48)
