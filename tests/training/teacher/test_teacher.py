"""A run with a teacher: opened, answered, stopped, resumed, kept."""

import shutil
import sys

import numpy as np
import pytest
import torch
import yaml
from tiny_run import TINY, assert_same_run, small_network, stop_at_step, use_small_networks

import segdla
from segdla.checkpoints.checkpoint import read_checkpoint
from segdla.config import parse
from segdla.data.image_writer import write_image
from segdla.data.source import Classes, Source
from segdla.errors import UserError


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch):
    use_small_networks(monkeypatch)


def config(teacher=None, train=None, **sections):
    values = yaml.safe_load(TINY)
    values["train"] |= {"teacher": teacher and str(teacher), **(train or {})}
    return segdla.Config.model_validate({**values, **sections})


@pytest.fixture
def teacher(tmp_path):
    return segdla.train(config(train={"epochs": 1}), name="teacher", runs=tmp_path).folder


def test_a_stopped_run_resumes_to_the_same_bits_with_its_projections(tmp_path, teacher, monkeypatch):
    asked = config(teacher, {"epochs": 3})  # six steps
    whole = segdla.train(asked, name="whole", runs=tmp_path)
    steps = stop_at_step(3, monkeypatch)
    stopped = segdla.train(asked, name="stopped", runs=tmp_path)
    assert not stopped.finished and len(steps) == 3
    assert segdla.resume(stopped).finished
    assert_same_run(whole.folder, stopped.folder)
    states = [torch.load(run.folder / "last.pt", weights_only=True)["model"] for run in (whole, stopped)]
    assert any(name.startswith("projections.") for name in states[0])


@pytest.mark.parametrize(("ema", "part", "prefix"), [(None, "model", "network."), (0.9, "ema", "module.")])
def test_what_is_kept_is_the_network_alone(tmp_path, teacher, ema, part, prefix):
    taught = segdla.train(config(teacher, {"epochs": 1, "ema": ema}), name="taught", runs=tmp_path).folder
    kept = read_checkpoint(taught / "best.safetensors").state_dict
    assert kept.keys() == small_network(9).state_dict().keys()
    state = torch.load(taught / "last.pt", weights_only=True)  # which ends with these weights
    assert all(torch.equal(tensor, state[part][prefix + name]) for name, tensor in kept.items())


def test_a_resumed_run_keeps_its_teacher_wherever_that_is(tmp_path, teacher):
    taught = segdla.train(config(teacher, {"epochs": 1}), name="taught", runs=tmp_path)
    another = segdla.train(config(train={"epochs": 1, "seed": 1}), name="another", runs=tmp_path)
    moved = shutil.move(teacher, tmp_path / "moved")
    with pytest.raises(UserError, match=r"^train\.teacher: no run or checkpoint at .*teacher"):
        segdla.resume(taught, {"train.epochs": 2})
    with pytest.raises(UserError, match=r"the file of train\.teacher is \w+, and was '\w+' when .*taught was saved"):
        segdla.resume(taught, {"train.epochs": 2, "train.teacher": str(another.folder)})
    assert segdla.resume(taught, {"train.epochs": 2, "train.teacher": str(moved)}).finished


def test_a_run_does_not_teach_itself(tmp_path, teacher):
    with pytest.raises(UserError, match=r"teacher is the run itself, whose weights change; name another one"):
        segdla.resume(teacher, {"train.epochs": 2, "train.teacher": str(teacher)})


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"distill": {"features": 1}}, "distill says what is learned from a teacher; set teacher too"),
        ({"teacher": "a", "distill": {"logits": 0, "features": 0}}, "logits and features are 0: nothing is learned"),
        ({"teacher": "timm/resnet18", "distill": {"logits": 1}}, "timm/resnet18 is a backbone, which has no classes"),
        ({"teacher": "timm/resnet18", "distill": {"features": 0}}, "timm/resnet18 teaches by features alone"),
        ({"teacher": "runs/absent"}, r"^train\.teacher: no run or checkpoint at runs/absent"),
        ({"teacher": "timm/resnet81"}, r"^train\.teacher: timm has no network 'resnet81'; the nearest names are resn"),
    ],
)
def test_a_teacher_that_can_not_be_is_answered_in_one_line(tmp_path, train, message):
    values = yaml.safe_load(TINY)
    with pytest.raises(UserError, match=message) as answer:
        segdla.train(parse(values | {"train": values["train"] | train}), runs=tmp_path)
    assert "\n" not in str(answer.value)
    assert not any(tmp_path.iterdir())


