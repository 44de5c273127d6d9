"""Label errors that a network which sees every pixel's true class suspects."""

import json

import numpy as np
import pytest
import torch

import segdla
from segdla.checkpoints.checkpoint import Card
from segdla.checkpoints.find import SHIPPED, Found
from segdla.config import parse
from segdla.data.images import read_image
from segdla.data.scenes import Scenes
from segdla.data.source import Source
from segdla.errors import UserError
from segdla.machine.device import Machine
from segdla.trained import check_labels as module
from segdla.trained.check_labels import check_labels, draw_sheet, levels_of
from segdla.trained.open import TrainedNetwork

CLASSES = Scenes.classes


class Painted(Source):
    """Twelve scenes whose images show the classes as greys; labels of some of them are wrong."""

    classes = CLASSES
    scenes = Scenes("train", 12, (64, 96))

    def __len__(self):
        return len(self.scenes)

    def name(self, index):
        return f"scene {index}"

    def read(self, index):
        if index == 9:
            raise UserError("scene 9 is broken")
        truth = self.scenes.target(index)
        labels = {3: np.roll(truth, -20, 1), 5: truth[:, ::-1]}.get(index, truth).copy()
        if index == 7:
            labels[40:52, 30:50] = 0
        grey = np.where(truth < len(CLASSES), truth * 20, 0).astype(np.uint8)
        return np.repeat(grey[..., None], 3, 2), labels


@pytest.fixture
def trained():
    """A network that knows the greys, and is 97 % sure."""

    def logits_of(images):
        seen = (images[:, 0] // 20).clamp(max=len(CLASSES) - 1).long()  # also of other images
        return 6 * torch.nn.functional.one_hot(seen, len(CLASSES)).permute(0, 3, 1, 2).float()

    config = parse({"data": {"dataset": "scenes"}})
    device = torch.device("cpu")
    card = Card(config.model_dump(mode="json"), CLASSES)
    return TrainedNetwork(logits_of, 1, config, card, Found(SHIPPED), Machine(device, "fp32", "fp32"), {})


def test_wrong_labels_come_first(trained):
    sources = {"val": Painted()}
    errors = check_labels(sources, trained)
    assert {one.name for one in errors.ranked[:3]} == {"scene 3", "scene 5", "scene 7"}
    assert len(errors.images) == 11 and errors.ranked[3].score == 0  # one can't be read, the others are right
    by_name = {one.name: one for one in errors.images}
    assert by_name["scene 3"].shift.right == -20 and by_name["scene 3"].shift.down == 0
    assert by_name["scene 5"].turn.name == "mirrored"
    assert {one.name for one in errors.images if one.shift or one.turn} <= {"scene 3", "scene 5"}
    left, top, width, height = errors.regions_of(by_name["scene 7"])[0].box
    assert left >= 30 and top >= 40 and left + width <= 50 and top + height <= 52 and width * height > 100
    assert draw_sheet(errors, sources, trained).shape[1] > 2 * 280  # two columns


def test_levels_are_probabilities_in_bytes(trained):
    image, _ = Painted().read(0)
    levels = levels_of(trained.predictor(), image, torch.device("cpu"))
    logits = trained.logits_of(torch.from_numpy(image).permute(2, 0, 1)[None])
    np.testing.assert_array_equal(levels, (255 * logits.softmax(1)[0]).round().byte().numpy())


def test_a_command_writes_what_to_correct(two_folders, trained, tool, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "open_trained", lambda *_: trained)
    options = ["--split", "val", "--output", "out", "--export", "issues.json"]
    assert tool("check_data")(two_folders, "--model", "runs/x", *options) == 0
    output = capsys.readouterr().out
    assert "label errors" in output and "out/label_errors.csv and .json" in output
    assert "as polygons, for a labelling tool, they are in issues.json" in output
    issues = json.loads((tmp_path / "issues.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in issues["categories"]] == list(CLASSES.names)
    values = json.loads((tmp_path / "out" / "label_errors.json").read_text(encoding="utf-8"))
    assert {one["split"] for one in values["images"]} == {"val"} and len(values["images"]) == 2
    assert read_image(tmp_path / "out" / "label_errors.png").shape[0] > 100
    assert {"val"} == {
        image.split for image in segdla.check(two_folders, model="x", splits=["val"]).label_errors.images
    }


def test_mistakes_are_answered_before_the_images_are_read(two_folders, checkpoint, fails, monkeypatch):
    monkeypatch.setattr(module, "check_files", lambda *_: pytest.fail("it began"))
    for option, value in ("--split", "val"), ("--export", "issues.json"):
        assert "name it by --model" in fails("check_data", two_folders, option, value)
    assert "name a place by --export" in fails("check_data", two_folders, "--to", "coco")
    assert "with --to coco, yolo" in fails("check_data", two_folders, "--model", checkpoint, "--export", "issues")
    assert "no run or checkpoint at nowhere" in fails("check_data", two_folders, "--model", "nowhere")
    message = fails("check_data", two_folders, "--model", checkpoint)
    assert "was trained for the classes sky, road, car" in message and "its own classes" in message
