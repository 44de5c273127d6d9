import errno
import os

import pytest
import torch
from tiny_run import tiny_training, train_tiny
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from segdla.checkpoints.checkpoint import BEST
from segdla.errors import UserError
from segdla.training.saved_state import SavedState
from segdla.training.state import LAST, Training, moving_average, read_state, restore, write_state


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_moments_are_resumed_in_another_memory_layout(kind):
    def one(layout):
        torch.manual_seed(0)
        model = nn.Conv2d(4, 8, 3).to(memory_format=layout)
        momentum = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        return Training(model, kind(model.named_parameters(), 0.1, fused=True, **momentum), lambda step: 1.0)

    def step(training, seed):
        x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
        training.model(x).square().mean().backward()
        training.optimizer.step()
        training.optimizer.zero_grad()

    whole, first, second = one(torch.channels_last), one(torch.channels_last), one(torch.contiguous_format)
    step(whole, 0)
    step(whole, 1)
    step(first, 0)
    second.load_state_dict(SavedState.from_dict(first.state_dict()))
    step(second, 1)
    torch.testing.assert_close(second.model.weight, whole.model.weight)


def test_a_resumed_run_obeys_the_config(tmp_path):
    train_tiny(tmp_path, tiny_training(lr=0.5), num_steps=3)
    resumed = tiny_training(lr=0.01)
    resumed.load_state_dict(read_state(tmp_path))
    assert resumed.step == 3
    resumed.set_lr()
    assert resumed.optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * (1 - 3 / 8))


def test_the_moving_average_is_torchs():
    ours, theirs = (
        tiny_training(
            ema=AveragedModel(tiny_training().model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
        )
        for _ in "ab"
    )
    for _ in range(3):
        for training in (ours, theirs):
            with torch.no_grad():
                for tensor in (*training.model.parameters(), training.model[2].running_mean):
                    tensor.add_(1)
        ours.average()
        theirs.ema.update_parameters(theirs.model)
    for name, tensor in theirs.ema.module.state_dict().items():
        torch.testing.assert_close(ours.ema.module.state_dict()[name], tensor)


@pytest.mark.parametrize(("count", "share"), [(1, 9 / 11), (8, 9 / 18), (80, 0.1), (10**6, 0.1)])
def test_a_moving_average_starts_over_few_steps(count, share):
    averages, values = [torch.zeros(3)], [torch.full((3,), 2.0)]
    moving_average(0.9)(averages, values, torch.tensor(count))
    torch.testing.assert_close(averages[0], torch.full((3,), 2.0 * share))


def test_state_comes_back(tmp_path):
    written, read = tiny_training(step=3, best=0.5), tiny_training()
    written.model[1].weight.data.fill_(2)
    write_state(tmp_path, written.state_dict())
    restore(read, read_state(tmp_path), tmp_path)
    assert (read.step, read.best) == (3, -1)  # there are no weights of that score
    assert torch.equal(read.model[1].weight, written.model[1].weight)
    (tmp_path / BEST).touch()
    restore(read, read_state(tmp_path), tmp_path)
    assert read.best == 0.5


def test_a_run_that_ended_before_its_first_state_has_none(tmp_path):
    assert read_state(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"half a file"])
def test_a_state_that_is_none(tmp_path, content):
    (tmp_path / LAST).write_bytes(content)
    with pytest.raises(UserError, match="is cut short or damaged"):
        read_state(tmp_path)


class Payload:
    def __reduce__(self):
        return (eval, ("__import__('pathlib').Path('ran').touch()",))


def test_code_in_a_training_state_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"step": Payload()}, tmp_path / LAST)
    with pytest.raises(UserError, match="loaded safely"):
        read_state(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_failed_write_leaves_the_previous_state(tmp_path, monkeypatch):
    write_state(tmp_path, tiny_training(step=1).state_dict())

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(UserError, match="No space left on device"):
        patch.setattr(os, "fsync", full)
        write_state(tmp_path, tiny_training(step=2).state_dict())
    assert read_state(tmp_path).step == 1
    assert [path.name for path in tmp_path.iterdir()] == [LAST]