def test_without_timm_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"^train\.teacher: the package timm .*pip install .*\[timm\]"):
        segdla.train(config("timm/resnet18"), runs=tmp_path)


def test_unlabelled_images_join_and_broken_ones_are_answered(tmp_path, teacher, capsys):
    more = tmp_path / "more"
    more.mkdir()
    for index in range(6):
        write_image(more / f"{index}.png", np.full((32, 40, 3), 40 * index, np.uint8))
    data = yaml.safe_load(TINY)["data"] | {"unlabelled": str(more)}
    assert segdla.train(config(teacher, {"epochs": 1}, data=data), runs=tmp_path).finished
    assert "12 images to train on, 2 to validate" in capsys.readouterr().out
    (more / "3.png").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"more/3\.png"):
        segdla.train(config(teacher, {"epochs": 1}, data=data), runs=tmp_path)
    assert segdla.train(config(teacher, {"epochs": 1}, data=data | {"unreadable": "skip"}), runs=tmp_path).finished
    assert "left out: " in capsys.readouterr().out


def test_unlabelled_images_need_a_teacher_or_an_average():
    with pytest.raises(UserError, match=r"data\.unlabelled has no labels to learn from; set train\.ema.* or train\.t"):
        parse({"data": {"dataset": "scenes", "unlabelled": "more"}})


@pytest.mark.parametrize(
    ("data", "train", "why"),
    [({}, {}, "there are none"), ({"unlabelled": "more"}, {"teacher": "x"}, r"train\.teacher needs none")],
)
def test_a_confidence_that_does_nothing_is_refused(data, train, why):
    with pytest.raises(UserError, match=rf"data\.confidence 0\.8 is of labels that .*, and {why}; leave it out"):
        parse({"data": {"dataset": "scenes", "confidence": 0.8, **data}, "train": train})


class Halves(Source):
    """Images that are dark on the left and light on the right."""

    classes = Classes(("dark", "light"), ((0, 0, 0), (255, 255, 255)))

    def __len__(self):
        return 4

    def name(self, index):
        return f"halves {index}"

    def read(self, index):
        target = np.repeat(np.uint8([[0, 1]]), 16, axis=1).repeat(32, axis=0)
        return np.repeat(200 * target[..., None], 3, axis=2), target


HALVES = {"train": Halves(), "val": Halves()}


def test_a_teacher_of_other_classes_teaches_features_alone(tmp_path, teacher, capsys):
    refusal = r"^train\.teacher: .* knows the classes \['sky', .*\] and the data have \['dark', 'light'\]; .*logits=0"
    with pytest.raises(UserError, match=refusal):
        segdla.train(config(teacher), runs=tmp_path, source=HALVES)
    asked = config(teacher, {"epochs": 1, "distill": {"logits": 0}})
    assert segdla.train(asked, runs=tmp_path, source=HALVES).finished
    assert f"{teacher} teaches features at strides 4, 8 (weight 0.5)\n" in capsys.readouterr().out


def test_logits_are_compared_under_one_head(tmp_path):
    teacher = segdla.train(config(train={"epochs": 1}), name="teacher", runs=tmp_path, source=HALVES).folder
    sigmoid = {"head": "sigmoid", "backbone": "dla46_c", "output_stride": 8}
    with pytest.raises(UserError, match=r"best\.safetensors has head softmax and the network sigmoid \(model\.head\)"):
        segdla.train(config(teacher, model=sigmoid), runs=tmp_path, source=HALVES)


def test_a_batch_that_is_fitted_to_memory_gives_the_run_of_its_number(tmp_path, teacher):
    data = {"dataset": "scenes", "size": [32, 48], "crop": [32, 32], "train": 16, "val": 1, "workers": 0}
    runs = [
        segdla.train(config(teacher, {"epochs": 1, "batch_size": size, "accumulate": 1}, data=data), runs=tmp_path)
        for size in ("auto", 2)
    ]
    assert_same_run(*(run.folder for run in runs))
