"""A report of a small network that nobody trained, on images and classes whose names try to break out of a page."""

import json

import numpy as np
import pytest
import torch
from support import photo

import segdla
from segdla.checkpoints.checkpoint import BEST, Card, write_checkpoint
from segdla.config import parse
from segdla.data.source import Classes, Source
from segdla.models.from_config import build_network
from segdla.trained.record import write_record
from segdla.trained.score import open_evaluation

HOSTILE = (
    '<img src=x onerror="window.hacked = 1">',
    "</script><script>window.hacked = 1</script>",
    '"quo\'tes" & \x1b[31mred\x1b[0m',
    "{{ 7 * 7 }} -->",
    "pla\u202ein",
)
PALETTE = ((10, 20, 30), (200, 0, 0), (0, 200, 0), (0, 0, 200), (250, 250, 250))


class Hostile(Source):
    """Twelve images of 24x32 with random targets, some of them ignored."""

    classes = Classes(HOSTILE, PALETTE)

    def __len__(self):
        return 12

    def name(self, index):
        return f"{index} <b>bold</b></script><script>window.hacked = 1</script> ' \" \udcff"

    def read(self, index):
        target = photo(24, 32, 10 + index)[..., 0] // 43
        return photo(24, 32, index), np.where(target == 5, 255, target).astype(np.uint8)


@pytest.fixture(scope="session")
def hostile():
    return Hostile()


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory):
    """A folder with a checkpoint for the classes of ``Hostile``, and records of a training."""
    torch.manual_seed(0)
    config = parse(
        {"data": {"dataset": "scenes", "workers": 0}}, {"model.backbone": "dla46_c", "model.output_stride": 4}
    )
    network = build_network(config.model, len(HOSTILE))
    torch.nn.init.normal_(network.classifier.weight, std=0.5)
    run = tmp_path_factory.mktemp("runs") / "<u>run"
    run.mkdir()
    card = Card(config.model_dump(mode="json"), Hostile.classes, None, 1, segdla.__version__)
    write_checkpoint(run / BEST, network.state_dict(), card)
    lines = [json.dumps({"step": step, "loss": 1 / (1 + step), "lr": 0.1}) for step in range(5)]
    (run / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return run


@pytest.fixture(scope="session")
def page(hostile_run, hostile):
    """The path of a page about that run and its data, compared with itself over mirrored images."""
    plain = open_evaluation(hostile_run, source=hostile, device="cpu")
    before = write_record(hostile_run, "eval_val", plain.score(), plain.settings)
    options = {"flip": True, "before": before, "worst": 5, "data": True}
    return segdla.write_report(hostile_run, source=hostile, device="cpu", **options)
