import errno
import os
import signal

import pytest
from processes import start
from tiny_run import tiny_training

from segdla.errors import UserError
from segdla.training import run_folder
from segdla.training.relaunch import Launch
from segdla.training.run_folder import CONFIG, begun, continued, new_folder, occupied

LAUNCH = Launch((), "1", 1)


def begin(run, config="data:", training=None, another=None):
    return begun(
        run, config, LAUNCH, training or tiny_training(), another or (lambda: new_folder(run.parent, run.name, ""))
    )


def test_names_of_new_runs(tmp_path):
    assert new_folder(tmp_path, None, "mine") == new_folder(tmp_path, "mine", "other") == tmp_path / "mine"
    (tmp_path / "mine").mkdir()
    assert new_folder(tmp_path, None, "mine") == tmp_path / "mine-2"
    with pytest.raises(UserError, match=r"mine exists; choose another name \(--name\), or remove it: it holds no run"):
        new_folder(tmp_path, "mine", "other")
    (tmp_path / "mine" / CONFIG).touch()
    with pytest.raises(UserError, match=r"mine exists; choose another name \(--name\), or resume it \(--resume .*mine"):
        new_folder(tmp_path, "mine", "other")


@pytest.mark.parametrize("name", ["", ".", "..", "../mine", "a/b", "/tmp", "mine/"])
def test_a_run_s_name_is_that_of_a_folder_in_the_folder_of_runs(tmp_path, name):
    with pytest.raises(UserError, match="a run can't be named"):
        new_folder(tmp_path, name, "mine")


@pytest.mark.parametrize("steps", [0, 1])
def test_a_new_run_stays_if_a_step_was_taken(tmp_path, steps):
    run, training = tmp_path / "runs" / "a", tiny_training()
    with pytest.raises(ZeroDivisionError), begin(run, training=training):
        assert (run / CONFIG).read_text(encoding="utf-8") == "data:"
        training.step += steps
        raise ZeroDivisionError
    assert run.exists() == bool(steps)


@pytest.mark.parametrize("steps", [0, 1])
def test_a_resumed_run_keeps_its_config_unless_a_step_was_taken(tmp_path, steps):
    (tmp_path / CONFIG).write_text("before", encoding="utf-8")
    training = tiny_training(step=7)
    with pytest.raises(ZeroDivisionError), continued(tmp_path, "now", LAUNCH, training):
        assert (tmp_path / CONFIG).read_text(encoding="utf-8") == "now"
        training.step += steps
        raise ZeroDivisionError
    assert (tmp_path / CONFIG).read_text(encoding="utf-8") == ("now" if steps else "before")


def test_a_folder_that_another_run_has_made_in_the_meantime_gives_way_to_the_next_number(tmp_path):
    def choose():
        return new_folder(tmp_path, None, "mine")

    runs = [choose(), choose()]
    assert runs[0] == runs[1]
    with (
        begin(runs[0], "first", another=choose) as first,
        begin(runs[1], "second", another=choose) as second,
    ):
        assert (first, second) == (tmp_path / "mine", tmp_path / "mine-2")
    assert [(run / CONFIG).read_text(encoding="utf-8") for run in (first, second)] == ["first", "second"]


def begin_and_die(run):
    """Begin a run, and be killed before its folder has its name."""
    run_folder.put_in_place = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # this process is the test's own
    with begin(run):
        pass


def test_a_run_that_is_killed_before_it_has_a_config_leaves_its_name_free(tmp_path):
    killed = start(begin_and_die, tmp_path / "mine")
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    with begin(new_folder(tmp_path, "mine", "other")) as run:
        assert (run / CONFIG).is_file()


def test_a_run_that_is_stopped_before_it_has_its_name_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_folder, "put_in_place", stop)
    with pytest.raises(KeyboardInterrupt), begin(tmp_path / "mine"):
        pass
    assert not [*tmp_path.iterdir()]


def test_folders_that_cannot_be_made_are_answered(tmp_path, monkeypatch):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").touch()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"taken exists; choose another name"), begin(tmp_path / "taken"):
        pass
    answer = r"cannot write .*Not a directory; choose another folder of runs"
    with pytest.raises(UserError, match=answer), begin(tmp_path / "file" / "run"):
        pass

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"), begin(tmp_path / "new"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken"]


def test_a_run_that_cannot_be_written_is_answered(tmp_path):
    answer = r"cannot write .*none: No such file.*; copy it to where you can, and resume"
    with pytest.raises(UserError, match=answer), occupied(tmp_path / "none"):
        pass


def test_a_file_system_without_locks_will_do(tmp_path, monkeypatch):
    def unknown(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    fcntl = pytest.importorskip("fcntl", reason="there are no such locks on Windows")
    monkeypatch.setattr(fcntl, "lockf", unknown)
    with occupied(tmp_path), occupied(tmp_path):
        pass


def test_a_name_that_is_no_text_is_answered(tmp_path):
    """In an ASCII locale Python reads a word of other letters as bytes that are none, and TensorBoard writes UTF-8."""
    with pytest.raises(
        UserError, match=r"runs.*udce5.* can't be written as text here; choose another name .* PYTHONUTF8=1"
    ):
        new_folder(tmp_path / "runs", os.fsdecode(b"\xe5"), "run")
    assert new_folder(tmp_path / "runs", "名", "run").name == "名"
