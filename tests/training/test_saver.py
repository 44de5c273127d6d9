import errno
import threading
import time

import pytest
import torch
from tiny_run import assert_same, batches, failing, tiny_training, train_tiny
from torch import nn

from segdla.errors import UserError
from segdla.training import loop, saver, state
from segdla.training.saver import Saver, memory_for
from segdla.training.state import LAST


def copied(value):
    if isinstance(value, dict):
        return {key: copied(inner) for key, inner in value.items()}
    return value.clone() if isinstance(value, torch.Tensor) else value


def states_of(monkeypatch, write):
    """Let ``write(number, write_state)`` write the states, which are numbered from 1."""
    written, original = [], saver.write_state

    def numbered(run, values):
        written.append(values["step"])
        write(len(written), lambda: original(run, values))

    monkeypatch.setattr(saver, "write_state", numbered)
    return written


def test_what_is_written_is_the_state_when_it_was_saved(tmp_path, monkeypatch):
    goes_on = threading.Event()
    written = states_of(monkeypatch, lambda _, write: (goes_on.wait(), write()))
    training = tiny_training(step=3)
    expected = copied(training.state_dict())
    with Saver(tmp_path) as saves:
        saves.save(training)
        saves.while_copying(lambda parts: torch.zeros(()))(())
        for parameter in training.model.parameters():
            nn.init.ones_(parameter)
        training.step = 4
        assert not (tmp_path / LAST).exists()  # the steps go on before it is written
        goes_on.set()
        saves.settle()
        assert_same(torch.load(tmp_path / LAST), expected)
        saves.save(training)
    assert written == [3, 4]
    assert_same(torch.load(tmp_path / LAST), copied(training.state_dict()))


def test_gradients_are_computed_during_the_copy_and_no_step_before_its_end(tmp_path, monkeypatch):
    begun, original, training = threading.Event(), saver.copy, tiny_training()
    expected = copied(training.state_dict())

    def copy(pairs):
        if threading.current_thread() is not threading.main_thread():
            assert begun.wait(10)  # else the copy comes first
            time.sleep(0.01)  # and a step has time to come too early
        original(pairs)

    def gradients(parts):
        training.model(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).sum().backward()  # batch statistics change
        begun.set()
        return torch.zeros(())

    monkeypatch.setattr(saver, "copy", copy)
    with Saver(tmp_path) as saves:
        saves.save(training)
        saves.while_copying(gradients)(())
        training.optimizer.step()
        training.average()
    assert_same(torch.load(tmp_path / LAST), expected)


def test_memory_is_used_again_where_it_fits():
    values = {"a": torch.arange(6.0).reshape(2, 3), "b": {"c": torch.ones(2)}, "step": 1}
    first = memory_for(values, None)
    second = memory_for({**values, "b": {"c": torch.ones(3)}, "step": 2}, first)
    assert second["a"].data_ptr() == first["a"].data_ptr() != values["a"].data_ptr()
    assert second["b"]["c"].shape == (3,) and second["step"] == 2
    turned = {"a": values["a"].T.contiguous().T}  # another layout is kept, too
    assert memory_for(turned, second)["a"].stride() == (1, 2)


def test_each_state_that_is_on_the_disk_is_told(tmp_path):
    told = []
    with Saver(tmp_path, lambda state: told.append((state["step"], torch.load(tmp_path / LAST)["step"]))) as saves:
        for step in (3, 4):
            saves.save(tiny_training(step=step))
    assert told == [(3, 3), (4, 4)]


def test_a_state_that_cannot_be_written_ends_the_run_before_the_next_one_is_due(tmp_path, monkeypatch):
    def full(*_):
        raise UserError("cannot write last.pt: No space left on device")

    def source():
        for number, batch in enumerate(batches(8)):
            while number == 3 and not made[0]._thread.has_failed():  # a state is saved after step 2, and after step 4
                time.sleep(0.01)
            yield batch

    written, made = states_of(monkeypatch, full), []
    monkeypatch.setattr(loop, "Saver", lambda *args: made.append(Saver(*args)) or made[0])
    training = tiny_training()
    with pytest.raises(UserError, match=r"cannot write last\.pt: No space left on device"):
        train_tiny(tmp_path, training, source=source(), save_every=2)
    assert training.step in (2, 3) and written == [2]


def test_an_error_of_training_waits_for_the_state_that_is_being_written(tmp_path, monkeypatch):
    reached = threading.Event()
    states_of(monkeypatch, lambda number, write: (reached.wait(10) if number == 1 else None, write()))

    def loss(*args):
        if training.step == 2:
            reached.set()
        return broken(*args)

    training, broken = tiny_training(), failing(3)
    with pytest.raises(UserError, match="the loss is nan"):
        train_tiny(tmp_path, training, loss=loss, save_every=2, report_every=1)
    assert torch.load(tmp_path / LAST)["step"] == 2
    assert state.read_state(tmp_path).step == 2


def test_an_error_of_the_thread_does_not_hide_that_of_training(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    states_of(monkeypatch, full)
    with pytest.raises(ZeroDivisionError), Saver(tmp_path) as saves:
        saves.save(tiny_training())
        raise ZeroDivisionError
