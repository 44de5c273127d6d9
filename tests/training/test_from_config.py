from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from segdla.config import parse, parse_overrides
from segdla.data.scenes import Scenes
from segdla.data.source import NO_LABEL, Classes
from segdla.errors import UserError
from segdla.machine.device import Machine
from segdla.models.from_config import build_network
from segdla.training import from_config
from segdla.training.batches import keys_of
from segdla.training.cuda_graph import Recorded
from segdla.training.losses import Objective, cross_entropy, dice
from segdla.training.own.from_config import build_objective
from segdla.training.own.parts import Data, Own
from segdla.training.state import Plan, Training

CPU = torch.device("cpu")
PLAN = Plan("run", CPU, 1, 1)
SCENES = Scenes("train", 3, (32, 48))


def settings(*overrides):
    values = {"data": {"dataset": "scenes"}, "model": {"backbone": "dla46_c"}}
    return parse(values, parse_overrides(overrides))


def shares(*overrides, num_steps=100, steps_per_epoch=10):
    share = from_config.schedule(settings(*overrides).train, num_steps, steps_per_epoch)
    return [share(step) for step in range(num_steps)]


@pytest.mark.parametrize(
    ("step", "share"),
    [(0, 0.01), (5, 0.505 * 0.95**0.9), (10, 0.9**0.9), (50, 0.5**0.9), (100, 0)],
)
def test_poly_with_warm_up_by_hand(step, share):
    warmed = from_config.schedule(settings("train.warmup_steps=10").train, num_steps=100, steps_per_epoch=10)
    assert warmed(step) == pytest.approx(share)


@pytest.mark.parametrize(
    ("overrides", "oracle"),
    [
        (["train.power=0.7"], lambda o: torch.optim.lr_scheduler.PolynomialLR(o, 100, power=0.7)),
        (["train.schedule=cosine"], lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 100)),
        (
            ["train.schedule=step", "train.milestones=[3, 7]", "train.gamma=0.2"],
            lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [30, 70], gamma=0.2),
        ),
    ],
)
def test_schedules_are_torchs(overrides, oracle):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, expected = oracle(optimizer), []
    for _ in range(100):
        expected += scheduler.get_last_lr()
        optimizer.step()
        scheduler.step()
    assert shares(*overrides) == pytest.approx(expected, abs=1e-9)


def test_every_parameter_is_in_one_group():
    t = settings("train.backbone_lr=0.1", "train.decoder_lr=2", "train.decay_all=false", "train.lr=0.5").train
    network = build_network(settings().model, 9)
    groups = from_config.parameter_groups(network, t)
    members = [parameter for group in groups for _, parameter in group["params"]]
    assert len(members) == len(set(members)) == len(list(network.parameters()))
    by_name = {name: group for group in groups for name, _ in group["params"]}
    assert by_name["backbone.base_layer.0.weight"]["lr"] == pytest.approx(0.05)
    assert by_name["backbone.base_layer.0.weight"]["weight_decay"] == 1e-4
    assert by_name["backbone.base_layer.1.weight"]["weight_decay"] == 0  # batch normalisation
    assert by_name["classifier.bias"] == {"params": by_name["classifier.bias"]["params"], "lr": 1, "weight_decay": 0}
    assert by_name["classifier.weight"]["weight_decay"] == 1e-4


def test_the_authors_decay_everything_alike():
    (group,) = from_config.parameter_groups(build_network(settings().model, 9), settings().train)
    assert (group["lr"], group["weight_decay"]) == (0.01, 1e-4)


def test_terms_of_the_loss_add_up():
    logits, targets = torch.randn(2, 9, 8, 8), torch.randint(0, 9, (2, 8, 8))
    both = from_config.build_loss(settings("loss.dice=0.5", "loss.label_smoothing=0.1").loss, SCENES, CPU)
    expected = cross_entropy(logits, targets, label_smoothing=0.1) + 0.5 * dice(logits, targets)
    torch.testing.assert_close(both(logits, targets), expected)


def test_a_loss_without_terms_is_answered():
    with pytest.raises(UserError, match="all terms are 0"):
        settings("loss.cross_entropy=0")


def test_an_own_loss_takes_the_place_of_the_configs():
    logits, targets = torch.randn(2, 9, 8, 8), torch.randint(0, 9, (2, 8, 8))
    asked = settings("loss.class_weights=enet")  # which are then not counted
    objective = build_objective(asked, Own(loss=lambda logits, targets: logits.sum()), SCENES, PLAN, None)
    assert objective(logits, targets) == logits.sum()
    assert objective.amount(targets) == 128


@pytest.mark.parametrize("class_id", [254, 255])
def test_whole_images_of_any_class_are_learned_beside_a_teacher(class_id):
    data = {"dataset": "image_folder", "root": "x"}
    asked = parse({"data": data, "train": {"teacher": "x", "ema": None}})
    source = SimpleNamespace(classes=Classes(tuple(map(str, range(300))), ((0, 0, 0),) * 300, whole_images=True))
    logits, labels = torch.randn(3, 300, 1, 1), torch.tensor([class_id, class_id, NO_LABEL])[:, None, None]
    objective = build_objective(asked, Own(), source, PLAN, None)
    loss_of = objective.over(lambda images: (logits, torch.tensor(0.0)), PLAN)
    torch.testing.assert_close(loss_of(logits, labels, 1.0), -logits[:2].log_softmax(1)[:, class_id].mean())
    assert objective.amount(labels) == 2


