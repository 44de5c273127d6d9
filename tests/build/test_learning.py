import math

import pytest
import torch
from torch import nn

from segdla import build, config
from segdla.build import learning
from segdla.data.scenes import Scenes
from segdla.engine.graph import Recorded
from segdla.engine.state import Plan, Training
from segdla.errors import UserError
from segdla.losses import Objective, cross_entropy, dice

CPU = torch.device("cpu")
SCENES = Scenes("train", 3, (32, 48))


def settings(*overrides):
    return config.parse({"data": {"dataset": "scenes"}, "model": {"backbone": "dla46_c"}}, overrides)


def shares(*overrides, num_steps=100, steps_per_epoch=10):
    share = learning.schedule(settings(*overrides).train, num_steps, steps_per_epoch)
    return [share(step) for step in range(num_steps)]


@pytest.mark.parametrize(
    ("step", "share"),
    [(0, 0.01), (5, 0.505 * 0.95**0.9), (10, 0.9**0.9), (50, 0.5**0.9), (100, 0)],
)
def test_poly_with_warm_up_by_hand(step, share):
    warmed = learning.schedule(settings("train.warmup_steps=10").train, num_steps=100, steps_per_epoch=10)
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
    network = build.model(settings(), 9)
    groups = learning.parameter_groups(network, t)
    members = [parameter for group in groups for _, parameter in group["params"]]
    assert len(members) == len(set(members)) == len(list(network.parameters()))
    by_name = {name: group for group in groups for name, _ in group["params"]}
    assert by_name["backbone.base_layer.0.weight"]["lr"] == pytest.approx(0.05)
    assert by_name["backbone.base_layer.0.weight"]["weight_decay"] == 1e-4
    assert by_name["backbone.base_layer.1.weight"]["weight_decay"] == 0  # batch normalisation
    assert by_name["classifier.bias"] == {"params": by_name["classifier.bias"]["params"], "lr": 1, "weight_decay": 0}
    assert by_name["classifier.weight"]["weight_decay"] == 1e-4


def test_the_authors_decay_everything_alike():
    (group,) = learning.parameter_groups(build.model(settings(), 9), settings().train)
    assert (group["lr"], group["weight_decay"]) == (0.01, 1e-4)


def test_terms_of_the_loss_add_up():
    logits, targets = torch.randn(2, 9, 8, 8), torch.randint(0, 9, (2, 8, 8))
    both = learning.loss(settings("loss.dice=0.5", "loss.label_smoothing=0.1").loss, SCENES, CPU)
    expected = cross_entropy(logits, targets, label_smoothing=0.1) + 0.5 * dice(logits, targets)
    torch.testing.assert_close(both(logits, targets), expected)


def test_a_loss_without_terms_is_answered():
    with pytest.raises(UserError, match="all terms are 0"):
        settings("loss.cross_entropy=0")


def test_class_weights_must_fit():
    with pytest.raises(UserError, match="2 numbers for 9 classes"):
        learning.loss(settings("loss.class_weights=[1, 2]").loss, SCENES, CPU)


def test_class_weights_are_counted_in_the_masks(capsys):
    weights = learning.class_weights(settings("loss.class_weights=enet").loss, SCENES)
    pixels = torch.bincount(torch.cat([torch.from_numpy(SCENES.read(i)[1]).flatten() for i in range(3)]).long())
    road = pixels[2].item() / pixels[:9].sum().item()
    assert weights[2] == pytest.approx(1 / math.log(1.02 + road))
    assert "road" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "expected"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_optimizers(name, expected):
    t = settings(f"train.optimizer={name}", "train.ema=0.9").train
    plan = Plan("run", CPU, num_steps=10, steps_per_epoch=5)
    training = learning.start(t, build.model(settings(), 9), plan)
    assert isinstance(training.optimizer, expected)
    assert training.kept is training.ema.module


@pytest.mark.parametrize(("count", "share"), [(1, 9 / 11), (8, 9 / 18), (80, 0.1), (10**6, 0.1)])
def test_a_moving_average_starts_over_few_steps(count, share):
    average, now = [torch.zeros(3)], [torch.full((3,), 2.0)]
    learning.moving_average(0.9)(average, now, torch.tensor(count))
    torch.testing.assert_close(average[0], torch.full((3,), 2.0 * share))


def test_compiling_gives_the_same_numbers():
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    compiled = learning.compiled(network, CPU)
    assert compiled is not network
    x = torch.randn(2, 3)
    torch.testing.assert_close(compiled(x), network(x))


def test_what_cannot_be_compiled_trains_as_it_is(monkeypatch, capsys):
    def refuse(_):
        raise RuntimeError("no compiler here\nand more")

    monkeypatch.setattr(torch, "compile", refuse)
    network = nn.Conv2d(3, 4, 3)
    assert learning.compiled(network, CPU) is network
    assert "cpu can't compile (no compiler here)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wanted", "device", "processes", "recorded"),
    [(True, "cuda", 1, True), (False, "cuda", 1, False), (True, "cpu", 1, False), (True, "cuda", 2, False)],
)
def test_a_step_is_a_graph_where_it_can_be_one(wanted, device, processes, recorded, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(learning.distributed, "world_size", lambda: processes)
    t = settings(f"train.cuda_graph={wanted}").train
    plan = Plan(tmp_path, torch.device(device), num_steps=1, steps_per_epoch=1)
    network = nn.Conv2d(3, 2, 1)
    training = Training(network, torch.optim.SGD(network.named_parameters(), 0.1), lambda step: 1.0)
    gradients = learning.gradients(t, training, network, Objective([(1, cross_entropy)]), plan)
    assert isinstance(gradients, Recorded) == recorded
    assert ("one by one" in capsys.readouterr().out) == (wanted and not recorded)
