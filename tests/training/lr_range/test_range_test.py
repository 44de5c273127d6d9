"""The learning-rate range test: which rates, which proposal, no run, the same numbers each time."""

import itertools
import math
import os
import signal

import pytest
from tiny_run import TINY, use_small_networks

import segdla
from segdla.data.images import read_image
from segdla.training.losses import cross_entropy
from segdla.training.lr_range import from_config, range_test
from segdla.training.lr_range.range_test import HIGHEST, LOWEST, NUM_STEPS, RangeTest, rates


@pytest.fixture
def few_steps(monkeypatch):
    for module in (from_config, range_test):
        monkeypatch.setattr(module, "NUM_STEPS", 24)


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch):
    use_small_networks(monkeypatch)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY.replace("accumulate: 2, ", ""), encoding="utf-8")
    return path


def test_rates_rise_by_one_factor():
    rising = rates()
    assert (len(rising), rising[0], rising[-1]) == (NUM_STEPS, LOWEST, pytest.approx(HIGHEST))
    assert all(after / before == pytest.approx(10 ** (7 / 99)) for before, after in itertools.pairwise(rising))


def test_the_moving_average_by_hand():
    first, second, third = RangeTest((1, 2, 3), (4.0, 2.0, 5.0)).smoothed
    assert first == pytest.approx(4)
    assert second == pytest.approx((0.9 * 4 + 2) / 1.9)
    assert third == pytest.approx((0.81 * 4 + 0.9 * 2 + 5) / 2.71)


def test_the_proposal_is_where_four_fifths_of_the_fall_are_done():
    falling = [3.0] * 30 + [3.0 - 0.1 * i for i in range(1, 21)] + [1.0] * 40 + [4.0]
    test = RangeTest(rates()[: len(falling)], tuple(falling))
    means = test.smoothed
    at = test.rates.index(next(rate for rate in test.rates if float(f"{rate:.1e}") == test.proposal))
    fallen = [(means[10] - mean) / (means[10] - min(means)) for mean in means]
    assert fallen[at - 1] < 0.8 <= fallen[at]


@pytest.mark.parametrize("losses", [[2.0] * 50, [2.0 + 0.01 * i for i in range(50)], [2.0, 1.0], []])
def test_a_loss_that_does_not_fall_has_no_proposal(losses):
    assert RangeTest(rates()[: len(losses)], tuple(losses)).proposal is None


@pytest.mark.usefixtures("few_steps")
def test_the_same_numbers_come_each_time_and_nothing_is_written(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, two = segdla.find_lr(config), segdla.find_lr(config)
    assert one == two
    assert len(one.losses) > 12 and all(map(math.isfinite, one.losses))
    assert list(tmp_path.iterdir()) == [config]


@pytest.mark.usefixtures("few_steps")
def test_the_rates_are_those_that_the_optimizer_takes(config, monkeypatch):
    seen, take_step = [], range_test.take_step

    def noting(training, *args):
        seen.append({group["lr"] for group in training.optimizer.param_groups})
        return take_step(training, *args)

    monkeypatch.setattr(range_test, "take_step", noting)
    test = segdla.find_lr(config, {"train.backbone_lr": 0.1, "train.lr": 0.3, "train.warmup_steps": 50})
    for rate, taken in zip(test.rates, seen, strict=False):
        assert sorted(taken) == pytest.approx([rate / 10, rate])


def test_a_loss_that_is_lost_ends_the_test(config):
    calls = []

    def exploding(logits, targets):
        calls.append(1)
        return cross_entropy(logits, targets) * (float("inf") if len(calls) == 21 else 1)

    assert len(segdla.find_lr(config, loss=exploding).losses) == 20


@pytest.mark.usefixtures("few_steps")
def test_the_command_draws_and_proposes_and_begins_no_run(config, tool, capsys, tmp_path):
    assert tool("train")(config, "--find-lr", "train.seed=1") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "up to 24 steps at learning rates from 1e-06 to 10" in printed
    proposal = segdla.find_lr(config, {"train.seed": 1}).proposal
    assert f"next: segdla train {config} train.seed=1 train.lr={proposal:g}" in printed
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["tiny_lr.png"]
    assert read_image(tmp_path / "runs" / "tiny_lr.png").std() > 0
    assert tool("train")(config, "--find-lr") == 0
    assert (tmp_path / "runs" / "tiny_lr-2.png").exists()  # none is overwritten


def test_a_stop_leaves_nothing(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    calls = []

    def interrupted(logits, targets):
        calls.append(1)
        if len(calls) == 1:  # a second one would act as it did before
            os.kill(os.getpid(), signal.SIGINT)
        return cross_entropy(logits, targets)

    assert segdla.find_lr(config, loss=interrupted) is None
    assert list(tmp_path.iterdir()) == [config]


@pytest.mark.parametrize("argv", [["--resume", "runs/a"], [], ["tiny.yaml", "--name", "a"]])
def test_what_makes_no_sense_beside_it_is_answered(fails, argv):
    assert "--find-lr takes a CONFIG, and neither --resume nor --name" in fails("train", "--find-lr", *argv)