@pytest.mark.parametrize(("name", "expected"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_optimizers(name, expected):
    t = settings(f"train.optimizer={name}", "train.ema=0.9").train
    plan = Plan("run", CPU, num_steps=10, steps_per_epoch=5)
    training = from_config.build_training(t, build_network(settings().model, 9), plan)
    assert isinstance(training.optimizer, expected)
    assert training.candidate is training.ema.module


def test_adamw_averages_as_the_config_says():
    group = {"params": [torch.nn.Parameter(torch.zeros(1))]}
    t = settings("train.optimizer=adamw", "train.betas=[0.8, 0.95]").train
    assert from_config.OPTIMIZERS["adamw"]([group], t, fused=True).defaults["betas"] == (0.8, 0.95)


@pytest.mark.parametrize(
    ("wanted", "device", "processes", "recorded"),
    [(True, "cuda", 1, True), (False, "cuda", 1, False), (True, "cpu", 1, False), (True, "cuda", 2, False)],
)
def test_a_step_is_a_graph_where_it_can_be_one(wanted, device, processes, recorded, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(from_config.distributed, "world_size", lambda: processes)
    monkeypatch.setattr(from_config.distributed, "replicated", lambda learner, _: learner)
    t = settings(f"train.cuda_graph={wanted}").train
    plan = Plan(tmp_path, torch.device(device), num_steps=1, steps_per_epoch=1)
    network = nn.Conv2d(3, 2, 1)
    training = Training(network, torch.optim.SGD(network.named_parameters(), 0.1), lambda step: 1.0)
    gradients = from_config.build_gradients(t, training, network, Objective([(1, cross_entropy)]), plan)
    assert isinstance(gradients, Recorded) == recorded
    assert ("one by one" in capsys.readouterr().out) == (wanted and not recorded)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.batch_size=5", "train.batch_size 5 can't be dealt out evenly to 2 processes in 1 parts each"),
        ("data.crop=[32, 32]", "parts of one image of 32x32 (data.crop) are too small"),
    ],
)
def test_batches_that_cannot_be_trained_on_are_refused(change, message, monkeypatch):
    monkeypatch.setattr(from_config.distributed, "world_size", lambda: 2)
    with pytest.raises(UserError) as answer:
        from_config.require_possible(settings("train.batch_size=2", change))
    assert message in str(answer.value)


def test_lack_of_memory_has_a_remedy_of_settings_and_their_values():
    asked = settings("train.accumulate=2", "train.batch_size=8", "data.crop=[64, 96]")
    remedy = from_config.memory_remedy(asked)
    for words in (
        "train.accumulate (now 2",
        "data.crop (now 64x96)",
        "train.batch_size (now 8)",
        "eval.batch_size (now 1)",
    ):
        assert words in remedy
    assert "cuda_graph" not in remedy
    assert "train.cuda_graph=false" in from_config.memory_remedy(settings("train.cuda_graph=true"))


def test_the_keys_of_a_resumed_training_start_at_its_step():
    asked = settings("train.batch_size=4", "train.epochs=2")
    plan = from_config.build_plan(asked, Path("run"), Machine(CPU, "fp32", "fp32"), num_images=10)
    assert (plan.num_steps, plan.steps_per_epoch) == (6, 3)
    training = from_config.build_training(asked.train, nn.Conv2d(3, 2, 1), plan)
    whole = list(keys_of(plan, training, 10, 4))
    training.step = 4
    assert list(keys_of(plan, training, 10, 4)) == whole[4:]


def test_steps_count_in_place_of_epochs_and_of_minutes():
    asked = settings("train.epochs=2", "train.minutes=3", "train.steps=7")
    plan = from_config.build_plan(asked, Path("run"), Machine(CPU, "fp32", "fp32"), num_images=10)
    assert plan.num_steps == 7
    assert "7 steps of 16 images, 1 steps an epoch" in summary(Own(), "train.steps=7")


def summary(own, *overrides):
    asked = settings(*overrides)
    plan = from_config.build_plan(asked, Path("runs/a"), Machine(CPU, "fp32", "fp32"), num_images=3)
    training = from_config.build_training(asked.train, build_network(asked.model, 9), plan)
    return from_config.summary(asked, own, Data(SCENES, SCENES), plan, training, ["fp32", "compiled"])


def test_the_summary_tells_what_will_happen():
    lines = summary(Own(), "train.epochs=2", "train.accumulate=2", "data.crop=[32, 64]").splitlines()
    assert len(lines) == 5
    assert (
        lines[0].startswith("dla46_c, output stride 2, 9 classes: 1.85 M parameters")
        and "GMAC for a crop of 32x64" in lines[0]
    )
    assert lines[1].startswith("1 x cpu with ") and lines[1].endswith("threads, fp32, compiled")
    assert lines[2] == (
        "drawn street scenes: 3 images to train on, 3 to validate (segdla check CONFIG examines them all)"
    )
    assert lines[3] == "2 epochs of 1 steps of 16 images (in 2 parts of 8): 2 steps"
    assert lines[4] == "everything goes to runs/a/"


def test_the_summary_names_own_parts_as_such():
    network = build_network(settings().model, 9)
    lines = summary(Own(source={"train": SCENES, "val": SCENES}, model=network)).splitlines()
    assert lines[0].startswith("own network, 9 classes: 1.85 M parameters")
    assert lines[2] == "drawn street scenes: 3 images to train on, 3 to validate"


def test_the_summary_warns_of_a_warm_up_that_never_ends():
    last = summary(Own(), "train.epochs=2", "train.warmup_steps=2").splitlines()[-1]
    assert last == "train.warmup_steps is 2 of 2 steps: the learning rate never gets to train.lr"
