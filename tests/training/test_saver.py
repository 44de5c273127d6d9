import errno
import threading
import time

import pytest
import torch
from tiny_run import assert_same, batches, failing, tiny_training, train_tiny
from torch import nn

from segdla.errors import UserError
from segdla.training import loop, saver, state
from segdla.training.saver import Saver, copied
from segdla.training.state import LAST


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
    expected = copied(training.state_dict(), None)
    with Saver(tmp_path) as saves:
        saves.save(training)
        for parameter in training.model.parameters():
            nn.init.ones_(parameter)
        training.step = 4
        assert not (tmp_path / LAST).exists()  # the steps go on before it is written
        goes_on.set()
        saves.settle()
        assert_same(torch.load(tmp_path / LAST), expected)
        saves.save(training)
    assert written == [3, 4]
    assert_same(torch.load(tmp_path / LAST), copied(training.state_dict(), None))


def test_the_copy_s_memory_is_used_again_where_it_fits():
    values = {"a": torch.arange(6.0).reshape(2, 3), "b": {"c": torch.ones(2)}, "step": 1}
    first = copied(values, None)
    second = copied({**values, "a": values["a"] + 1, "b": {"c": torch.ones(3)}, "step": 2}, first)
    assert second["a"].data_ptr() == first["a"].data_ptr() != values["a"].data_ptr()
    assert second["a"].tolist() == [[1, 2, 3], [4, 5, 6]] and second["b"]["c"].shape == (3,) and second["step"] == 2
    turned = copied({"a": values["a"].T.contiguous().T}, second)["a"]  # another layout in memory is kept, too
    assert turned.stride() == (1, 2) and turned.tolist() == values["a"].tolist()


def test_a_state_that_cannot_be_written_ends_the_run_before_the_next_one_is_due(tmp_path, monkeypatch):
    def full(*_):
        raise UserError("cannot write last.pt: No space left on device")

    def source():
        for number, batch in enumerate(batches(8)):
            while number == 3 and not made[0]._thread.has_failed():  # a state is saved after step 2, and after step 4
                time.sleep(0.01)
            yield batch

    written, made = states_of(monkeypatch, full), []
    monkeypatch.setattr(loop, "Saver", lambda run: made.append(Saver(run)) or made[0])
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
